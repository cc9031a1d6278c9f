"""Messages in a file come back, or the file is refused: damaged, cut off, or beyond a bound."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cim_hal.errors import RemoteProtocolError
from cim_hal.protocol.wire.codec import FILE_MAGIC, MAX_FRAMES, file_messages, file_parts

MESSAGES = [[b"12345678", b"header", b"", b"x" * 1000], [b"a", b"b"]]


def _file(*messages: list[bytes]) -> bytes:
    return FILE_MAGIC + b"".join(bytes(part) for frames in messages for part in file_parts(frames))


def _read(data: bytes, max_bytes: int = 10_000) -> list[list[bytes]]:
    found = file_messages(memoryview(data), max_bytes)
    return [[bytes(frame) for frame in frames] for frames in found]


def test_messages_come_back_in_order():
    assert _read(_file(*MESSAGES)) == MESSAGES
    assert _read(_file()) == []


@pytest.mark.parametrize("at", range(8, len(_file(MESSAGES[1]))))
def test_no_changed_bit_goes_unnoticed(at):
    data = bytearray(_file(MESSAGES[1]))
    data[at] ^= 1
    with pytest.raises((RemoteProtocolError, EOFError)):
        _read(bytes(data))


def test_a_file_that_was_cut_off_gives_its_whole_messages_and_then_an_end():
    data = _file(*MESSAGES)
    reading = file_messages(memoryview(data[:-1]), 10_000)
    assert [bytes(frame) for frame in next(reading)] == MESSAGES[0]
    with pytest.raises(EOFError):
        next(reading)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "begin with CIMFILE1"),
        (b"CIMDATA1" + bytes(100), "begin with CIMFILE1"),
        (FILE_MAGIC + struct.pack("<I", 0), "promises 0 frames"),
        (FILE_MAGIC + struct.pack("<I", MAX_FRAMES + 1), "promises 11 frames"),
        (FILE_MAGIC + struct.pack("<IQ", 1, 2**63), "bytes, 10000 fit"),
    ],
)
def test_other_files_and_large_promises_are_refused(data, says):
    with pytest.raises(RemoteProtocolError, match=says):
        _read(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_one_of_two_errors(data):
    for start in (b"", FILE_MAGIC):
        try:
            _read(start + data, 1000)
        except (RemoteProtocolError, EOFError):
            continue
