"""Schema, transcripts and diagram of the specification are what the code says."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from cim_hal.errors import ProtocolError
from cim_hal.protocol.wire.codec import FrameLimits, decode, encode
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.limits import MIN_UNANSWERED, Limits
from cim_hal.server import outbox

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


def test_every_bound_of_the_code_stands_on_the_page():
    page = (DOCS / "reference/protocol.md").read_text("utf-8")
    assert "```{include} wire/bounds.md" in page
    frames = FrameLimits()
    numbers = (frames.header_bytes, frames.text_bytes, frames.buffers, frames.buffer_bytes)
    numbers += (MIN_UNANSWERED, outbox.PEER_BYTES, outbox.MOST_BYTES, outbox.MAX_REFUSALS)
    assert [number for number in numbers if f"{number:,}" not in page] == []
    assert [name for name in Limits.model_fields if f"`{name}`" not in page] == []


def test_every_bound_of_the_schema_stands_in_its_table():
    table = (DOCS / "reference/wire/bounds.md").read_text("utf-8")
    schema = json.loads((DOCS / "reference/wire/schema.json").read_text("utf-8"))
    parts = {**schema["request"]["$defs"], **schema["reply"]["$defs"]}
    assert len(parts) > 50
    for name, part in parts.items():
        for field, about in part.get("properties", {}).items():
            for key in ("maxLength", "maxItems", "maximum", "exclusiveMaximum", "maxProperties"):
                if key in about:
                    shown = "2^63" if about[key] == 2**63 else str(about[key])
                    rows = [row for row in table.splitlines() if f"| `{field}` |" in row]
                    assert any(shown in row for row in rows), (name, field, key)
