"""Authentication of clients by CURVE keys, over ZAP, and the file that lists who may connect.

libzmq asks whether a client may connect with a request to a socket inside the process (ZAP,
ZeroMQ RFC 27). The router's thread answers, so nobody is admitted while that thread does not run;
``ZAP_ENFORCE_DOMAIN`` refuses everybody if no socket is bound at all. pyzmq's own authenticator
needs a thread of its own and passes on neither the address of the client nor a role.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import zmq
from pydantic import Field
from zmq.utils import z85

from cim_hal.errors import KeyFileError
from cim_hal.key_files import (
    KEYS_HELP,
    NAME,
    PUBLIC_KEY,
    config_folder,
    replace_file,
    require_curve,
)
from cim_hal.protocol.wire.roles import Role, User
from cim_hal.server.logs import audit
from cim_hal.server.security.endpoint import DOMAIN
from cim_hal.toml_files import FileTable, read_file

if TYPE_CHECKING:
    from cim_hal.key_files import KeyPair

__all__ = [
    "DOMAIN",
    "Authenticator",
    "AuthorizedClients",
    "Client",
    "authorize",
    "default_file",
    "read_clients",
    "revoke",
]

ENDPOINT = "inproc://zeromq.zap.01"
VERSION = b"1.0"
POLL_S = 1.0  # from one check of the file to the next

log = logging.getLogger(__name__)


class Client(FileTable):
    """One table ``[[client]]`` of the file."""

    name: Annotated[str, Field(pattern=NAME)]
    key: Annotated[str, Field(pattern=PUBLIC_KEY)]
    role: Literal["observer", "user", "operator", "admin"]

    @property
    def user(self) -> User:
        """The user and role, as the core sees them."""
        return User(self.name, Role[self.role.upper()])


class _File(FileTable):
    client: Annotated[tuple[Client, ...], Field(strict=False)] = ()


class AuthorizedClients:
    """The clients that a file lists.

    If the file becomes unreadable, the list stays as it was and an error is logged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = _stamp(path)
        self._users = _by_key(read_clients(path))
        self._next_poll = 0.0

    def __len__(self) -> int:
        return len(self._users)

    def user_of(self, key: str) -> User | None:
        """Return the user with a public key; None if it is not in the file."""
        return self._users.get(key)

    def refresh(self, now: float, *, force: bool = False) -> bool:
        """Read the file again if it changed, or with `force`; return whether that succeeded."""
        if now < self._next_poll and not force:
            return False
        self._next_poll = now + POLL_S
        stamp = _stamp(self._path)
        if stamp == self._stamp and not force:
            return False
        self._stamp = stamp
        try:
            self._users = _by_key(read_clients(self._path))
        except KeyFileError as error:
            log.error("the authorized clients stay as they were: %s", error)  # noqa: TRY400
            return False
        return True


class Authenticator:
    """Admits the clients that a file lists (`AuthorizedClients`), and no others.

    Clients must know the public half of `key` beforehand. `KeyFileError` if the file is missing or
    malformed, `EncryptionError` if the ZeroMQ library has no CURVE.
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
        verdict = b"400", b"not authorized", b""
        try:
            if (key := self._admit(frames)) is not None:
                verdict = b"200", b"OK", key.encode()
        except Exception:  # it must be answered, or nobody is admitted any more
            log.exception("a client could not be admitted")
        zap_socket.send_multipart([VERSION, request, *verdict, b""])

    def user_of(self, frame: zmq.Frame) -> User | None:
        """Return the user who sent a frame; None if the key was revoked after the handshake."""
        return self._clients.user_of(str(frame.get("User-Id")))

    def refresh(self, *, force: bool = False) -> None:
        """Read the file of clients again if it changed, or with `force`."""
        if self._clients.refresh(time.monotonic(), force=force):
            audit("clients read", count=len(self._clients))

    def _admit(self, frames: Sequence[bytes]) -> str | None:
        """Return the key of a client that may connect, or None; write either to the audit log."""
        match frames:
            case [version, _, domain, address, _, b"CURVE", raw] if len(raw) == 32:
                key = z85.encode(raw).decode("ascii")
                user = self._clients.user_of(key)
                is_welcome = user is not None and (version, domain) == (VERSION, DOMAIN)
                event = "connected" if is_welcome else "refused"
                audit(event, user, address=address.decode("ascii", "replace"), key=key)
                return key if is_welcome else None
            case _:
                audit("refused")
                return None


def default_file() -> Path:
    """Return the file that is used if none is named."""
    return config_folder() / "authorized.toml"


def read_clients(path: Path) -> tuple[Client, ...]:
    """Read the file; `KeyFileError` if it is missing, malformed, or lists a name or a key twice."""
    clients = read_file(path, _File, "the clients of a server", KeyFileError, KEYS_HELP).client
    for what in ("name", "key"):
        values = [getattr(client, what) for client in clients]
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise KeyFileError(f"{path} has the {what} {twice} twice")
    return clients


def authorize(path: Path, client: Client) -> None:
    """Add a client to the file, which is created if it is missing.

    `KeyFileError` if its name or key is listed already.
    """
    clients = read_clients(path) if path.exists() else ()
    for known in clients:
        if known.name == client.name or known.key == client.key:
            whose = "that" if known.key == client.key else "another"
            raise KeyFileError(
                f"{path} has {known.name} ({known.role}) already, with {whose} key",
                hint=f"cim-hal keys revoke {known.name} takes it out",
            )
    _write(path, (*clients, client))


def revoke(path: Path, name: str) -> None:
    """Remove a client from the file, or raise `KeyFileError` if there is none of that name."""
    clients = read_clients(path)
    kept = [client for client in clients if client.name != name]
    if len(kept) == len(clients):
        raise KeyFileError(f"{path} has no client {name}", hint="cim-hal keys list shows them")
    _write(path, kept)


def _write(path: Path, clients: Iterable[Client]) -> None:
    lines = ["# who may use the machine; cim-hal keys writes this file, comments do not last"]
    for client in clients:
        lines += ["", "[[client]]"]
        lines += [f'{name} = "{value}"' for name, value in client.model_dump().items()]
    replace_file(path, "\n".join(lines) + "\n")


def _by_key(clients: Iterable[Client]) -> dict[str, User]:
    return {client.key: client.user for client in clients}


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
