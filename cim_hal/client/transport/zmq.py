"""A server at an endpoint: ZeroMQ DEALER sockets, borrowed from a pool.

A socket serves one caller at a time, so any thread may exchange. One that failed, or whose
caller was interrupted, is closed and not used again: no late reply reaches the wrong caller.
"""

from __future__ import annotations

import math
import os
import threading
import time
from typing import TYPE_CHECKING, Self

import zmq

from cim_hal.client.transport.handshake import Handshake
from cim_hal.errors import (
    ClosedError,
    ConnectError,
    LocalProtocolError,
    TargetError,
    TransportTimeoutError,
)
from cim_hal.key_files import require_curve
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.limits import MAX_BUFFER_BYTES
from cim_hal.protocol.wire.packet import NO_ID, Kind
from cim_hal.server.security.multipart import is_readable, is_writable, receive, send

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Iterator

    from cim_hal.client.access import ClientKeys
    from cim_hal.errors import TransportError
    from cim_hal.protocol.wire.packet import Packet

__all__ = ["WATCH_S", "Socket", "ZmqTransport", "closed_error", "end", "show_keys"]

ENDING_S = 1.0  # how long to wait for callers in other threads when closing
WATCH_S = 0.1  # how often a waiting caller looks whether the connection still stands

OPTIONS = {
    zmq.LINGER: 0,
    # Nothing is queued for a server that is not there.
    zmq.IMMEDIATE: 1,
    zmq.MAXMSGSIZE: MAX_BUFFER_BYTES + 4096,
    zmq.SNDHWM: 16,
    zmq.RCVTIMEO: int(1000 * WATCH_S),
    zmq.RCVHWM: 16,
    # Longer than WATCH_S: a break must be seen before ZeroMQ heals it, for the request is lost.
    zmq.RECONNECT_IVL: int(3000 * WATCH_S),
    zmq.HEARTBEAT_IVL: 5000,
    zmq.HEARTBEAT_TIMEOUT: 15000,
    zmq.HEARTBEAT_TTL: 15000,
}


def show_keys(client: zmq.Socket[bytes], keys: ClientKeys) -> None:
    """Let a socket that is to be connected encrypt, as a client with these keys."""
    client.setsockopt(zmq.CURVE_PUBLICKEY, keys.own.public.encode("ascii"))
    client.setsockopt(zmq.CURVE_SECRETKEY, keys.own.secret.encode("ascii"))
    client.setsockopt(zmq.CURVE_SERVERKEY, keys.server.encode("ascii"))


