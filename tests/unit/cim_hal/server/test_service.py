from __future__ import annotations

from cim_machines import Annealer

from cim_hal.protocol.wire.messages import Describe, Hello, Ping
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.server.service import Service


def test_a_bug_in_the_server_is_answered_and_logged_and_not_fatal(monkeypatch, caplog):
    service = Service(Annealer(), lambda: None)
    try:
        hello = Packet(Kind.REQUEST, bytes(16), Hello(protocols=((1, 0), (1, 0))))
        (welcome,) = service.receive(b"p", hello)
        session = welcome.packet.body.session
        monkeypatch.delattr(service._core, "_capabilities")
        (reply,) = service.receive(b"p", Packet(Kind.REQUEST, b"i" * 16, Describe(), session))
        (pong,) = service.receive(b"p", Packet(Kind.REQUEST, b"j" * 16, Ping(), session))
    finally:
        service.close()
    assert reply.packet.id == b"i" * 16
    assert reply.packet.body.code == "protocol.remote"
    assert pong.packet.body.t == "pong"
    assert "AttributeError" in caplog.text
