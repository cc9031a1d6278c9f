"""Bounds for connections: their number, and the messages that they begin and do not end.

libzmq hands a message over when its last part has arrived, and until then keeps all parts, without
a bound. The kernel counts the bytes of each connection: those that have left the kernel since the
last whole message are what libzmq holds. This is known for TCP connections under Linux.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import zmq

from cim_hal.multipart import is_readable
from cim_hal.protocol.wire.limits import MAX_HEADER_BYTES
from cim_hal.server.process_usage import max_open_files
from cim_hal.server.steps import LogLimiter
from cim_hal.text import counted

if TYPE_CHECKING:
    from cim_hal.protocol.wire.limits import Limits

__all__ = ["PartialMessageGuard", "is_possible"]

CHECK_S, LATEST_S = 0.01, 0.1  # least and greatest time from one check to the next
# A peer without a message for so long has no whole one in the queue either.
SILENT_S = 1.0
MAX_CONNECTIONS = 1024
MAX_HANDSHAKES = 64  # that may go on where there is no room for more connections
MAX_EVENTS = 1000  # handled at once
SHARE = 0.01  # part of the time that checks may take, with many connections

_BYTES_RECEIVED = struct.Struct("=128xQ")  # tcpi_bytes_received of struct tcp_info
_EVENT = struct.Struct("=HI")
_INT = struct.Struct("=i")
_ACCEPTED, _READY = int(zmq.EVENT_ACCEPTED), int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
_EVENTS = _ACCEPTED | _READY | int(zmq.EVENT_DISCONNECTED) | int(zmq.EVENT_CLOSED)

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Connection:
    """Bytes that libzmq has read from a connection, now and at the last whole message."""

    read: int = 0
    taken: int = 0
    received_at: float = 0.0
    has_received: bool = False
    is_ready: bool = False  # its handshake is done

    @property
    def held(self) -> int:
        return self.read - self.taken


class _Duplicate:
    """A descriptor kept for duplicates of others, where no more files may be opened."""

    def __init__(self) -> None:
        self._nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._number = os.dup(self._nothing)

    @contextmanager
    def of(self, fd: int) -> Iterator[socket.socket]:
        """Have a duplicate of a connection in a block; `OSError` if that is closed."""
        os.dup2(fd, self._number, inheritable=False)
        stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=self._number)
        try:
            yield stream
        finally:
            stream.detach()
            os.dup2(self._nothing, self._number, inheritable=False)

    def close(self) -> None:
        for number in (self._nothing, self._number):
            os.close(number)


class PartialMessageGuard:
    """Limits connections to one socket, not bound yet, and the memory of incomplete messages.

    Beyond `MAX_CONNECTIONS` the oldest one whose handshake is not done is closed, or where few are
    in their handshake the one that was silent for longest. One message may be as large as a
    request, and all incomplete ones together as large as `Limits.unfinished_bytes`. A peer beyond
    the first limit is cut off; beyond the second, the one that holds the most. The socket `events`
    is readable when `update` has something to do.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], server: zmq.Socket[bytes], limits: Limits
    ) -> None:
        # Twice: a whole message may be on its way to the queue beside an incomplete one.
        self._most_of_one = 2 * (limits.chunk_bytes + MAX_HEADER_BYTES)
        self._most_of_all = limits.unfinished_bytes
        self._connections: dict[int, _Connection] = {}
        self._most_connections = min(MAX_CONNECTIONS, max_open_files() // 2)
        self._next_check = 0.0
        self._duplicate = _Duplicate()
        self._server = server
        self._limiter = LogLimiter()
        endpoint = f"inproc://partial-messages-{secrets.token_hex(8)}"
        server.monitor(endpoint, _EVENTS)
        self.events = context.socket(zmq.PAIR)
        self.events.setsockopt(zmq.LINGER, 0)
        self.events.setsockopt(zmq.RCVHWM, 0)  # otherwise libzmq blocks until we read
        self.events.connect(endpoint)

    @property
    def timeout_s(self) -> float:
        """Time until the next check; infinity if nobody is connected."""
        if not self._connections:
            return float("inf")
        return max(self._next_check - time.monotonic(), 0.0)

    def update(self) -> None:
        """Note connections that were opened or closed."""
        for _ in range(MAX_EVENTS):
            if not is_readable(self.events):
                return
            event, fd = _EVENT.unpack(self.events.recv_multipart()[0])
            if event == _ACCEPTED:
                self._connections.pop(fd, None)  # the newest is the last
                self._connections[fd] = _Connection(received_at=time.monotonic())
                self._make_room()
            elif event != _READY:
                self._connections.pop(fd, None)
            elif fd in self._connections:
                self._connections[fd].is_ready = True

    def on_bytes(self, frame: zmq.Frame) -> None:
        """Note that a whole message has arrived; `frame` is any part of it."""
        fd = _source(frame)
        if fd is None:
            return
        if fd not in self._connections:
            self.update()
        connection = self._connections.get(fd)
        if connection is not None:
            connection.has_received = True

    def check(self) -> int:
        """Cut off peers beyond the limits, if a check is due; return how many."""
        now = time.monotonic()
        if not self._connections or now < self._next_check:
            return 0
        began = time.thread_time()
        for fd, connection in self._connections.items():
            self._measure(fd, connection, now)
        is_dry = not is_readable(self._server)  # read last, so that whole messages are seen
        cut = [fd for fd in self._beyond(now, is_dry=is_dry) if self._cut(fd)]
        pause_s = max((time.thread_time() - began) / SHARE, CHECK_S)
        self._next_check = now + min(pause_s, LATEST_S)
        return len(cut)

    def cut(self, frame: zmq.Frame) -> bool:
        """Cut off the peer that sent a frame; return whether that was possible."""
        fd = _source(frame)
        return fd in self._connections and self._cut(fd)

    def close(self) -> None:
        """Close the socket of events."""
        self.events.close()
        self._duplicate.close()

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

    def _make_room(self) -> None:
        if len(self._connections) <= self._most_connections:
            return
        new = [fd for fd, connection in self._connections.items() if not connection.is_ready]
        if len(new) > min(MAX_HANDSHAKES, self._most_connections // 2):
            self._cut(new[0])
        else:
            self._cut(min(self._connections.keys() - new, key=self._received_at))

    def _received_at(self, fd: int) -> float:
        return self._connections[fd].received_at

    def _measure(self, fd: int, connection: _Connection, now: float) -> None:
        """Update the bytes that libzmq has read, and those at the last whole message."""
        import fcntl  # not on Windows
        import termios

        try:
            with self._duplicate.of(fd) as stream:
                info = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED.size)
                waiting = fcntl.ioctl(stream, termios.FIONREAD, bytes(_INT.size))
            connection.read = _BYTES_RECEIVED.unpack(info)[0] - _INT.unpack(waiting)[0]
        except (OSError, struct.error):  # closed, or the kernel is too old to report
            return
        if connection.has_received:
            connection.taken, connection.received_at, connection.has_received = (
                connection.read,
                now,
                False,
            )

    def _cut(self, fd: int) -> bool:
        connection = self._connections.pop(fd)
        own_port = self._server.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0").rpartition(":")[2]
        try:
            # A duplicate: once it is known to be a peer's socket, it stays that.
            with self._duplicate.of(fd) as stream:
                if str(stream.getsockname()[1]) != own_port:
                    return False
                host, port = stream.getpeername()[:2]
                stream.shutdown(socket.SHUT_RDWR)
        except (OSError, IndexError):  # closed, and the number may be another file's
            return False
        count = self._limiter.due("cut")
        if count:
            what = (
                f"{connection.held} bytes of an incomplete message, "
                f"{counted(len(self._connections), 'peer')}"
            )
            log.warning("%s port %d was cut off: %s (%d times)", host, port, what, count)
        return True


def is_possible(endpoint: str) -> bool:
    """Return whether incomplete messages at an endpoint can be measured."""
    return endpoint.startswith("tcp://") and sys.platform == "linux"


def _source(frame: zmq.Frame) -> int | None:
    """Return the descriptor a frame came from; None where its peer speaks no ZMTP 3."""
    try:
        return int(frame.get(zmq.SRCFD))
    except (zmq.ZMQError, ValueError):
        return None
