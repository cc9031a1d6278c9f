"""Schema, transcripts and diagram of the specification are what the code says."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from cim_hal.errors import ProtocolError
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.errors import to_wire

DOCS = Path(__file__).parents[4] / "docs"
TRANSCRIPTS = json.loads((DOCS / "reference/wire/transcripts.json").read_text("utf-8"))
GOOD = [each for each in TRANSCRIPTS if each["verdict"] in {"request", "reply", "event"}]
BAD = [each for each in TRANSCRIPTS if each["verdict"] not in {"request", "reply", "event"}]


def name_of(transcript) -> str:
    return transcript["name"]


def frames_of(transcript) -> list[bytes]:
    return [bytes.fromhex(frame) for frame in transcript["frames"]]


def test_the_files_are_those_that_the_code_makes():
    spec = importlib.util.spec_from_file_location("wire", DOCS / "wire.py")
    assert spec is not None
    assert spec.loader is not None
    wire = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(wire)
    for name, text in wire.files().items():
        found = (DOCS / "reference/wire" / name).read_text("utf-8")
        assert found == text, (
            f"{name} is not what the code says. A message of a published version never changes: "
            "give the change a new version. Then: python docs/wire.py"
        )


@pytest.mark.parametrize("transcript", GOOD, ids=name_of)
def test_frames_of_a_message_are_read_and_written_alike(transcript):
    frames = frames_of(transcript)
    packet = decode(frames)
    assert packet.kind.name.lower() == transcript["verdict"]
    assert packet.id.hex() == transcript["id"]
    assert packet.session == transcript["session"]
    assert packet.body.t == transcript["message"]["t"]
    assert [bytes(frame) for frame in encode(packet)] == frames


@pytest.mark.parametrize("transcript", BAD, ids=name_of)
def test_frames_that_are_no_message_get_their_verdict(transcript):
    with pytest.raises(ProtocolError) as raised:
        decode(frames_of(transcript))
    assert to_wire(raised.value).code == transcript["verdict"]
