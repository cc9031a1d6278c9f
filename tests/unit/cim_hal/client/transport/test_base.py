from __future__ import annotations

import pytest

from cim_hal.client.transport.base import Mailbox, MailboxLine, closed_error, deliver
from cim_hal.errors import ClosedError
from cim_hal.protocol.wire.messages import Ping, Pong
from cim_hal.protocol.wire.packet import NO_ID, Kind, Packet, answer, event

FIRST, SECOND = (Packet(Kind.REQUEST, bytes([number] * 16), Ping()) for number in (1, 2))


class Post:
    """Puts replies where the test says."""

    def __init__(self) -> None:
        self.mailboxes: dict[bytes, Mailbox] = {}

    def send(self, request, mailbox):
        self.mailboxes[request.id] = mailbox

    def receive(self, mailbox, timeout_s):
        return mailbox.take(timeout_s)

    def forget(self, request_ids):
        for each in request_ids:
            del self.mailboxes[each]


def test_events_give_way_to_what_is_newer_and_replies_do_not():
    mailbox = Mailbox()
    old, new = (event(FIRST, Pong()) for _ in range(2))
    reply, other = answer(FIRST, Pong()), answer(SECOND, Pong())
    for each in (old, new, reply, other):
        mailbox.put(each)
    assert [mailbox.take(0.0) for _ in range(3)] == [reply, other, None]
    mailbox.put(new)
    assert mailbox.take(0.0) is new


def test_an_error_is_raised_in_its_turn_and_a_wake_up_is_nothing():
    mailbox = Mailbox()
    mailbox.put(reply := answer(FIRST, Pong()))
    mailbox.put(closed_error())
    mailbox.wake()
    assert mailbox.take(0.0) is reply
    with pytest.raises(ClosedError, match="the session is closed"):
        mailbox.take(0.0)
    assert mailbox.take(60.0) is None


def test_a_reply_goes_to_its_request_and_one_without_an_id_to_all():
    here, there = Mailbox(), Mailbox()
    boxes = {FIRST.id: here, SECOND.id: there}
    deliver(news := event(FIRST, Pong()), boxes)
    assert here.take(0.0) is news
    deliver(Packet(Kind.REPLY, NO_ID, Pong()), boxes)
    assert here.take(0.0) is there.take(0.0)
    deliver(reply := answer(FIRST, Pong()), boxes)
    deliver(answer(FIRST, Pong()), boxes)  # twice: the second one is nobody's
    assert (here.take(0.0), here.take(0.0)) == (reply, None)
    assert set(boxes) == {SECOND.id}


def test_a_line_that_is_closed_drops_the_replies_that_have_not_come():
    post = Post()
    line = MailboxLine(post)
    line.send(FIRST)
    line.send(SECOND)
    deliver(answer(FIRST, Pong()), post.mailboxes)
    assert line.next(timeout_s=0.0).id == FIRST.id
    line.close()
    assert post.mailboxes == {}
