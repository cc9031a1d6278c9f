from __future__ import annotations

import msgpack
import numpy as np
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from cim_hal.errors import QuotaError
from cim_hal.protocol.effects import Reply
from cim_hal.protocol.monitoring import Counters
from cim_hal.protocol.wire.limits import MIN_UNANSWERED, Limits
from cim_hal.protocol.wire.messages import ErrorMessage, Pong
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.server import outbox
from cim_hal.server.outbox import MAX_REFUSALS, PEER_BYTES, Outbox

ME, OTHER = b"me", b"other"


def _id(number: int) -> bytes:
    return number.to_bytes(16)


def _reply(number: int, *, peer: bytes = ME, kind: Kind = Kind.REPLY, message: str = "") -> Reply:
    body = ErrorMessage(code="device", message=message) if message else Pong()
    return Reply(peer, Packet(kind, _id(number), body))


class Pipe:
    """Peers that take so many messages, until they read."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.gone: set[bytes] = set()
        self.taken: dict[bytes, list[int]] = {}

    def send(self, frames) -> None:
        peer = bytes(frames[0])
        if peer in self.gone:
            raise zmq.ZMQError(zmq.EHOSTUNREACH)
        taken = self.taken.setdefault(peer, [])
        if len(taken) >= self.room:
            raise zmq.ZMQError(zmq.EAGAIN)
        taken.append(int.from_bytes(msgpack.unpackb(frames[2])["id"]))


@pytest.fixture
def pipe():
    return Pipe(room=16)


@pytest.fixture
def counters():
    return Counters()


@pytest.fixture
def box(pipe, counters, monkeypatch):
    monkeypatch.setattr(outbox, "RETRY_S", 0.0)
    monkeypatch.setattr(outbox, "SHARE", float("inf"))
    return Outbox(pipe.send, Limits(unanswered=MIN_UNANSWERED), counters)


def _dropped(counters) -> float:
    (found,) = (each for each in counters.readings() if each.name == "dropped_replies_total")
    return found.series[0][1]


def test_what_has_no_room_is_sent_in_order_once_there_is(box, pipe, counters):
    for number in range(200):
        box.put(_reply(number))
    assert pipe.taken[ME] == list(range(16))
    assert box.timeout_s < 1.0
    pipe.room = 1000
    for _ in range(4):
        box.flush()
    assert pipe.taken[ME] == list(range(200))
    assert box.timeout_s == float("inf")
    assert not box._peers
    assert _dropped(counters) == 0


def test_beyond_its_limit_a_peer_is_refused_and_another_is_not(box, pipe):
    for number in range(MIN_UNANSWERED):
        box.admit(ME, _id(number))
    with pytest.raises(QuotaError, match="unanswered") as caught:
        box.admit(ME, _id(1000))
    assert caught.value.details["available"] == MIN_UNANSWERED
    box.admit(ME, _id(3))  # sent again: it is counted already
    box.admit(OTHER, _id(1000))
    box.put(_reply(3))
    box.admit(ME, _id(1000))


def test_an_event_answers_nothing(box):
    for number in range(MIN_UNANSWERED):
        box.admit(ME, _id(number))
    box.put(_reply(0, kind=Kind.EVENT))
    with pytest.raises(QuotaError):
        box.admit(ME, _id(1000))


def test_a_peer_that_does_not_read_large_answers_may_ask_for_no_more(box, pipe):
    pipe.room = 0
    part = np.zeros(2**20, np.uint8)
    for number in range(PEER_BYTES // part.nbytes):
        box.admit(ME, _id(number))
        box.put(Reply(ME, Packet(Kind.REPLY, _id(number), Pong(), buffers=(part,))))
    with pytest.raises(QuotaError):
        box.admit(ME, _id(1000))
    box.admit(OTHER, _id(1000))


def test_a_peer_that_never_reads_is_hopeless_and_what_it_gets_is_dropped(box, pipe, counters):
    pipe.room = 0
    for number in range(MIN_UNANSWERED + MAX_REFUSALS):
        assert not box.is_hopeless(ME)
        box.put(_reply(number))
    assert box.is_hopeless(ME)
    box.put(_reply(10**6))
    assert _dropped(counters) == 1
    pipe.gone.add(ME)
    for _ in range(MAX_REFUSALS):
        box.flush()
    assert not box._peers
    assert not box.is_hopeless(ME)


def test_a_request_that_is_never_answered_counts_for_a_while_only(box, monkeypatch):
    for number in range(MIN_UNANSWERED):
        box.admit(ME, _id(number))
    monkeypatch.setattr(outbox, "FORGET_S", -1.0)
    box.admit(ME, _id(1000))


@given(
    st.lists(
        st.tuples(st.sampled_from(["ask", "reply", "event", "read", "flush"]), st.integers(0, 30)),
        max_size=200,
    )
)
def test_every_request_that_was_admitted_and_answered_gets_its_one_reply(moves):
    pipe, counters = Pipe(room=3), Counters()
    box = Outbox(pipe.send, Limits(unanswered=MIN_UNANSWERED), counters)
    answered: list[int] = []
    for serial, (move, number) in enumerate(moves):
        box._retry_at = 0.0
        if move == "ask":
            box.admit(ME, _id(number))
        elif move == "reply":
            box.put(_reply(1000 + serial))
            answered.append(1000 + serial)
        elif move == "event":
            box.put(_reply(number, kind=Kind.EVENT))
        elif move == "read":
            pipe.room += 2
        else:
            box.flush()
    pipe.room = 10**6
    for _ in range(5):
        box._retry_at = 0.0
        box.flush()
    assert [number for number in pipe.taken.get(ME, []) if number >= 1000] == answered
    assert box._n_bytes == 0
    assert not box._blocked
