"""A server at an endpoint: one ZeroMQ DEALER that many waiting threads share.

A thread owns the socket, connects it, sends what the others ask for and puts each reply into the
mailbox of its request. It is what an asyncio session uses, whose calls are many at a time;
`ZmqTransport`, with a connection for each caller and no thread, answers one call sooner.
"""

from __future__ import annotations

import logging
import math
import os
import socket as sockets
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

import zmq

from cim_hal.client.transport.mailbox import Mailbox
from cim_hal.client.transport.zmq import WATCH_S, Socket, closed_error, end
from cim_hal.errors import CimError, ConnectError, TransportTimeoutError, rebuild
from cim_hal.key_files import require_curve
from cim_hal.protocol.wire.packet import NO_ID, Packet

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable

    from cim_hal.client.access import ClientKeys

__all__ = ["SharedZmqTransport"]

CONNECT_S = 5.0  # at most for one attempt

log = logging.getLogger(__name__)


class SharedZmqTransport:
    """Sends packets to a server at an endpoint, on one connection; any thread may use it.

    After an error the next request has a new connection.

    Parameters
    ----------
    endpoint : str
        ``tcp://host:port`` or ``ipc://path``.
    keys : ClientKeys, optional
        Encrypt, show the key of the client, and speak to a server with that key only.
    """

    def __init__(self, endpoint: str, *, keys: ClientKeys | None = None) -> None:
        if keys is not None:
            require_curve()
        self._endpoint = endpoint
        self._keys = keys
        self._context = zmq.Context()
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._connection: _Connection | None = None
        self._is_closed = False

    def exchange(self, request: Packet, *, timeout_s: float) -> Packet:
        """Send a request and return its reply."""
        (reply,) = self.pipeline([request], window=1, timeout_s=timeout_s)
        return reply

    def pipeline(
        self,
        requests: Iterable[Packet],
        *,
        window: int,
        timeout_s: float,
        total_s: float = math.inf,
    ) -> Generator[Packet]:
        """Yield the replies to many requests as they come, at most `window` of them unanswered."""
        deadline, source, unanswered = time.monotonic() + total_s, iter(requests), set[bytes]()
        connection, mailbox = self._connected(min(timeout_s, total_s)), Mailbox()
        try:
            while True:
                while len(unanswered) < window and (request := next(source, None)) is not None:
                    unanswered.add(request.id)
                    connection.send(request, mailbox)
                if not unanswered:
                    return
                reply = connection.receive(mailbox, min(timeout_s, deadline - time.monotonic()))
                unanswered.discard(reply.id)
                yield reply
        finally:
            connection.forget(unanswered)

    def subscribe(self, request: Packet, *, timeout_s: float) -> _SharedReplyStream:
        """Send a request and return the stream of its events and its reply."""
        connection, mailbox = self._connected(timeout_s), Mailbox()
        connection.send(request, mailbox)
        return _SharedReplyStream(connection, request.id, mailbox)

    def close(self) -> None:
        """Close the connection and end its thread; in a forked child this does nothing."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            was_closed, self._is_closed, connection = self._is_closed, True, self._connection
        if was_closed:
            return
        if connection is not None:
            connection.close()
        end(self._context)  # wakes a thread that still connects
        if connection is not None:
            connection.join()

    def _connected(self, timeout_s: float) -> _Connection:
        with self._lock:
            if self._is_closed:
                raise closed_error()
            if self._connection is None or self._connection.is_over:
                attempt_s = min(timeout_s, CONNECT_S)
                open_socket = partial(Socket, self._context, self._endpoint, attempt_s, self._keys)
                self._connection = _Connection(self._endpoint, open_socket)
            return self._connection


class _Connection:
    """One connected socket, the thread that owns it, and who waits for what on it.

    Other threads only append to `_outgoing`, change `_mailboxes` and wake the thread.
    """

    def __init__(self, endpoint: str, open_socket: Callable[[], Socket]) -> None:
        self._endpoint = endpoint
        self._open_socket = open_socket
        self._lock = threading.Lock()  # of the next three
        self._outgoing: deque[Packet] = deque()
        self._mailboxes: dict[bytes, Mailbox] = {}
        self._error: CimError | None = None
        self._is_connected = self._is_closing = False
        self._wake_up, self._woken = sockets.socketpair()
        self._wake_up.settimeout(0.0)
        self._thread = threading.Thread(target=self._run, name="cim-hal connection", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether it has failed or was closed."""
        return self._error is not None

    def send(self, request: Packet, mailbox: Mailbox) -> None:
        """Let the thread send a request; its reply, or an error, is put into `mailbox`."""
        with self._lock:
            if self._error is not None:
                raise _copy(self._error)
            self._mailboxes[request.id] = mailbox
            self._outgoing.append(request)
            self._wake()

    def receive(self, mailbox: Mailbox, timeout_s: float) -> Packet:
        """Wait for a packet."""
        deadline = time.monotonic() + timeout_s
        while (remaining_s := deadline - time.monotonic()) > 0:
            packet = mailbox.take(remaining_s)
            if packet is not None:
                return packet
        if not self._is_connected:
            raise self._connect_error(f"nobody answers at {self._endpoint}")
        raise TransportTimeoutError(
            f"{self._endpoint} did not answer",
            hint="is something else listening there, or is the machine overloaded?",
            endpoint=self._endpoint,
        )

    def forget(self, requests: Collection[bytes]) -> None:
        """Drop the replies to some requests."""
        with self._lock:
            for request in requests:
                self._mailboxes.pop(request, None)

    def close(self) -> None:
        """End the connection; who still waits gets a `ClosedError`."""
        self._is_closing = True
        self._fail(closed_error())

    def join(self) -> None:
        """Wait for the end of the thread; a second at most."""
        if threading.current_thread() is not self._thread:
            self._thread.join(1.0)

    # ---- the thread of the socket ---------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._is_closing and self._serve():
                pass
        except CimError as error:
            self._fail(error)
        except zmq.ContextTerminated:
            self._fail(closed_error())
        except Exception as error:  # whatever it is, nobody waits for ever
            log.exception("the connection to %s failed", self._endpoint)
            self._fail(self._connect_error(f"the connection to {self._endpoint} failed: {error}"))
        finally:
            self._woken.close()

    def _serve(self) -> bool:
        """Carry packets on a new socket; return True where it broke while it was not needed."""
        socket = self._open_socket()
        self._is_connected = True
        # Requests under way are bounded by those who wait for them: a socket that takes no more
        # has lost its connection.
        socket.socket.setsockopt(zmq.SNDHWM, 0)
        poller = zmq.Poller()
        poller.register(socket.socket, zmq.POLLIN)
        poller.register(self._woken, zmq.POLLIN)
        try:
            with socket:
                while not self._is_closing:
                    if not self._carry(socket):
                        return True
                    self._wait(poller)
                return False
        finally:
            socket.close()

    def _carry(self, socket: Socket) -> bool:
        """Take all that has come and send all that waits; return False for another socket."""
        while (packet := socket.receive_now()) is not None:
            self._deliver(packet)
        if not socket.is_connected:
            if self._is_under_way():
                raise self._connect_error(f"the connection to {self._endpoint} was lost")
            return not self._outgoing
        while self._outgoing:
            packet = self._outgoing.popleft()
            if packet.id in self._mailboxes:  # else nobody waits for its reply any more
                socket.send(packet)
        return True

    def _is_under_way(self) -> bool:
        """Return whether a request was sent whose reply is waited for."""
        with self._lock:
            return bool(self._mailboxes.keys() - {packet.id for packet in self._outgoing})

    def _wait(self, poller: zmq.Poller) -> None:
        ready = dict(poller.poll(int(1000 * WATCH_S) if self._mailboxes else None))
        if self._woken.fileno() in ready:
            self._woken.recv(4096)

    def _deliver(self, packet: Packet) -> None:
        with self._lock:
            if packet.id == NO_ID:
                found = set(self._mailboxes.values())
            else:
                found = {self._mailboxes.get(packet.id)} - {None}
        for mailbox in found:
            if mailbox is not None:
                mailbox.put(packet)

    def _fail(self, error: CimError) -> None:
        """Put an error of its own into each mailbox."""
        with self._lock:
            if self._error is not None:
                return
            self._error = error
            for mailbox in set(self._mailboxes.values()):
                mailbox.put(_copy(error))
            self._wake()
            self._wake_up.close()

    def _wake(self) -> None:
        try:
            self._wake_up.send(b"\0")
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return  # woken already, or over

    def _connect_error(self, message: str) -> ConnectError:
        return ConnectError(
            message, hint="is the server running? cim-hal serve starts one", endpoint=self._endpoint
        )


class _SharedReplyStream:
    """The events to one request and its reply."""

    def __init__(self, connection: _Connection, request_id: bytes, mailbox: Mailbox) -> None:
        self._connection = connection
        self._request_id = request_id
        self._mailbox = mailbox

    def next(self, *, timeout_s: float) -> Packet:
        return self._mailbox.newest(self._connection.receive(self._mailbox, timeout_s))

    def close(self) -> None:
        self._connection.forget([self._request_id])


def _copy(error: CimError) -> CimError:
    return rebuild(type(error), error.message, error.hint, error.details)
