from __future__ import annotations

import pytest
import zmq

from cim_hal.multipart import is_readable, is_writable, receive, send


@pytest.fixture
def ends():
    with zmq.Context() as context, context.socket(zmq.PAIR) as a, context.socket(zmq.PAIR) as b:
        for socket in (a, b):
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.RCVTIMEO, 10_000)
        a.bind("inproc://multipart")
        yield a, b


@pytest.mark.parametrize("frames", [[b"one"], [b"", b"x", b""], [bytes(100_000)] * 3])
def test_a_message_arrives_frame_by_frame(ends, frames):
    here, there = ends
    there.connect("inproc://multipart")
    send(there, frames)
    assert [frame.bytes for frame in receive(here, wait=True)] == frames
    assert not is_readable(here)


def test_messages_do_not_run_together(ends):
    here, there = ends
    there.connect("inproc://multipart")
    send(there, [b"a", b"b"])
    send(there, [b"c"])
    found = [[frame.bytes for frame in receive(here, wait=True)] for _ in range(2)]
    assert found == [[b"a", b"b"], [b"c"]]


def test_without_a_message_or_a_peer_nothing_blocks(ends):
    here, there = ends
    assert not is_writable(here)
    with pytest.raises(zmq.Again):
        send(here, [b"x"])
    with pytest.raises(zmq.Again):
        receive(here, wait=False)
    there.connect("inproc://multipart")
    assert is_writable(there)
    assert not is_readable(here)
