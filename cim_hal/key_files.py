"""Key files of users and servers: CURVE keys in Z85 (40 characters), in TOML.

A client shows the keys it is given, else those of the servers its user trusts.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cim_hal.errors import CimError, EncryptionError, KeyFileError

__all__ = [
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
    "read_table",
    "read_toml",
    "replace_file",
    "require_curve",
    "trust",
]

MAX_FILE_BYTES = 1 << 20
# Neither has a character that TOML would have to escape.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
PUBLIC_KEY = r"^[0-9a-zA-Z.:+=^!/*?&<>()\[\]{}@%$#-]{40}$"


@dataclass(frozen=True)
class KeyPair:
    """A public key and its secret key, which `repr` omits."""

    public: str
    secret: str = field(repr=False)


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
    import zmq

    if not re.fullmatch(NAME, name):
        raise KeyFileError(f"{name!r} is no name", hint="letters, digits, dots, dashes, at most 64")
    require_curve()
    public, secret = (half.decode("ascii") for half in zmq.curve_keypair())
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


def read_pair(path: str | os.PathLike[str]) -> KeyPair:
    """Read the secret key file of a client or a server.

    `KeyFileError` if it is missing, malformed, or readable by others.
    """
    import zmq

    require_curve()
    file = Path(path)
    table = read_table(file)
    if os.name == "posix" and file.stat().st_mode & 0o077:
        raise KeyFileError(f"others may read or write {file}", hint=f"chmod 600 {file}")
    public, secret = _key(file, table, "public"), _key(file, table, "secret")
    if zmq.curve_public(secret.encode()).decode() != public:
        raise KeyFileError(f"the two keys in {file} do not belong together")
    return KeyPair(public, secret)


def read_public(text: str | os.PathLike[str]) -> str:
    """Return a public key, given as text or as a file such as ``NAME.pub``.

    `KeyFileError` if the argument is neither.
    """
    if isinstance(text, str) and re.fullmatch(PUBLIC_KEY, text):
        return text
    return _key(Path(text), read_table(Path(text)), "public")


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
    servers = read_table(path).get("servers", {})
    if not isinstance(servers, dict):
        raise KeyFileError(f"{path}: servers must be a table of endpoints and keys")
    return {endpoint: read_public(str(key)) for endpoint, key in servers.items()}


def trust(endpoint: str, server_key: str | os.PathLike[str]) -> Path:
    """Remember the public key of a server, in place of another one; return the file."""
    servers = known_servers() | {endpoint: read_public(server_key)}
    path = _known_servers_file()
    lines = ["[servers]", *(f"{json.dumps(at)} = {json.dumps(key)}" for at, key in servers.items())]
    replace_file(path, "\n".join(lines) + "\n")
    return path


def _known_servers_file() -> Path:
    return config_folder() / "known_servers.toml"


def read_table(file: Path) -> dict[str, Any]:
    """Read a TOML file with keys; see `read_toml`."""
    return read_toml(file, "keys", KeyFileError, "cim-hal keys --help says how to make it")


def read_toml(
    file: Path,
    what: str,
    error: type[CimError],
    hint: str = "",
    *,
    title: str = "",
    max_bytes: int = MAX_FILE_BYTES,
) -> dict[str, Any]:
    """Read a TOML file that holds `what`, a noun for messages; `title` stands before its path.

    Raises an `error` if the file is missing, too large, or not TOML.
    """
    try:
        if file.exists() and not file.is_file():
            raise error(f"{file} is not a file", hint=f"pass a TOML file with {what}")
        with file.open("rb") as stream:
            data = stream.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise error(f"{file} is too large for {what}", hint=f"at most {max_bytes} bytes")
        return tomllib.loads(data.decode("utf-8"))
    except OSError as cause:
        name = f"{title} {file}".lstrip()
        raise error(f"cannot read {name}: {cause.strerror}", hint=hint) from None
    except (ValueError, RecursionError) as cause:
        raise error(f"{file} is not TOML: {cause}") from None


def replace_file(path: Path, text: str) -> None:
    """Replace a file atomically: readers see the old or the new one."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(temporary, text, 0o644)
        if path.exists():
            shutil.copymode(path, temporary)
        temporary.replace(path)
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


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


def _key(file: Path, table: dict[str, Any], name: str) -> str:
    key = table.get(name)
    if not isinstance(key, str) or not re.fullmatch(PUBLIC_KEY, key):
        raise KeyFileError(f"{file} has no {name} key", hint="cim-hal keys new makes key files")
    return key
