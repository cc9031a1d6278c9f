"""Key files of users and servers: CURVE keys in Z85 (40 characters), in TOML.

A client shows the keys it is given, else those of the servers its user trusts.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from cim_hal.atomic_files import replace_text
from cim_hal.errors import EncryptionError, KeyFileError
from cim_hal.toml_files import FileTable, read_file

__all__ = [
    "KEYS_HELP",
    "NAME",
    "PUBLIC_KEY",
    "ClientKeys",
    "KeyPair",
    "config_folder",
    "create_key",
    "default_key_file",
    "keys_for",
    "known_servers",
    "read_pair",
    "read_public",
    "replace_file",
    "require_curve",
    "trust",
]

KEYS_HELP = "cim-hal keys --help says how to make it"
# Neither has a character that TOML would have to escape.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
PUBLIC_KEY = r"^[0-9a-zA-Z.:+=^!/*?&<>()\[\]{}@%$#-]{40}$"


@dataclass(frozen=True)
class KeyPair:
    """A public key and its secret key, which `repr` omits."""

    public: str
    secret: str = field(repr=False)


class _KeyFile(FileTable):
    name: str = ""
    public: str = ""
    secret: str = Field("", repr=False)


class _KnownServers(FileTable):
    servers: dict[str, Annotated[str, Field(pattern=PUBLIC_KEY)]] = Field(default_factory=dict)


@dataclass(frozen=True)
class ClientKeys:
    """The pair of the client, and the public key the server must prove to hold."""

    own: KeyPair
    server: str


def config_folder() -> Path:
    """Return the folder of this user's keys: ``$XDG_CONFIG_HOME/cim-hal`` or ``~/.config``."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "cim-hal"


def create_key(name: str, folder: Path) -> tuple[Path, Path]:
    """Make a key pair: ``NAME.key``, readable by its owner only, and ``NAME.pub`` for others.

    `KeyFileError` if a file exists already, or cannot be written.
    """
    if not re.fullmatch(NAME, name):
        raise KeyFileError(f"{name!r} is no name", hint="letters, digits, dots, dashes, at most 64")
    require_curve()
    public, secret = _new_pair()
    secret_path, public_path = folder / f"{name}.key", folder / f"{name}.pub"
    shown = f'name = "{name}"\npublic = "{public}"\n'
    if public_path.exists():
        raise _is_there(public_path)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(
            secret_path, f'# keep this file to yourself\n{shown}secret = "{secret}"\n', 0o600
        )
        _write_new(public_path, f"# give this file away\n{shown}", 0o644)
    except FileExistsError:
        raise _is_there(secret_path) from None
    except OSError as error:
        raise KeyFileError(f"cannot write a key to {folder}: {error.strerror}") from None
    return secret_path, public_path


def _new_pair() -> tuple[str, str]:
    """Return a public and a secret key; the public one cannot be taken for a path."""
    import zmq

    while True:
        public, secret = (half.decode("ascii") for half in zmq.curve_keypair())
        if not {"/", "."} & set(public):  # two pairs in five
            return public, secret


def read_pair(path: str | os.PathLike[str]) -> KeyPair:
    """Read the secret key file of a client or a server.

    `KeyFileError` if it is missing, malformed, or readable by others.
    """
    import zmq

    require_curve()
    file = Path(path)
    table = _read(file)
    public, secret = _key(file, table, "public"), _key(file, table, "secret")
    if os.name == "posix" and file.stat().st_mode & 0o077:
        raise KeyFileError(f"others may read or write {file}", hint=f"chmod 600 {file}")
    if zmq.curve_public(secret.encode()).decode() != public:
        raise KeyFileError(f"the two keys in {file} do not belong together")
    return KeyPair(public, secret)


def read_public(text: str | os.PathLike[str]) -> str:
    """Return a public key: that of a file such as ``NAME.pub``, or else the text itself.

    What looks like a path is never a key: keys made here have neither ``/`` nor ``.``; any other
    key has to be in a file. `KeyFileError` if the argument is neither file nor key.
    """
    path = Path(text)
    is_key = isinstance(text, str) and re.fullmatch(PUBLIC_KEY, text) and not _is_like_path(text)
    if is_key and not path.exists():
        return str(text)
    return _key(path, _read(path), "public")


def _is_like_path(text: str) -> bool:
    return "/" in text or re.search(r"^\.|\.[A-Za-z][A-Za-z0-9]{0,7}$", text) is not None


def default_key_file() -> Path:
    """Return the secret key file that is used where none is named."""
    return config_folder() / "client.key"


def keys_for(
    endpoint: str,
    key: str | os.PathLike[str] | None = None,
    server_key: str | os.PathLike[str] | None = None,
) -> ClientKeys | None:
    """Return the keys for a server; None, for no encryption, where none is given or known.

    `KeyFileError` if a file is missing or malformed, or only the key of the client is known.
    """
    servers = known_servers()
    if key is None and server_key is None and endpoint not in servers:
        return None
    server = servers.get(endpoint) if server_key is None else read_public(server_key)
    if server is None:
        raise KeyFileError(
            f"the public key of the server at {endpoint} is missing",
            hint="pass its file as server_key (--server-key), or cim-hal keys trust it once",
        )
    return ClientKeys(read_pair(default_key_file() if key is None else key), server)


def known_servers() -> dict[str, str]:
    """Return the public keys of the servers this user trusts, by endpoint."""
    path = _known_servers_file()
    if not path.exists():
        return {}
    return read_file(path, _KnownServers, "the keys of servers", KeyFileError, KEYS_HELP).servers


def trust(endpoint: str, server_key: str | os.PathLike[str]) -> Path:
    """Remember the public key of a server, in place of another one; return the file."""
    servers = known_servers() | {endpoint: read_public(server_key)}
    path = _known_servers_file()
    lines = ["[servers]", *(f"{json.dumps(at)} = {json.dumps(key)}" for at, key in servers.items())]
    replace_file(path, "\n".join(lines) + "\n")
    return path


def _known_servers_file() -> Path:
    return config_folder() / "known_servers.toml"


def replace_file(path: Path, text: str) -> None:
    """Replace a file, whole and durably; make its folder if there is none.

    `KeyFileError` if it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_text(path, text, mode=0o644, durable=True)
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {error.strerror}") from None


def require_curve() -> None:
    """Raise `EncryptionError` if ZeroMQ was built without CURVE, as some builds for Windows."""
    import zmq

    if not zmq.has("curve"):
        raise EncryptionError(
            f"the ZeroMQ library here ({zmq.zmq_version()}) was built without CURVE",
            hint="install pyzmq from PyPI: pip install --force-reinstall pyzmq",
        )


def _is_there(path: Path) -> KeyFileError:
    return KeyFileError(
        f"{path} exists already, and is not overwritten",
        hint="choose another name; or remove NAME.key and NAME.pub, and tell those who trust them",
    )


def _write_new(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  a descriptor has no path
        file.write(text)


def _read(file: Path) -> _KeyFile:
    return read_file(file, _KeyFile, "keys", KeyFileError, KEYS_HELP)


def _key(file: Path, table: _KeyFile, name: str) -> str:
    key = getattr(table, name)
    if not re.fullmatch(PUBLIC_KEY, key):
        raise KeyFileError(f"{file} has no {name} key", hint="cim-hal keys new makes key files")
    return key
