"""Clients that may connect: a file of names, public keys and roles, read again on changes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cim_hal.errors import KeyFileError
from cim_hal.key_files import NAME, PUBLIC_KEY, config_folder, read_table, replace_file
from cim_hal.protocol.wire.roles import Role, User

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["AuthorizedClients", "Client", "authorize", "default_file", "read_clients", "revoke"]

POLL_S = 1.0  # from one check of the file to the next

log = logging.getLogger(__name__)


class Client(BaseModel):
    """One table ``[[client]]`` of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=NAME)]
    key: Annotated[str, Field(pattern=PUBLIC_KEY)]
    role: Literal["observer", "user", "operator", "admin"]

    @property
    def user(self) -> User:
        """The user and role, as the core sees them."""
        return User(self.name, Role[self.role.upper()])


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    client: tuple[Client, ...] = ()


class AuthorizedClients:
    """The clients that a file lists.

    If the file becomes unreadable, the list stays as it was and an error is logged.

    Parameters
    ----------
    path : Path

    Raises
    ------
    KeyFileError
        The file is missing or malformed.
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


def default_file() -> Path:
    """Return the file that is used if none is named."""
    return config_folder() / "authorized.toml"


def read_clients(path: Path) -> tuple[Client, ...]:
    """Read the file.

    Raises
    ------
    KeyFileError
        It is missing or malformed, or lists a name or a key twice.
    """
    table = read_table(path)
    try:
        clients = _File.model_validate(table).client
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise KeyFileError(f"{path}: {place}: {first['msg']}") from None
    for what in ("name", "key"):
        values = [getattr(client, what) for client in clients]
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise KeyFileError(f"{path} has the {what} {twice} twice")
    return clients


def authorize(path: Path, client: Client) -> None:
    """Add a client to the file, which is created if it is missing.

    Raises
    ------
    KeyFileError
        Its name or key is listed already.
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
    """Remove a client from the file.

    Raises
    ------
    KeyFileError
        There is no client of that name.
    """
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
