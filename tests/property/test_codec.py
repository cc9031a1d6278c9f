"""Whatever comes in, the codec answers with a packet or a `ProtocolError`."""

from __future__ import annotations

import contextlib
import struct

import msgpack
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cim_hal.errors import ProtocolError
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.codec import DTYPES, decode, encode
from cim_hal.protocol.wire.messages import (
    REPLY,
    REQUEST,
    CouplingChunk,
    CouplingRef,
    ErrorMessage,
    JobStatus,
    Message,
    Sample,
    Schedule,
    TraceSpec,
    WaitJob,
)
from cim_hal.protocol.wire.packet import Kind, Packet

tokens = st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}")
digests = st.integers(0, 2**256 - 1).map(lambda number: f"sha256:{number:064x}")
numbers = st.integers(0, 2**63 - 1)
sentences = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
details = st.dictionaries(
    sentences,
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | sentences,
    max_size=5,
)
faults = st.builds(
    ErrorMessage, code=st.text("abc._", max_size=50), message=sentences, details=details
)
refs = st.builds(CouplingRef, digest=digests, bits=st.none() | numbers)
schedules = st.builds(
    Schedule,
    pump=st.lists(st.floats(allow_nan=False), min_size=1, max_size=20).map(tuple),
    round_trips=numbers,
)
positive = st.integers(1, 2**63 - 1)
settings = st.dictionaries(
    st.text("ab._", min_size=1, max_size=20), st.floats(allow_nan=False), max_size=5
)
requests = st.one_of(
    st.builds(
        Sample,
        key=tokens,
        coupling=refs,
        schedule=st.none() | schedules,
        n_runs=numbers,
        seed=numbers,
        settings=settings,
        trace=st.none() | st.builds(TraceSpec, every=positive, runs=positive),
    ),
    st.builds(WaitJob, job=tokens, timeout_s=st.floats(0, 1e6)),
)
answers = st.one_of(
    faults,
    st.builds(JobStatus, job=tokens, state=st.sampled_from(JobState), error=st.none() | faults),
)
ids = st.binary(min_size=16, max_size=16)
arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0))
)


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    kind = draw(st.sampled_from(["request", "reply", "chunk"]))
    if kind == "reply":
        return Packet(Kind.REPLY, draw(ids), draw(answers))
    if kind == "chunk":
        chunk = CouplingChunk(upload=draw(tokens), offset=draw(numbers))
        return Packet(Kind.REQUEST, draw(ids), chunk, draw(tokens), (draw(arrays),))
    return Packet(Kind.REQUEST, draw(ids), draw(requests), draw(tokens | st.just("")))


@given(packets())
def test_decoding_undoes_encoding(packet: Packet):
    back = decode([bytes(frame) for frame in encode(packet)])
    assert (back.kind, back.id, back.session) == (packet.kind, packet.id, packet.session)
    assert back.body == packet.body
    for ours, theirs in zip(packet.buffers, back.buffers, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert ours.tobytes() == theirs.tobytes()


def _message_or_refusal(frames: list[bytes]) -> None:
    with contextlib.suppress(ProtocolError):
        packet = decode(frames)
        adapter = REQUEST if packet.kind is Kind.REQUEST else REPLY
        body: Message = adapter.validate_python(packet.body.model_dump())
        assert body == packet.body or "nan" in repr(body)


@given(packets(), st.data())
def test_any_mutation_of_valid_frames_gives_a_packet_or_a_refusal(packet: Packet, data):
    frames = [bytearray(frame) for frame in encode(packet)]
    for _ in range(data.draw(st.integers(1, 4))):
        frame = frames[data.draw(st.integers(0, len(frames) - 1))]
        if frame:
            frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    _message_or_refusal([bytes(frame) for frame in frames])


@given(packets(), st.data())
def test_frames_cut_short_swapped_or_lost_give_a_packet_or_a_refusal(packet: Packet, data):
    frames = [bytes(frame) for frame in encode(packet)]
    frames = data.draw(st.lists(st.sampled_from(frames), max_size=7))
    _message_or_refusal([frame[: data.draw(st.integers(0, len(frame)))] for frame in frames])


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_any_bytes_give_a_packet_or_a_refusal(frames: list[bytes]):
    _message_or_refusal(frames)


trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.binary()
    | sentences,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(sentences, inner, max_size=4),
    max_leaves=20,
)
known = st.sampled_from(
    ["hello", "sample", "couplings.begin", "couplings.chunk", "job.wait", "job.frames", "error"]
)


@given(st.sampled_from(Kind), ids, known, st.dictionaries(sentences, trees, max_size=5), trees)
def test_any_header_of_valid_msgpack_gives_a_packet_or_a_refusal(kind, request, t, body, buffers):
    header = msgpack.packb({"id": request, "p": body | {"t": t}, "b": buffers})
    _message_or_refusal([struct.pack("<3sBBBH", b"CIM", 1, kind, 0, 1), header, b"\0" * 8])


@given(hnp.arrays(np.uint8, 64))
def test_a_decoded_array_cannot_be_written_to(array):
    packet = Packet(Kind.REQUEST, bytes(16), CouplingChunk(upload="0" * 32, offset=0), "", (array,))
    frames = [bytearray(frame) for frame in encode(packet)]
    assert not decode(frames).buffers[0].flags.writeable
