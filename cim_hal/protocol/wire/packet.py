"""A message with its address: what goes through a transport."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.protocol.wire.base import Message

__all__ = ["ID_BYTES", "NO_ID", "Kind", "Packet", "answer", "event"]

ID_BYTES = 16
NO_ID = bytes(ID_BYTES)


class Kind(IntEnum):
    """Which way a packet goes; an event comes before the reply to its request, or not at all."""

    REQUEST = 1
    REPLY = 2
    EVENT = 3
    RECORD = 4  # in files, never on the network


@dataclass(frozen=True, eq=False)
class Packet:
    """A message, its id, and the arrays that travel with it."""

    kind: Kind
    # 16 random bytes of a request, repeated by its events and its reply; zeros where the server
    # could not read the id.
    id: bytes
    body: Message
    session: str = ""  # token of the welcome; empty in a reply and before the welcome
    # Read-only, C order, little endian, at most 1 MiB each.
    buffers: tuple[NDArray[Any], ...] = ()
    epoch: int = 0  # of the lock a client holds, or thinks it holds; 0 for none, and in a reply
    acknowledged: tuple[str, ...] = ()  # jobs whose results the client has; empty in a reply


def answer(request: Packet, body: Message, *buffers: NDArray[Any]) -> Packet:
    """Return the reply to `request`."""
    return Packet(Kind.REPLY, request.id, body, buffers=buffers)


def event(request: Packet, body: Message) -> Packet:
    """Return what is told ahead of the reply to `request`."""
    return Packet(Kind.EVENT, request.id, body)
