"""Packets cross the pipe to a driver's process unchanged, or are refused within bounds."""

from __future__ import annotations

import socket
import struct
import threading

import numpy as np
import pytest
from cim_machines import Annealer
from hypothesis import given
from hypothesis import strategies as st

from cim_hal import IsingModel, Program, PumpSchedule, lower
from cim_hal.errors import LocalProtocolError, ProtocolError
from cim_hal.protocol.wire.codec import MAX_FRAMES
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.server.driver import messages
from cim_hal.server.driver.messages import Pipe, PipeClosedError

ID = bytes(range(16))


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    pipe = Pipe(ours, max_bytes=10_000_000)
    yield pipe, theirs
    pipe.close()
    theirs.close()


def _couplings() -> Packet:
    upper = np.triu(np.random.default_rng(1).normal(size=(300, 300)), 1)
    lowering = lower(IsingModel.from_couplings(upper + upper.T), Annealer().describe())
    program = Program(lowering, PumpSchedule.linear(0, 1, round_trips=3), 5, 2**63 - 1)
    body, arrays = messages.encode_couplings(program)
    return Packet(Kind.REQUEST, ID, body, buffers=tuple(arrays))


def test_a_packet_with_arrays_arrives_as_it_was_sent(ends):
    pipe, theirs = ends
    sent = _couplings()
    sending = threading.Thread(target=Pipe(theirs).send, args=[sent])
    sending.start()
    found = pipe.receive()
    sending.join()
    assert (found.kind, found.id, found.body) == (sent.kind, sent.id, sent.body)
    for array, expected in zip(found.buffers, sent.buffers, strict=True):
        assert array.dtype == expected.dtype
        assert array.flags.aligned
        assert not array.flags.writeable
        np.testing.assert_array_equal(array, expected)


def test_an_empty_array_arrives(ends):
    pipe, theirs = ends
    empty = np.zeros((0, 4), np.float32)
    Pipe(theirs).send(Packet(Kind.EVENT, ID, messages.PartialReadout(), buffers=(empty,)))
    assert pipe.receive().buffers[0].shape == (0, 4)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (struct.pack("<I", 0), "promises 0 frames"),
        (struct.pack("<I", MAX_FRAMES + 1), "promises 11 frames"),
        (struct.pack("<IQQ", 2, 8, 2**40), "bytes, 10000000 fit"),
        (
            struct.pack("<IQQ", 2, 8, 2**20 + 1) + b"CIM\x01\x01\x00\x00\x00" + bytes(2**20 + 1),
            "fit",
        ),
        (struct.pack("<IQQ", 2, 8, 3) + b"XYZ\x01\x01\x00\x00\x00abc", "begin with CIM"),
        (struct.pack("<IQQ", 2, 8, 3) + b"CIM\x01\x04\x00\x00\x00abc", "kind 4"),
        (struct.pack("<IQQ", 2, 8, 3) + b"CIM\x01\x01\x00\x00\x00\xc1\xc1\xc1", "not msgpack"),
    ],
)
def test_malformed_or_large_messages_are_refused(ends, data, says):
    pipe, theirs = ends
    sending = threading.Thread(target=theirs.sendall, args=[data])
    sending.start()
    with pytest.raises(ProtocolError, match=says):
        pipe.receive()
    sending.join()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_packet_or_an_error_of_the_pipe(data):
    ours, theirs = socket.socketpair()
    pipe = Pipe(ours, max_bytes=1000)
    theirs.sendall(data)
    theirs.close()
    try:
        while True:
            pipe.receive()
    except (PipeClosedError, ProtocolError):
        pipe.close()


def test_the_end_of_the_other_side_ends_both_directions(ends):
    pipe, theirs = ends
    theirs.close()
    with pytest.raises(PipeClosedError):
        pipe.receive()
    with pytest.raises(PipeClosedError):
        pipe.send(_couplings())


def test_a_header_that_is_too_long_is_not_sent(ends):
    pipe, _ = ends
    settings = {f"{number:0>60000}": 1.0 for number in range(20)}
    program = messages.encode_program(
        Program(
            lower(IsingModel.from_couplings([[0, 1], [1, 0]]), Annealer().describe()),
            PumpSchedule.linear(0, 1, round_trips=3),
            1,
            0,
            settings,
        )
    )
    with pytest.raises(LocalProtocolError, match="header has"):
        pipe.send(Packet(Kind.REQUEST, ID, messages.Run(program=program)))
