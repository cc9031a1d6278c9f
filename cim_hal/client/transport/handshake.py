"""Why a server does not let a socket in: ZeroMQ tries again for ever and says it only here."""

from __future__ import annotations

import errno
import socket
import time
from typing import TYPE_CHECKING, Self

import zmq
from zmq.utils.monitor import recv_monitor_message

from cim_hal.errors import EncryptionError, ServerKeyError, UnknownKeyError

if TYPE_CHECKING:
    from cim_hal.errors import AuthenticationError

__all__ = ["Handshake", "mechanism_at"]

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


class Handshake:
    """Watches a socket from before it connects; a context manager.

    Parameters
    ----------
    dealer : zmq.Socket
    endpoint : str
    keyed : bool
        Whether the socket has keys.
    """

    def __init__(self, dealer: zmq.Socket[bytes], endpoint: str, *, keyed: bool) -> None:
        self._dealer = dealer
        self._endpoint = endpoint
        self._keyed = keyed
        self._breaks = self._refusals = 0
        self._monitor = dealer.get_monitor_socket(EVENTS)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the socket is connected; return whether it is.

        Raises
        ------
        AuthenticationError
            The server is there, and one of the two does not let the other in.
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


def _dial(endpoint: str) -> socket.socket:
    scheme, _, address = endpoint.partition("://")
    if scheme == "tcp":
        host, _, port = address.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), PROBE_TIMEOUT_S)
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(PROBE_TIMEOUT_S)
    try:
        stream.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
    except OSError:
        stream.close()
        raise
    return stream
