from __future__ import annotations

import threading
import time

import pytest
import zmq
from cim_machines import Annealer

from cim_hal.protocol.effects import Reply
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.messages import (
    BeginCouplings,
    CouplingRef,
    CouplingSpec,
    ErrorMessage,
    Hello,
    JobStatus,
)
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.protocol.wire.version import NEWEST, OLDEST
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
    while client.poll(500):
        seq = decode(client.recv_multipart()).body.seq
    return seq


def _fill(router) -> int:
    """Send events until there is no room; return the number of the first that waits."""
    for seq in range(1, ENOUGH):
        router._send([_event(seq)])
        if router._outbox._blocked:
            return seq
    raise AssertionError("there is always room")


def test_of_events_that_a_peer_has_no_room_for_the_newest_is_kept_and_sent_later(router, client):
    seq = _fill(router)
    router._send([_event(seq + 1), _event(seq + 2)])
    assert len(router._outbox._peers[PEER].unsent) == 1
    assert _received(client) == seq - 1
    router._outbox.flush()
    assert not router._outbox._blocked
    assert _received(client) == seq + 2


def test_an_event_that_waits_is_void_once_there_is_the_answer(router, client):
    seq = _fill(router)
    router._send([_event(seq + 1, Kind.REPLY)])
    assert _received(client) == seq - 1
    router._outbox.flush()
    assert _received(client) == seq + 1
    assert not router._outbox._peers


def test_what_is_for_a_peer_that_has_gone_is_dropped(router):
    router._send([_event(1), _event(2, Kind.REPLY)])
    assert not router._outbox._peers
    assert router._service.counters.readings()


@pytest.mark.parametrize("unanswered", [256, pytest.param(1024, marks=pytest.mark.slow)])
def test_a_thousand_requests_whose_answers_nobody_reads_are_all_answered_or_refused(unanswered):
    ref = CouplingRef(digest="sha256:" + "0" * 64)
    n = 3000
    with Router(Annealer(), limits=Limits(unanswered=unanswered)) as router:
        thread = threading.Thread(target=router.serve)
        thread.start()
        try:
            with zmq.Context() as context, context.socket(zmq.DEALER) as client:
                client.linger, client.sndhwm, client.rcvhwm, client.rcvtimeo = 0, 0, 1, 20_000
                client.connect(router.endpoint)
                hello = Packet(Kind.REQUEST, bytes(16), Hello(protocols=(OLDEST, NEWEST)))
                client.send_multipart(encode(hello))
                session = decode(client.recv_multipart()).body.session
                begins = [
                    BeginCouplings(
                        coupling=ref.model_copy(update={"digest": f"sha256:{k:064x}"}),
                        spec=CouplingSpec(format="triu", n_spins=2, dtype="|i1"),
                    )
                    for k in range(n)
                ]
                for k, begin in enumerate(begins):
                    packet = Packet(Kind.REQUEST, (k + 1).to_bytes(16), begin, session)
                    client.send_multipart(encode(packet))
                time.sleep(0.5)  # nothing is read meanwhile
                replies = [decode(client.recv_multipart()) for _ in begins]
        finally:
            router.stop()
            thread.join()
    assert len({reply.id for reply in replies}) == n
    refused = [reply.body for reply in replies if isinstance(reply.body, ErrorMessage)]
    assert {error.code for error in refused} <= {"session.quota", "capability"}
    whats = {error.details["what"] for error in refused}
    assert whats <= {"unanswered", "user_uploads", "max_uploads"}
