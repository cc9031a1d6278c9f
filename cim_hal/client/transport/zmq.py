"""A server at an endpoint: ZeroMQ DEALER sockets, borrowed from a pool.

A socket serves one caller at a time, so any thread may exchange. One that failed, or whose
caller was interrupted, is closed and not used again: no late reply reaches the wrong caller.
"""

from __future__ import annotations

import errno
import os
import socket as sockets
import threading
import time
import weakref
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Self, TypeVar

import zmq
from zmq.utils.monitor import recv_monitor_message

from cim_hal.client.transport.base import LineTransport, closed_error
from cim_hal.errors import (
    ConnectError,
    EncryptionError,
    ServerKeyError,
    TargetError,
    TransportTimeoutError,
    UnknownKeyError,
)
from cim_hal.key_files import keys_for, require_curve
from cim_hal.multipart import is_readable, is_writable, receive, send
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.limits import MAX_BUFFER_BYTES
from cim_hal.protocol.wire.packet import NO_ID, Kind

if TYPE_CHECKING:
    from cim_hal.client.options import ConnectionOptions
    from cim_hal.errors import AuthenticationError
    from cim_hal.key_files import ClientKeys
    from cim_hal.protocol.wire.packet import Packet

__all__ = ["WATCH_S", "Endpoint", "Handshake", "Socket", "ZmqTransport", "open_target", "show_keys"]

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
EVENTS = (
    zmq.Event.HANDSHAKE_FAILED_AUTH
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
    | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
)
# One may be a server that was just starting or ending. A server that refuses closes in good order
# (EPIPE); a reset (ECONNRESET) is the network's, and tells nothing about keys.
BREAKS = 2
PROBE_TIMEOUT_S = 1.0
# ZMTP 3: signature, version; enough for the server to send its whole greeting.
GREETING = b"\xff\0\0\0\0\0\0\0\1\x7f\3"
GREETING_BYTES = 64

T = TypeVar("T")


class ZmqTransport(LineTransport):
    """Sends packets to a server at an endpoint; any thread of one process may use it.

    After an error the next request has a new connection. With `keys` it encrypts, shows the key
    of the client, and speaks to a server with that key only.
    """

    def __init__(self, endpoint: str, *, keys: ClientKeys | None = None) -> None:
        self._endpoint = Endpoint(endpoint, keys)
        # Appended to and popped from, which threads do one at a time, without a lock: an interrupt
        # could leave one locked.
        self._idle: list[Socket] = []

    def line(self, timeout_s: float) -> _ZmqLine:
        """Return a line with a connection of its own, one that is idle if there is one."""
        socket = _pop(self._idle) if self._endpoint.is_open else None
        if socket is not None and not socket.is_connected:
            socket.close()
            socket = None
        return _ZmqLine(socket or self._endpoint.connect(timeout_s), self._give_back)

    def close(self) -> None:
        """Close all sockets; in a forked child this does nothing."""
        if self._endpoint.mark_closed():
            self._close_idle()
            self._endpoint.end()

    def _give_back(self, socket: Socket) -> None:
        self._idle.append(socket)
        if not self._endpoint.is_open:
            self._close_idle()

    def _close_idle(self) -> None:
        while (socket := _pop(self._idle)) is not None:
            socket.close()


def open_target(options: ConnectionOptions) -> ZmqTransport:
    """Return a transport to an endpoint, which is connected at the first request."""
    endpoint = options.server.driver if options.server else ""
    return ZmqTransport(endpoint, keys=keys_for(endpoint, options.key, options.server_key))


def _pop(values: list[T]) -> T | None:
    try:
        return values.pop()
    except IndexError:
        return None


class _ZmqLine:
    """A borrowed socket; it goes back when all that was sent on it is answered."""

    def __init__(self, socket: Socket, give_back: Callable[[Socket], None]) -> None:
        self._socket: Socket | None = socket
        self._give_back = give_back
        self._unanswered: set[bytes] = set()

    def send(self, request: Packet) -> None:
        self._unanswered.add(request.id)
        with self._open() as socket:
            socket.send(request)

    def next(self, *, timeout_s: float) -> Packet:
        with self._open() as socket:
            packet = socket.receive(self._unanswered, timeout_s)
        if packet.kind is not Kind.EVENT:
            self._unanswered.discard(packet.id)
        return packet

    def close(self) -> None:
        socket, self._socket = self._socket, None
        if socket is None:
            return
        if self._unanswered:
            socket.close()  # what was not heard is not for the next caller
        else:
            self._give_back(socket)

    def _open(self) -> Socket:
        if self._socket is None:
            raise ConnectError("the line is closed")
        return self._socket


