from __future__ import annotations

import numpy as np

from cim_hal.protocol.wire.messages import Ping, Pong
from cim_hal.protocol.wire.packet import ID_BYTES, NO_ID, Kind, Packet, answer, event

REQUEST = Packet(Kind.REQUEST, bytes(range(16)), Ping(), session="5" * 32, epoch=7)


def test_a_reply_has_the_id_of_its_request_and_neither_its_session_nor_its_epoch():
    rows = np.arange(3)
    reply = answer(REQUEST, Pong(), rows)
    assert (reply.kind, reply.id, reply.body) == (Kind.REPLY, REQUEST.id, Pong())
    assert (reply.session, reply.epoch) == ("", 0)
    assert reply.buffers[0] is rows


def test_an_event_has_the_id_of_its_request_and_no_arrays():
    news = event(REQUEST, Pong())
    assert (news.kind, news.id, news.session, news.epoch) == (Kind.EVENT, REQUEST.id, "", 0)
    assert news.buffers == ()


def test_no_id_is_as_long_as_any_and_packets_are_compared_by_identity():
    assert bytes(ID_BYTES) == NO_ID
    assert len(REQUEST.id) == ID_BYTES
    assert answer(REQUEST, Pong()) != answer(REQUEST, Pong())
