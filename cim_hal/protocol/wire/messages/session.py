"""Messages that open, describe and end a session."""

from __future__ import annotations

from typing import Literal

from cim_hal.machine.capabilities import Capabilities
from cim_hal.protocol.wire.base import Line, Number, Reply, Request, Text, Token, WireVersion
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.roles import Role

__all__ = ["Bye", "Describe", "Description", "Farewell", "Hello", "Ping", "Pong", "Welcome"]


class Hello(Request, role=Role.OBSERVER):
    """Open a session. This schema and that of `Welcome` never change."""

    t: Literal["hello"] = "hello"
    protocols: tuple[WireVersion, WireVersion]
    client: Line = ""


class Describe(Request, role=Role.OBSERVER):
    """Ask what the machine is and how busy it is."""

    t: Literal["describe"] = "describe"


class Ping(Request, role=Role.OBSERVER):
    """Ask for a sign of life."""

    t: Literal["ping"] = "ping"


class Bye(Request, role=Role.OBSERVER, safety=True):
    """End the session; those of its jobs that are not kept are cancelled, their results dropped."""

    t: Literal["bye"] = "bye"


class Welcome(Reply):
    """The session is open."""

    t: Literal["welcome"] = "welcome"
    protocol: WireVersion
    server: Text
    instance: Token
    session: Token
    limits: Limits
    capabilities: Capabilities


class Description(Reply):
    """What the machine is and how busy it is."""

    t: Literal["description"] = "description"
    capabilities: Capabilities
    queued: Number
    busy: bool


class Pong(Reply):
    """A sign of life."""

    t: Literal["pong"] = "pong"


class Farewell(Reply):
    """The session is over."""

    t: Literal["farewell"] = "farewell"
