"""Fast multipart messages through a ZeroMQ socket.

pyzmq's own ``send_multipart`` and ``recv_multipart`` check every part and ask the socket after
each whether more follows: a third of the cost of a small message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import zmq

if TYPE_CHECKING:
    from cim_hal.protocol.wire.codec import Buffer

__all__ = ["is_readable", "is_writable", "receive", "send"]

# Plain integers: arithmetic with enumerations takes longer than sending a frame.
_EVENTS, _IN, _OUT = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.POLLOUT)
_NOBLOCK, _MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK) | int(zmq.SNDMORE)


def is_readable(socket: zmq.Socket[Any]) -> bool:
    """Return whether a message waits."""
    return bool(int(socket.get(_EVENTS)) & _IN)


def is_writable(socket: zmq.Socket[Any]) -> bool:
    """Return whether a message can be sent: there is a connection, and its queue has room."""
    return bool(int(socket.get(_EVENTS)) & _OUT)


def send(socket: zmq.Socket[Any], frames: Sequence[Buffer]) -> None:
    """Send a message without blocking, or raise `zmq.ZMQError`.

    Large frames are read later, so they must not change.
    """
    *ahead, last = frames
    for frame in ahead:
        socket.send(frame, _MORE, copy=False)
    socket.send(last, _NOBLOCK, copy=False)


def receive(socket: zmq.Socket[Any], *, wait: bool) -> list[zmq.Frame]:
    """Return the frames of the next message; with `wait`, wait for the timeout of the socket.

    `zmq.Again` if there is none.
    """
    frames = [socket.recv(0 if wait else _NOBLOCK, copy=False)]
    while frames[-1].more:
        frames.append(socket.recv(_NOBLOCK, copy=False))
    return frames
