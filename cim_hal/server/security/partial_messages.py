"""Cuts off peers that begin messages and do not end them.

libzmq hands a message over when its last part has come, and until then keeps what there is,
however much that is. The kernel counts the bytes of each connection; what came since the last
message that was taken from it, and has left the kernel, lies there. That is known where
connections are TCP and the kernel is Linux.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import struct
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import zmq

from cim_hal.protocol.wire.limits import MAX_HEADER_BYTES
from cim_hal.server.security.multipart import is_readable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cim_hal.protocol.wire.limits import Limits

__all__ = ["PartialMessageGuard", "is_possible"]

CHECK_S, LATEST_S = 0.01, 0.1  # from one look to the next
# A peer from which nothing was taken for so long has no whole message in the queue either.
SILENT_S = 1.0
SHARE = 0.01  # of the time is spent on looking, if there are many connections

_BYTES_RECEIVED = struct.Struct("=128xQ")  # tcpi_bytes_received of struct tcp_info
_EVENT = struct.Struct("=HI")
_INT = struct.Struct("=i")
_EVENTS = int(zmq.EVENT_ACCEPTED) | int(zmq.EVENT_DISCONNECTED) | int(zmq.EVENT_CLOSED)

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Connection:
    """One connection: bytes that libzmq read, and how many that were at the last message."""

    read: int = 0
    taken: int = 0
    received_at: float = 0.0
    has_received: bool = False

    @property
    def held(self) -> int:
        return self.read - self.taken


class PartialMessageGuard:
    """Watches the connections of one socket.

    One message may be as large as a request can be, and all unfinished ones together as large as
    `Limits.unfinished_bytes`. Who goes beyond is cut off; where it is all together, who holds the
    most.

    Parameters
    ----------
    context : zmq.Context
    server : zmq.Socket
        Not bound yet.
    limits : Limits

    Attributes
    ----------
    events : zmq.Socket
        Readable when `update` has something to do.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], server: zmq.Socket[bytes], limits: Limits
    ) -> None:
        # Twice: beside an unfinished message a whole one may be on its way to the queue.
        self._most_of_one = 2 * (limits.chunk_bytes + MAX_HEADER_BYTES)
        self._most_of_all = limits.unfinished_bytes
        self._connections: dict[int, _Connection] = {}
        self._next_check = 0.0
        self._server = server
        endpoint = f"inproc://partial-messages-{secrets.token_hex(8)}"
        server.monitor(endpoint, _EVENTS)
        self.events = context.socket(zmq.PAIR)
        self.events.setsockopt(zmq.LINGER, 0)
        self.events.setsockopt(zmq.RCVHWM, 0)  # libzmq would wait for us, and stand still
        self.events.connect(endpoint)

    @property
    def timeout_s(self) -> float:
        """Time until the next look; infinity where nobody is connected."""
        if not self._connections:
            return float("inf")
        return max(self._next_check - time.monotonic(), 0.0)

    def update(self) -> None:
        """Take note of who came and who went."""
        while is_readable(self.events):
            event, fd = _EVENT.unpack(self.events.recv_multipart()[0])
            if event == zmq.EVENT_ACCEPTED:
                self._connections[fd] = _Connection(received_at=time.monotonic())
            else:
                self._connections.pop(fd, None)

    def on_bytes(self, frame: zmq.Frame) -> None:
        """Take note of a message; `frame` is any of its parts."""
        fd = int(frame.get(zmq.SRCFD))
        if fd not in self._connections:
            self.update()
        connection = self._connections.get(fd)
        if connection is not None:
            connection.has_received = True

    def check(self) -> int:
        """Cut off who holds too much, if it is time to look; return how many that were."""
        now, began = time.monotonic(), time.thread_time()
        if not self._connections or now < self._next_check:
            return 0
        for fd, connection in self._connections.items():
            _measure(fd, connection, now)
        is_dry = not is_readable(self._server)  # looked at last: what came whole is to be seen
        cut = [fd for fd in self._beyond(now, is_dry=is_dry) if self._cut(fd)]
        pause_s = max((time.thread_time() - began) / SHARE, CHECK_S)
        self._next_check = now + min(pause_s, LATEST_S)
        return len(cut)

    def close(self) -> None:
        """Let go of the events."""
        self.events.close()

    def _beyond(self, now: float, *, is_dry: bool) -> Iterator[int]:
        holding = [
            (connection.held, fd)
            for fd, connection in self._connections.items()
            if is_dry or now - connection.received_at > SILENT_S
        ]
        total = sum(held for held, _ in holding)
        for held, fd in sorted(holding, reverse=True):
            if held <= self._most_of_one and total <= self._most_of_all:
                return
            total -= held
            yield fd

    def _cut(self, fd: int) -> bool:
        connection = self._connections.pop(fd)
        own_port = self._server.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0").rpartition(":")[2]
        try:
            # A copy: once it is known to be a peer's, it stays that.
            with socket.socket(fileno=os.dup(fd)) as stream:
                if str(stream.getsockname()[1]) != own_port:
                    return False
                host, port = stream.getpeername()[:2]
                stream.shutdown(socket.SHUT_RDWR)
        except (OSError, IndexError):  # it has gone, and the number may be another file's
            return False
        log.warning(
            "%s port %d was cut off: %d bytes of a message that it did not end",
            host,
            port,
            connection.held,
        )
        return True


def is_possible(endpoint: str) -> bool:
    """Return whether connections to an endpoint can be watched."""
    return endpoint.startswith("tcp://") and sys.platform == "linux"


def _measure(fd: int, connection: _Connection, now: float) -> None:
    """Look how much libzmq has read, and whether a message was taken since the last look."""
    import fcntl  # not on Windows
    import termios

    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=os.dup(fd)) as stream:
            told = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED.size)
            waiting = fcntl.ioctl(stream, termios.FIONREAD, bytes(_INT.size))
        connection.read = _BYTES_RECEIVED.unpack(told)[0] - _INT.unpack(waiting)[0]
    except (OSError, struct.error):  # it has gone, or the kernel is too old to tell
        return
    if connection.has_received:
        connection.taken, connection.received_at, connection.has_received = (
            connection.read,
            now,
            False,
        )
