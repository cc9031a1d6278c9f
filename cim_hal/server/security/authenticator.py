"""Authentication of clients by CURVE keys, over ZAP, and the user that each key belongs to.

libzmq asks whether a client may connect with a request to a socket inside the process (ZAP,
ZeroMQ RFC 27). The router's thread answers, so nobody is admitted while that thread does not run;
``ZAP_ENFORCE_DOMAIN`` refuses everybody if no socket is bound at all. pyzmq's own authenticator
needs a thread of its own and passes on neither the address of the client nor a role.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import zmq
from zmq.utils import z85

from cim_hal.key_files import require_curve
from cim_hal.server import audit
from cim_hal.server.security.authorized_clients import AuthorizedClients

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cim_hal.key_files import KeyPair
    from cim_hal.protocol.wire.roles import User

__all__ = ["DOMAIN", "Authenticator"]

DOMAIN = b"cim-hal"
ENDPOINT = "inproc://zeromq.zap.01"
VERSION = b"1.0"

log = logging.getLogger(__name__)


class Authenticator:
    """Admits the clients that a file lists, and no others.

    Parameters
    ----------
    key : KeyPair
        Key pair of the server; clients must know its public half beforehand.
    authorized : Path
        Names, public keys and roles; see `AuthorizedClients`.

    Raises
    ------
    KeyFileError
        The file is missing or malformed.
    EncryptionError
        The ZeroMQ library has no CURVE.
    """

    def __init__(self, key: KeyPair, authorized: Path) -> None:
        require_curve()
        self._key = key
        self._clients = AuthorizedClients(authorized)
        if not len(self._clients):
            log.warning("%s names nobody: nobody can enter", authorized)

    def require_keys(self, server: zmq.Socket[bytes]) -> None:
        """Make a socket require keys; call it before the socket is bound."""
        server.setsockopt(zmq.CURVE_SERVER, 1)
        server.setsockopt(zmq.CURVE_SECRETKEY, self._key.secret.encode("ascii"))
        server.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
        # Otherwise libzmq admits everybody while no ZAP socket is bound.
        server.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def bind_zap(self, context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
        """Return the ZAP socket, whose requests `answer` answers; the caller closes it."""
        zap_socket = context.socket(zmq.REP)
        zap_socket.setsockopt(zmq.LINGER, 0)
        zap_socket.bind(ENDPOINT)
        return zap_socket

    def answer(self, zap_socket: zmq.Socket[bytes]) -> None:
        """Answer one ZAP request."""
        frames = zap_socket.recv_multipart()
        request = frames[1] if len(frames) > 1 else b""
        key = self._admit(frames)
        verdict = (b"400", b"not authorized", b"") if key is None else (b"200", b"OK", key.encode())
        zap_socket.send_multipart([VERSION, request, *verdict, b""])

    def user_of(self, frame: zmq.Frame) -> User | None:
        """Return the user who sent a frame; None if the key was revoked after the handshake."""
        return self._clients.user_of(str(frame.get("User-Id")))

    def refresh(self, *, force: bool = False) -> None:
        """Read the file of clients again if it changed, or with `force`."""
        if self._clients.refresh(time.monotonic(), force=force):
            audit.write("clients read", count=len(self._clients))

    def _admit(self, frames: Sequence[bytes]) -> str | None:
        """Return the key of a client that may connect, or None; write either to the audit log."""
        match frames:
            case [version, _, domain, address, _, b"CURVE", raw] if len(raw) == 32:
                key = z85.encode(raw).decode("ascii")
                user = self._clients.user_of(key)
                is_welcome = user is not None and (version, domain) == (VERSION, DOMAIN)
                event = "connected" if is_welcome else "refused"
                audit.write(event, user, address=address.decode("ascii", "replace"), key=key)
                return key if is_welcome else None
            case _:
                audit.write("refused")
                return None
