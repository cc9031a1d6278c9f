from __future__ import annotations

import pytest
import zmq
from cim_machines import Annealer

from cim_hal.protocol.effects import Reply
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.codec import decode
from cim_hal.protocol.wire.messages import JobStatus
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.server.router import Router

PEER, ID = b"me", b"i" * 16
ENOUGH = 200_000  # events of some 150 bytes: more than sockets and kernels hold


def _event(seq: int, kind: Kind = Kind.EVENT) -> Reply:
    status = JobStatus(job="0" * 32, state=JobState.RUNNING, seq=seq)
    return Reply(PEER, Packet(kind, ID, status))


@pytest.fixture
def router():
    with Router(Annealer()) as router:
        yield router


@pytest.fixture
def client(router):
    with zmq.Context() as context, context.socket(zmq.DEALER) as client:
        client.setsockopt(zmq.LINGER, 0)
        client.setsockopt(zmq.ROUTING_ID, PEER)
        client.setsockopt(zmq.RCVHWM, 1)
        client.setsockopt(zmq.RCVTIMEO, 1000)
        client.connect(router.endpoint)
        client.send(b"here")
        assert router._socket.poll(5000)
        yield client


def _received(client) -> int:
    """Number of the last change that has come."""
    seq = 0
    while client.poll(200):
        seq = decode(client.recv_multipart()).body.seq
    return seq


def test_of_events_that_a_peer_has_no_room_for_the_newest_is_kept_and_sent_later(router, client):
    for seq in range(1, ENOUGH):
        router._send([_event(seq)])
        if router._unsent:
            break
    router._send([_event(seq + 1), _event(seq + 2)])
    assert [each.packet.body.seq for each in router._unsent.values()] == [seq + 2]
    assert _received(client) == seq - 1
    router._send([*router._unsent.values()])
    assert router._unsent == {}
    assert _received(client) == seq + 2


def test_an_event_that_waits_is_void_once_there_is_the_answer(router, client):
    for seq in range(1, ENOUGH):
        router._send([_event(seq)])
        if router._unsent:
            break
    router._send([_event(seq + 1, Kind.REPLY)])
    assert router._unsent == {}
    assert router._service.counters.readings()


def test_events_for_a_peer_that_has_gone_are_dropped(router):
    router._send([_event(1)])
    assert router._unsent == {}