def end(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """End a context, so that callers in other threads are woken and close their sockets.

    They are waited for, but not long: a socket that an interrupt or a failed attempt to connect
    has left open is held by a traceback, and would be waited for without end.
    """
    ending = threading.Thread(target=context.term, name="cim-hal end", daemon=True)
    ending.start()
    ending.join(ENDING_S)


class ZmqTransport:
    """Sends packets to a server at an endpoint; any thread of one process may use it.

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
        # Appended to and popped from, which threads do one at a time, without a lock: an interrupt
        # could leave one locked.
        self._idle: list[Socket] = []
        self._to_end = [self._context]

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
        began, source, unanswered = time.monotonic(), iter(requests), set[bytes]()
        socket = self._borrow(min(timeout_s, total_s))
        with socket:
            while _fill(socket, unanswered, source, window):
                left_s = began + total_s - time.monotonic()
                reply = socket.receive(unanswered, min(timeout_s, left_s))
                unanswered.discard(reply.id)
                yield reply
        self._give_back(socket)

    def subscribe(self, request: Packet, *, timeout_s: float) -> _ZmqReplyStream:
        """Send a request and return the line on which it is answered: a connection of its own."""
        socket = self._borrow(timeout_s)
        with socket:
            socket.send(request)
        return _ZmqReplyStream(socket, request.id, self._give_back)

    def close(self) -> None:
        """Close all sockets; in a forked child this does nothing."""
        if os.getpid() != self._pid:
            return
        try:
            context = self._to_end.pop()
        except IndexError:
            return
        self._close_idle()
        end(context)

    @property
    def _is_closed(self) -> bool:
        return not self._to_end

    def _close_idle(self) -> None:
        while (socket := self._take_idle()) is not None:
            socket.close()

    def _take_idle(self) -> Socket | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _borrow(self, timeout_s: float) -> Socket:
        self._check_usable()
        socket = self._take_idle()
        if socket is not None and socket.is_connected:
            return socket
        if socket is not None:
            socket.close()
        return self._connect(timeout_s)

    def _give_back(self, socket: Socket) -> None:
        self._idle.append(socket)
        if self._is_closed:
            self._close_idle()

    def _connect(self, timeout_s: float) -> Socket:
        self._check_usable()
        return Socket(self._context, self._endpoint, timeout_s, self._keys)

    def _check_usable(self) -> None:
        if os.getpid() != self._pid:
            raise LocalProtocolError(
                "the session was opened before a fork, and used after it",
                hint="open a session in the child process",
            )
        if self._is_closed:
            raise closed_error()


class _ZmqReplyStream:
    """A connection on which one request is answered."""

    def __init__(self, socket: Socket, request: bytes, give_back: Callable[[Socket], None]) -> None:
        self._channel: Socket | None = socket
        self._request = {request}
        self._give_back = give_back

    def next(self, *, timeout_s: float) -> Packet:
        if self._channel is None:
            raise ConnectError("the line is closed")
        with self._channel:
            packet = self._channel.receive(self._request, timeout_s)
        if packet.kind is not Kind.EVENT:
            socket, self._channel = self._channel, None
            self._give_back(socket)
        return packet

    def close(self) -> None:
        socket, self._channel = self._channel, None
        if socket is not None:
            socket.close()  # what was not heard is not for the next caller


class Socket:
    """One connected socket; a context manager that closes it where what is done in it fails.

    Parameters
    ----------
    context : zmq.Context
    endpoint : str
    timeout_s : float
        How long to try before a `ConnectError`.
    keys : ClientKeys, optional
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        timeout_s: float,
        keys: ClientKeys | None,
    ) -> None:
        self._endpoint = endpoint
        self.socket = context.socket(zmq.DEALER)
        try:
            for option, value in OPTIONS.items():
                self.socket.setsockopt(option, value)
            if keys is not None:
                show_keys(self.socket, keys)
            with Handshake(self.socket, endpoint, keyed=keys is not None) as handshake:
                self._open(handshake, timeout_s)
        except BaseException:
            self.close()
            raise

    def _open(self, handshake: Handshake, timeout_s: float) -> None:
        try:
            self.socket.setsockopt(zmq.IPV6, int("[" in self._endpoint))
            self.socket.connect(self._endpoint)
        except zmq.ZMQError as error:
            raise TargetError(
                f"{self._endpoint} is not an endpoint: {zmq.strerror(error.errno or 0)}",
                hint="write tcp://host:port or ipc://path",
                endpoint=self._endpoint,
            ) from None
        if not handshake.wait(timeout_s):
            raise self._connect_error(f"nobody answers at {self._endpoint}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if error is None:
            return
        self.close()
        if isinstance(error, zmq.ContextTerminated):
            raise closed_error() from None

    @property
    def is_connected(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return is_writable(self.socket)

    def send(self, *requests: Packet) -> None:
        """Send requests; raises `ConnectError` where the connection is gone."""
        for request in requests:
            try:
                send(self.socket, encode(request))
            except zmq.Again:
                raise self._lost() from None

    def receive(self, wanted: Collection[bytes], timeout_s: float) -> Packet:
        """Return a reply to one of `wanted`, or one to a message the server could not read."""
        deadline = time.monotonic() + timeout_s
        while (remaining := deadline - time.monotonic()) > 0:
            frames = self._frames(remaining)
            if frames is not None:
                reply = decode([frame.buffer for frame in frames])
                if reply.id in wanted or reply.id == NO_ID:
                    return reply
            elif not self.is_connected:
                raise self._lost()
        raise TransportTimeoutError(
            f"{self._endpoint} did not answer",
            hint="is something else listening there, or is the machine overloaded?",
            endpoint=self._endpoint,
        )

    def receive_now(self) -> Packet | None:
        """Return a packet that has come; None where none has."""
        if not is_readable(self.socket):
            return None
        return decode([frame.buffer for frame in receive(self.socket, wait=False)])

    def _frames(self, remaining_s: float) -> list[zmq.Frame] | None:
        """Return the frames of a message, or None where none comes in a while."""
        # To wait in the socket itself takes half the time of a poll before.
        is_short = remaining_s < WATCH_S
        if is_short and not self.socket.poll(int(remaining_s * 1000) + 1):
            return None
        try:
            return receive(self.socket, wait=not is_short)
        except zmq.Again:
            return None

    def close(self) -> None:
        """Close the socket."""
        self.socket.close(linger=0)

    def _lost(self) -> TransportError:
        return self._connect_error(f"the connection to {self._endpoint} was lost")

    def _connect_error(self, message: str) -> ConnectError:
        return ConnectError(
            message, hint="is the server running? cim-hal serve starts one", endpoint=self._endpoint
        )


def _fill(socket: Socket, unanswered: set[bytes], source: Iterator[Packet], window: int) -> bool:
    """Send from `source` until `window` requests are unanswered; return whether any are."""
    while len(unanswered) < window and (request := next(source, None)) is not None:
        unanswered.add(request.id)
        socket.send(request)
    return bool(unanswered)


def closed_error() -> ClosedError:
    """Return the error of a session that is used after its end."""
    return ClosedError("the session is closed", hint="open another one")
