"""What the specification of the wire holds for machines: JSON Schema, transcripts, a diagram.

    python docs/wire.py            write docs/reference/wire/
    python docs/wire.py --check    end with 1 where a file is not what the code says

A change of a message changes the schema: it belongs into a new version of the protocol, unless
that version has not been published yet. `tests/unit/cim_hal/protocol/test_wire_files.py` checks.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np

from cim_hal import IsingModel
from cim_hal.errors import ProtocolError
from cim_hal.protocol.couplings.content import Couplings, smallest
from cim_hal.protocol.jobs.state import JOB, TERMINAL, JobState
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.messages import (
    EVENT,
    REPLY,
    REQUEST,
    BeginCouplings,
    CommitCouplings,
    CouplingChunk,
    CouplingRef,
    Describe,
    ErrorMessage,
    FetchResult,
    Hello,
    JobStatus,
    Ping,
    Pong,
    Progress,
    Sample,
    Schedule,
    UploadOpened,
    WaitJob,
)
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.protocol.wire.version import NEWEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOLDER = Path(__file__).parent / "reference/wire"
ID = bytes(range(16))
SESSION, UPLOAD, JOB_ID, KEY = (digit * 32 for digit in "5ab3")
TRIANGLE = IsingModel.from_maxcut([[0, 1, 1], [1, 0, 1], [1, 1, 0]])


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the map ``p`` of requests, of replies and of events."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"cim-hal wire protocol {NEWEST[0]}.{NEWEST[1]}",
        "request": _bare(REQUEST.json_schema()),
        "reply": _bare(REPLY.json_schema()),
        "event": _bare(EVENT.json_schema()),
    }


def _bare(part: Any) -> Any:
    """Leave out docstrings, which may change without a new version."""
    if isinstance(part, list):
        return [_bare(each) for each in part]
    if not isinstance(part, dict):
        return part
    is_text = {
        key for key, value in part.items() if key == "description" and isinstance(value, str)
    }
    return {key: _bare(value) for key, value in part.items() if key not in is_text}


# ---- bounds of fields -----------------------------------------------------------------------

LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minLength": "{} or more characters",
    "maxLength": "at most {} characters",
    "minItems": "{} or more",
    "maxItems": "at most {}",
    "maxProperties": "at most {} names",
    "pattern": "`{}`",
}


def bounds() -> str:
    """Return a table, Markdown, of the bounds and defaults of all fields of messages and parts."""
    whole = schema()
    parts = {**whole["request"]["$defs"], **whole["reply"]["$defs"]}
    rows = [
        f"| `{_name(name, part)}` | `{field}` | {', '.join(_limits(about))} | {_default(about)} |"
        for name, part in sorted(parts.items())
        for field, about in part.get("properties", {}).items()
        if field != "t" and (_limits(about) or "default" in about)
    ]
    return "\n".join(
        ["| message or part | field | bounds | default |", "|---|---|---|---|", *rows, ""]
    )


def _name(name: str, part: dict[str, Any]) -> str:
    return part.get("properties", {}).get("t", {}).get("const", name)


def _limits(about: dict[str, Any]) -> list[str]:
    """Return the bounds of a field, then those of what it holds."""
    own = [text.format(_shown(about[key])) for key, text in LIMITS.items() if key in about]
    inner = [each for key in ("anyOf", "prefixItems") for each in about.get(key, ())]
    inner += [about[key] for key in ("items", "additionalProperties") if key in about]
    names = _limits(about["propertyNames"]) if "propertyNames" in about else []
    own += [f"names: {limit}" for limit in names]
    for each in inner:
        if isinstance(each, dict):
            own += [limit for limit in _limits(each) if limit not in own]
    return own


def _default(about: dict[str, Any]) -> str:
    return f"`{json.dumps(about['default'])}`" if "default" in about else ""


def _shown(value: Any) -> str:
    return "2^63" if value == 2**63 else f"{value}".replace("|", "\\|")


# ---- transcripts ----------------------------------------------------------------------------


def transcripts() -> list[dict[str, Any]]:
    """Return messages as frames with what they mean, and frames that a server must refuse.

    The verdict on the latter is the code of the error that it answers with.
    """
    good = [_good(name, packet) for name, packet in _packets()]
    bad = [_bad(name, frames) for name, frames in _malformed()]
    return [*good, *bad]


def _packets() -> Iterator[tuple[str, Packet]]:
    payload = smallest(Couplings.of(TRIANGLE))
    ref = CouplingRef(digest=payload.digest())
    plane, shut = Schedule(pump=(0.0, 1.5), round_trips=200), None
    requests: list[tuple[str, Any, tuple[Any, ...]]] = [
        ("hello", Hello(protocols=((1, 0), NEWEST), client="transcript"), ()),
        ("ping", Ping(), ()),
        ("describe", Describe(), ()),
        ("announce couplings", BeginCouplings(coupling=ref, spec=payload.spec), ()),
        ("a chunk", CouplingChunk(upload=UPLOAD, offset=0), (payload.data,)),
        ("commit", CommitCouplings(upload=UPLOAD), ()),
        ("sample", Sample(key=KEY, coupling=ref, schedule=plane, n_runs=16, seed=1), ()),
        (
            "sample as the machine recommends",
            Sample(key=KEY, coupling=ref, schedule=shut, n_runs=16, seed=1),
            (),
        ),
        ("wait", WaitJob(job=JOB_ID, timeout_s=10.0), ()),
        ("wait and watch", WaitJob(job=JOB_ID, timeout_s=10.0, since=7, events=True), ()),
        ("fetch", FetchResult(job=JOB_ID, first=0), ()),
        ("fetch what is ready", FetchResult(job=JOB_ID, first=64, partial=True), ()),
    ]
    for name, body, buffers in requests:
        session = "" if isinstance(body, Hello) else SESSION
        yield name, Packet(Kind.REQUEST, ID, body, session, buffers)
    safe = (JOB_ID, KEY)
    yield "acknowledge in passing", Packet(Kind.REQUEST, ID, Ping(), SESSION, acknowledged=safe)
    refusal = ErrorMessage(
        code="capability",
        message="max_spins: the request needs 513, the device has 512",
        details={"what": "max_spins", "required": 513, "available": 512},
    )
    for name, body in (
        ("pong", Pong()),
        ("an upload is open", UploadOpened(upload=UPLOAD, chunk_bytes=1024**2, credit=4)),
        ("a job is queued", JobStatus(job=JOB_ID, state=JobState.QUEUED)),
        ("a job is done", JobStatus(job=JOB_ID, state=JobState.DONE)),
        ("an error", refusal),
    ):
        yield name, Packet(Kind.REPLY, ID, body)
    half = Progress(done=100, total=200, unit="runs")
    running = JobStatus(job=JOB_ID, state=JobState.RUNNING, seq=8, progress=half, ready=64)
    yield "a job goes on", Packet(Kind.EVENT, ID, running)


def _good(name: str, packet: Packet) -> dict[str, Any]:
    frames = [bytes(frame) for frame in encode(packet)]
    header: dict[str, Any] = msgpack.unpackb(frames[1])
    return {
        "name": name,
        "frames": [frame.hex() for frame in frames],
        "verdict": packet.kind.name.lower(),
        "id": packet.id.hex(),
        "session": header.get("s", ""),
        "epoch": header.get("ep", 0),
        "acknowledged": header.get("ack", []),
        "buffers": header.get("b", []),
        "message": header["p"],
    }


def _malformed() -> Iterator[tuple[str, list[bytes]]]:
    request = Packet(Kind.REQUEST, ID, Ping(), SESSION)
    start, header = (bytes(frame) for frame in encode(request))
    fields: dict[str, Any] = msgpack.unpackb(header)

    def with_header(**changes: Any) -> list[bytes]:
        return [start, msgpack.packb(fields | changes) or b""]

    yield "no frames but one", [start]
    yield "not CIM", [b"XYZ" + start[3:], header]
    yield "another major version", [start[:3] + b"\x09" + start[4:], header]
    yield "an unknown kind", [start[:4] + b"\x07" + start[5:], header]
    yield "flags", [start[:5] + b"\x01" + start[6:], header]
    yield "a promise of a buffer that is not there", [start[:6] + b"\x01\x00", header]
    yield "a buffer that was not promised", [start, header, b"abc"]
    yield "a header that is no map", [start, msgpack.packb([1, 2, 3]) or b""]
    yield "a header that is cut off", [start, header[:-3]]
    yield "bytes after the header", [start, header + b"\x00"]
    yield "a key twice", [start, _with_a_key_twice(header)]
    yield "an unknown key", with_header(z=1)
    yield "an id of 15 bytes", with_header(id=ID[:15])
    yield "a token in capitals", with_header(s="AB" * 16)
    yield "65 acknowledged jobs", with_header(ack=[JOB_ID] * 65)
    yield "an acknowledged job that is no token", with_header(ack=["all"])
    yield "an unknown type of message", with_header(p={"t": "teleport"})
    yield "an unknown field of a message", with_header(p={"t": "ping", "loud": True})
    yield "a field of another type", with_header(p={"t": "job.wait", "job": 5})
    yield "an extension type", [start, _with_extension(fields)]
    spec = {"d": "|O8", "s": [1]}
    one = start[:6] + b"\x01\x00"
    chunk = {"t": "couplings.chunk", "upload": UPLOAD, "offset": 0}
    packed = msgpack.packb(fields | {"b": [spec], "p": chunk}) or b""
    yield "a buffer of objects", [one, packed, bytes(8)]
    long = msgpack.packb(fields | {"b": [{"d": "|u1", "s": [9]}], "p": chunk}) or b""
    yield "a buffer shorter than its shape", [one, long, bytes(8)]


def _with_a_key_twice(header: bytes) -> bytes:
    entry = (msgpack.packb("s") or b"") + (msgpack.packb(SESSION) or b"")
    return bytes([header[0] + 1]) + entry + header[1:]


def _with_extension(fields: dict[str, Any]) -> bytes:
    body = {"t": "hello", "protocols": [[1, 0], [1, 0]], "client": msgpack.ExtType(5, b"x")}
    return msgpack.packb(fields | {"p": body}) or b""


def _bad(name: str, frames: Sequence[bytes]) -> dict[str, Any]:
    try:
        decode(frames)
    except ProtocolError as error:
        code = to_wire(error).code
        return {"name": name, "frames": [frame.hex() for frame in frames], "verdict": code}
    raise AssertionError(f"{name}: these frames are a message")


# ---- the life of a job ----------------------------------------------------------------------

WIDTH, HEIGHT, BOX = 760, 300, (120, 44)
PLACES = {
    JobState.QUEUED: (80, 150),
    JobState.RUNNING: (330, 50),
    JobState.STOPPING: (330, 150),
    JobState.DONE: (660, 50),
    JobState.FAILED: (660, 150),
    JobState.CANCELLED: (660, 250),
}


def job_states() -> str:
    """Return the table of `protocol.state` as a picture, SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        'font-family="system-ui, sans-serif" font-size="14">',
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8"',
        'markerHeight="8" orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="#777"/>',
        "</marker></defs>",
    ]
    for state, moves in JOB.items():
        targets: dict[JobState, list[str]] = {}
        for event, after in moves.items():
            if after is not state:
                targets.setdefault(after, []).append(str(event))
        parts += [_arrow(state, after, ", ".join(events)) for after, events in targets.items()]
    parts += [_box(state) for state in JOB]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _box(state: JobState) -> str:
    x, y = PLACES[state]
    fill, ink = ("#3a6ea5", "#fff") if state in TERMINAL else ("#e8eef5", "#123")
    return (
        f'<rect x="{x - BOX[0] / 2:g}" y="{y - BOX[1] / 2:g}" width="{BOX[0]}" height="{BOX[1]}" '
        f'rx="8" fill="{fill}" stroke="#3a6ea5"/>'
        f'<text x="{x}" y="{y + 5}" text-anchor="middle" fill="{ink}">{state}</text>'
    )


