"""Files of recorded messages: never overwritten, and refused where they are malformed."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest

from cim_hal.cassette import Recorder, read_cassette
from cim_hal.cassette.file import (
    _CODEC,
    CassetteEnd,
    CassetteHeader,
    CassetteWriter,
    Direction,
    RecordedMessage,
)
from cim_hal.errors import CassetteError
from cim_hal.protocol.wire.codec import FILE_MAGIC, file_parts
from cim_hal.protocol.wire.packet import NO_ID, Kind, Packet


def test_a_recording_never_takes_the_place_of_a_file(tmp_path):
    path = tmp_path / "there"
    path.write_bytes(b"precious")
    with pytest.raises(CassetteError, match="exists already"), Recorder("tcp://127.0.0.1:1", path):
        pass
    assert path.read_bytes() == b"precious"


def stored(*records: tuple[object, list[bytes]], damage: bytes = b"") -> bytes:
    """Return the bytes of a cassette with these records."""
    parts = [FILE_MAGIC]
    for body, frames in records:
        buffers = tuple(np.frombuffer(frame, np.uint8) for frame in frames)
        parts += file_parts(_CODEC.encode(Packet(Kind.RECORD, NO_ID, body, buffers=buffers)))
    return b"".join(parts) + damage


HEADER = CassetteHeader(version=1, target="", recorded_at="")
LATER = HEADER.model_copy(update={"version": 2})
MESSAGE = RecordedMessage(seconds=0.5, direction=0, client=0)
SIDEWAYS = MESSAGE.model_copy(update={"direction": 7})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no cassette of version 1"),
        (b"\x00\xff\x17garbage", "no cassette of version 1"),
        (stored((LATER, [])), "version 1"),
        (stored((MESSAGE, [b"CIM", b"x"])), "version 1"),
        (stored((HEADER, []))[:-1] + b"\x00", "version 1"),  # the checksum
        (stored((HEADER, []), damage=b"\xff" * 100), "message 1 is malformed: .* promises"),
        (stored((HEADER, []), (MESSAGE, [b"CIM", b"x"])), "message 1 is malformed"),
        (stored((HEADER, []), (SIDEWAYS, [b"", b""])), "message 1 is malformed"),
        (stored((HEADER, []), (CassetteEnd(), []), (CassetteEnd(), [])), "message 2 is malformed"),
    ],
)
def test_what_is_no_cassette_is_refused_with_the_place(tmp_path, content, sentence):
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(CassetteError, match=sentence):
        read_cassette(path)


def test_a_cassette_of_a_file_that_is_not_there(tmp_path):
    with pytest.raises(CassetteError, match="No such file"):
        read_cassette(tmp_path / "none")


def test_a_recording_on_a_disk_that_gets_full_ends_with_its_last_whole_message(tmp_path):
    path, (soft, hard) = tmp_path / "full", resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = CassetteWriter(path, target="tcp://127.0.0.1:1")
    writer.write(Direction.TO_SERVER, b"a", [b"CIM", b"x"])
    n_bytes = path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes + 1000, hard))
    try:
        with pytest.raises(CassetteError, match=r"the recording ended after 1 message$"):
            writer.write(Direction.TO_SERVER, b"a", [b"CIM", bytes(5000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for call in (lambda: writer.write(Direction.TO_SERVER, b"a", [b"CIM"]), writer.close):
        with pytest.raises(CassetteError, match="ended after 1"):  # though there is room again
            call()
    assert path.stat().st_size == n_bytes
    assert not path.read_bytes().endswith(b"end")
    writer.close()


def test_messages_pass_though_they_cannot_be_recorded_and_the_end_says_so(tmp_path, caplog):
    def record() -> None:
        with Recorder("tcp://127.0.0.1:1", tmp_path / "full") as recorder:
            os.dup2(full.fileno(), recorder._writer._file.fileno())
            for _ in range(2):
                recorder._watch(False, b"a", [b"CIM"])

    with Path("/dev/full").open("wb") as full, pytest.raises(CassetteError, match="No space left"):
        record()
    assert [r.message.partition(": ")[2][:13] for r in caplog.records] == ["No space left"]
