"""Multipart messages through a ZeroMQ socket, with nothing between that costs time.

pyzmq's own ``send_multipart`` and ``recv_multipart`` check every part and ask the socket after
each whether more comes: a third of what a small message costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zmq

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cim_hal.protocol.wire.codec import Buffer

__all__ = ["is_readable", "is_writable", "receive", "send"]

# Plain integers: arithmetic of enumerations takes longer than to send a frame.
_EVENTS, _IN, _OUT = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.POLLOUT)
_NOBLOCK, _MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK) | int(zmq.SNDMORE)


def is_readable(socket: zmq.Socket[Any]) -> bool:
    """Return whether a message waits."""
    return bool(int(socket.get(_EVENTS)) & _IN)


def is_writable(socket: zmq.Socket[Any]) -> bool:
    """Return whether a message would be taken: a connection stands, and its queue has room."""
    return bool(int(socket.get(_EVENTS)) & _OUT)


def send(socket: zmq.Socket[Any], frames: Sequence[Buffer]) -> None:
    """Send a message at once; large frames are read later, so they must not change.

    Raises
    ------
    zmq.ZMQError
        Nobody takes it now.
    """
    *ahead, last = frames
    for frame in ahead:
        socket.send(frame, _MORE, copy=False)
    socket.send(last, _NOBLOCK, copy=False)


def receive(socket: zmq.Socket[Any], *, wait: bool) -> list[zmq.Frame]:
    """Return the frames of the next message.

    Raises
    ------
    zmq.Again
        None is there; with `wait`, none came within the timeout of the socket.
    """
    frames = [socket.recv(0 if wait else _NOBLOCK, copy=False)]
    while frames[-1].more:
        frames.append(socket.recv(_NOBLOCK, copy=False))
    return frames