def _arrow(state: JobState, after: JobState, events: str) -> str:
    start, end = (np.array(PLACES[each], float) for each in (state, after))
    first, last = _border(start, end), _border(end, start)
    middle = first + 0.38 * (last - first)
    return (
        f'<path d="M{first[0]:.0f} {first[1]:.0f}L{last[0]:.0f} {last[1]:.0f}" stroke="#777" '
        'fill="none" marker-end="url(#tip)"/>'
        f'<text x="{middle[0]:.0f}" y="{middle[1] + 4:.0f}" text-anchor="middle" fill="#777" '
        f'font-size="12" stroke="#fff" stroke-width="4" paint-order="stroke">{events}</text>'
    )


def _border(start: Any, end: Any) -> Any:
    """Return where the way from the middle of a box to another leaves it."""
    way = end - start
    reach = [half / abs(part) for half, part in zip((60, 22), way, strict=True) if part]
    return start + way * min(reach)


# ---- files ----------------------------------------------------------------------------------


def files() -> dict[str, str]:
    """Return the contents of the files, by name."""
    return {
        "schema.json": json.dumps(schema(), indent=1, sort_keys=True) + "\n",
        "bounds.md": bounds(),
        "transcripts.json": json.dumps(transcripts(), indent=1) + "\n",
        "job-states.svg": job_states(),
    }


def main() -> None:
    """Write the files, or compare them."""
    FOLDER.mkdir(exist_ok=True)
    stale = [
        name
        for name, text in files().items()
        if not (FOLDER / name).exists() or (FOLDER / name).read_text("utf-8") != text
    ]
    if "--check" in sys.argv[1:]:
        sys.exit(f"stale: {', '.join(stale)}; python docs/wire.py writes them" if stale else 0)
    for name in stale:
        (FOLDER / name).write_text(files()[name], encoding="utf-8")
        sys.stdout.write(f"{FOLDER / name}\n")


if __name__ == "__main__":
    main()