class Endpoint:
    """Where a server is, the keys to show there, and the ZeroMQ context of all its sockets."""

    def __init__(self, address: str, keys: ClientKeys | None) -> None:
        if keys is not None:
            require_curve()
        self.address = address
        self.keys = keys
        self.context = zmq.Context()
        self._pid = os.getpid()
        self._open = [True]

    @property
    def is_open(self) -> bool:
        """Whether it was not closed."""
        return bool(self._open)

    def connect(self, timeout_s: float) -> Socket:
        """Return a connected socket, or raise `ConnectError` after `timeout_s`."""
        if not self.is_open:
            raise closed_error()
        return Socket(self, timeout_s)

    def mark_closed(self) -> bool:
        """Open no more sockets; return whether there is something to end: once, in one process."""
        return os.getpid() == self._pid and _pop(self._open) is not None

    def end(self) -> None:
        """End the context, so that callers in other threads are woken and close their sockets.

        They are waited for, but not long: a socket that an interrupt or a failed attempt to connect
        has left open is held by a traceback, and would be waited for without end.
        """
        ending = threading.Thread(target=self.context.term, name="cim-hal end", daemon=True)
        ending.start()
        ending.join(ENDING_S)

    def connect_error(self, message: str) -> ConnectError:
        """Return the error of a server that is not there."""
        hint = "is the server running? cim-hal serve starts one"
        return ConnectError(message, hint=hint, endpoint=self.address)

    def lost(self) -> ConnectError:
        """Return the error of a connection that broke."""
        return self.connect_error(f"the connection to {self.address} was lost")

    def no_answer(self) -> TransportTimeoutError:
        """Return the error of a reply that did not come in time."""
        return TransportTimeoutError(
            f"{self.address} did not answer",
            hint="is something else listening there, or is the machine overloaded?",
            endpoint=self.address,
        )


class Socket:
    """One connected socket; a context manager that closes it where what is done in it fails."""

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        self._endpoint = endpoint
        self.socket = endpoint.context.socket(zmq.DEALER)
        # An interrupt may take it from whoever was to close it.
        weakref.finalize(self, self.socket.close, linger=0).atexit = False
        is_keyed = endpoint.keys is not None
        try:
            for option, value in OPTIONS.items():
                self.socket.setsockopt(option, value)
            if endpoint.keys is not None:
                show_keys(self.socket, endpoint.keys)
            with Handshake(self.socket, endpoint.address, keyed=is_keyed) as handshake:
                self._open(handshake, timeout_s)
        except BaseException:
            self.close()
            raise

    def _open(self, handshake: Handshake, timeout_s: float) -> None:
        address = self._endpoint.address
        try:
            self.socket.setsockopt(zmq.IPV6, int("[" in address))
            self.socket.connect(address)
        except zmq.ZMQError as error:
            raise TargetError(
                f"{address} is not an endpoint: {zmq.strerror(error.errno or 0)}",
                hint="write tcp://host:port or ipc://path",
                endpoint=address,
            ) from None
        if not handshake.wait(timeout_s):
            raise self._endpoint.connect_error(f"nobody answers at {address}")

    def __enter__(self) -> Self:
        if self.socket.closed:
            raise self._endpoint.lost()
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
        return not self.socket.closed and is_writable(self.socket)

    def send(self, request: Packet) -> None:
        """Send a request; raises `ConnectError` where the connection is gone."""
        try:
            send(self.socket, encode(request))
        except zmq.Again:
            raise self._endpoint.lost() from None

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
                raise self._endpoint.lost()
        raise self._endpoint.no_answer()

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


def show_keys(client: zmq.Socket[bytes], keys: ClientKeys) -> None:
    """Let a socket that is to be connected encrypt, as a client with these keys."""
    client.setsockopt(zmq.CURVE_PUBLICKEY, keys.own.public.encode("ascii"))
    client.setsockopt(zmq.CURVE_SECRETKEY, keys.own.secret.encode("ascii"))
    client.setsockopt(zmq.CURVE_SERVERKEY, keys.server.encode("ascii"))


