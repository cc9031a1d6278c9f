"""A server at an endpoint: few ZeroMQ DEALER sockets that many waiting threads share.

A thread owns each socket, connects it, sends what the others ask for and puts each reply into the
mailbox of its request. It is what an asyncio session uses, whose calls are many at a time;
`ZmqTransport`, with a connection for each caller and no thread, answers one call sooner.
"""

from __future__ import annotations

import logging
import socket as sockets
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

import zmq

from cim_hal.client.transport.base import LineTransport, Mailbox, MailboxLine, closed_error, deliver
from cim_hal.client.transport.zmq import WATCH_S, Endpoint
from cim_hal.errors import CimError, rebuild
from cim_hal.key_files import keys_for
from cim_hal.protocol.wire.limits import MIN_UNANSWERED

if TYPE_CHECKING:
    from cim_hal.client.options import ConnectionOptions
    from cim_hal.client.transport.zmq import Socket
    from cim_hal.key_files import ClientKeys
    from cim_hal.protocol.wire.packet import Packet

__all__ = ["SharedZmqTransport", "open_target"]

CONNECT_S = 5.0  # at most for one attempt

log = logging.getLogger(__name__)


class SharedZmqTransport(LineTransport):
    """A `ZmqTransport` whose callers share connections: one for each `MIN_UNANSWERED` requests."""

    is_interruptible = True

    def __init__(self, endpoint: str, *, keys: ClientKeys | None = None) -> None:
        self._endpoint = Endpoint(endpoint, keys)
        self._lock = threading.Lock()
        self._connections: list[_Connection] = []

    def line(self, timeout_s: float) -> MailboxLine:
        """Return a line; what is sent on it goes by a connection that has room."""
        if not self._endpoint.is_open:
            raise closed_error()
        return MailboxLine(_Sender(self, min(timeout_s, CONNECT_S)))

    def send(self, request: Packet, mailbox: Mailbox, attempt_s: float) -> _Connection:
        """Send a request by a connection that has room, or a new one, and return it."""
        with self._lock:
            if not self._endpoint.is_open:
                raise closed_error()
            self._connections = [each for each in self._connections if not each.is_over]
            free = (each for each in self._connections if each.n_waiting < MIN_UNANSWERED)
            connection = next(free, None)
            if connection is None:
                connection = _Connection(self._endpoint, attempt_s)
                self._connections.append(connection)
            connection.send(request, mailbox)
            return connection

    def close(self) -> None:
        """Close the connections and end their threads; in a forked child this does nothing."""
        with self._lock:
            is_first, connections = self._endpoint.mark_closed(), self._connections
        if not is_first:
            return
        for connection in connections:
            connection.close()
        self._endpoint.end()  # wakes a thread that still connects
        for connection in connections:
            connection.join()


class _Sender:
    """What a line sends with, and the connections it has used."""

    def __init__(self, transport: SharedZmqTransport, attempt_s: float) -> None:
        self._transport, self._attempt_s = transport, attempt_s
        self._connections: list[_Connection] = []

    def send(self, request: Packet, mailbox: Mailbox) -> None:
        connection = self._transport.send(request, mailbox, self._attempt_s)
        if connection not in self._connections:
            self._connections.append(connection)

    def receive(self, mailbox: Mailbox, timeout_s: float) -> Packet:
        return self._connections[-1].receive(mailbox, timeout_s)

    def forget(self, request_ids: Iterable[bytes]) -> None:
        for connection in self._connections:
            connection.forget(request_ids)


def open_target(options: ConnectionOptions) -> SharedZmqTransport:
    """Return a transport to an endpoint, which is connected at the first request."""
    endpoint = options.server.driver if options.server else ""
    return SharedZmqTransport(endpoint, keys=keys_for(endpoint, options.key, options.server_key))


class _Connection:
    """One connected socket, the thread that owns it, and who waits for what on it.

    Other threads only append to `_outgoing`, change `_mailboxes` and wake the thread.
    """

    def __init__(self, endpoint: Endpoint, attempt_s: float) -> None:
        self._endpoint = endpoint
        self._attempt_s = attempt_s
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
    def n_waiting(self) -> int:
        """Requests whose replies are waited for."""
        return len(self._mailboxes)

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
            raise self._endpoint.connect_error(f"nobody answers at {self._endpoint.address}")
        raise self._endpoint.no_answer()

    def forget(self, request_ids: Iterable[bytes]) -> None:
        """Drop the replies to some requests."""
        with self._lock:
            for request_id in request_ids:
                self._mailboxes.pop(request_id, None)

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
            address = self._endpoint.address
            log.exception("the connection to %s failed", address)
            message = f"the connection to {address} failed: {error}"
            self._fail(self._endpoint.connect_error(message))
        finally:
            self._woken.close()

    def _serve(self) -> bool:
        """Carry packets on a new socket; return True where it broke while it was not needed."""
        socket = self._endpoint.connect(self._attempt_s)
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
                raise self._endpoint.lost()
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
            deliver(packet, self._mailboxes)

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


def _copy(error: CimError) -> CimError:
    return rebuild(type(error), error.message, error.hint, error.details)