class Handshake:
    """Watches a socket, which may be keyed, from before it connects; a context manager."""

    def __init__(self, dealer: zmq.Socket[bytes], endpoint: str, *, keyed: bool) -> None:
        self._dealer = dealer
        self._endpoint = endpoint
        self._keyed = keyed
        self._breaks = self._refusals = 0
        self._monitor = dealer.get_monitor_socket(EVENTS)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the socket is connected; return whether it is.

        `AuthenticationError` if the server is there, and one of the two does not let the other in.
        """
        deadline = time.monotonic() + timeout_s
        poller = zmq.Poller()
        poller.register(self._dealer, zmq.POLLOUT)
        poller.register(self._monitor, zmq.POLLIN)
        while (remaining := deadline - time.monotonic()) > 0:
            ready = dict(poller.poll(int(remaining * 1000) + 1))
            if self._dealer in ready:
                return True
            if self._monitor in ready:
                self._read()
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # pyzmq's disable_monitor forgets the socket and does not close it; then term() would hang.
        try:
            self._dealer.disable_monitor()
        except zmq.ContextTerminated:
            pass  # the session is closed meanwhile, and waits for this
        finally:
            self._monitor.close(linger=0)

    def _read(self) -> None:
        event = recv_monitor_message(self._monitor, zmq.NOBLOCK)
        match event["event"]:
            case zmq.Event.HANDSHAKE_FAILED_AUTH:
                raise UnknownKeyError(
                    f"{self._endpoint} does not know the key of this client",
                    hint="send your .pub file to those who run the machine: cim-hal keys authorize",
                    endpoint=self._endpoint,
                )
            case zmq.Event.HANDSHAKE_FAILED_PROTOCOL:  # after it libzmq does not try again
                self._breaks = BREAKS
            case _:
                self._breaks += 1
                self._refusals += event["value"] != errno.ECONNRESET
        if self._breaks >= BREAKS:
            self._breaks = 0
            reason = self._reason(mechanism_at(self._endpoint))
            if reason is not None:
                raise reason

    def _reason(self, mechanism: str | None) -> AuthenticationError | None:
        """Return what keeps breaking the handshake; libzmq itself does not tell it reliably."""
        where = {"endpoint": self._endpoint}
        match mechanism, self._keyed:
            case "CURVE", False:
                return EncryptionError(
                    f"{self._endpoint} asks for keys, and none were given",
                    hint="pass key and server_key (--key, --server-key), or cim-hal keys trust",
                    **where,
                )
            case "NULL", True:
                return EncryptionError(
                    f"{self._endpoint} uses no keys: it could be anybody, and nothing was sent",
                    hint="leave the keys away if you mean to trust it",
                    **where,
                )
            case "CURVE", True if self._refusals >= BREAKS:
                return ServerKeyError(
                    f"{self._endpoint} broke off the handshake",
                    hint="is its public key another one? else its authenticator may be down",
                    **where,
                )
            case _:
                return None


def mechanism_at(endpoint: str) -> str | None:
    """Return the security mechanism in the greeting of a ZeroMQ server; None if there is none."""
    try:
        with _dial(endpoint) as stream:
            stream.sendall(GREETING)
            greeting = b""
            while len(greeting) < GREETING_BYTES:
                part = stream.recv(GREETING_BYTES - len(greeting))
                if not part:
                    return None
                greeting += part
    except OSError:
        return None
    is_zmtp = greeting[0] == 0xFF and greeting[9] == 0x7F
    return greeting[12:32].rstrip(b"\0").decode("ascii", "replace") if is_zmtp else None


def _dial(endpoint: str) -> sockets.socket:
    scheme, _, address = endpoint.partition("://")
    if scheme == "tcp":
        host, _, port = address.rpartition(":")
        return sockets.create_connection((host.strip("[]"), int(port)), PROBE_TIMEOUT_S)
    stream = sockets.socket(sockets.AF_UNIX)
    stream.settimeout(PROBE_TIMEOUT_S)
    try:
        stream.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
    except OSError:
        stream.close()
        raise
    return stream
