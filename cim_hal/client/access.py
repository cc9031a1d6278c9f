"""Which keys to show to which server: those given, else those of the servers a user trusts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cim_hal.errors import KeyFileError
from cim_hal.key_files import (
    KeyPair,
    config_folder,
    read_pair,
    read_public,
    read_table,
    replace_file,
)

if TYPE_CHECKING:
    import os
    from pathlib import Path

__all__ = ["ClientKeys", "default_key_file", "keys_for", "known_servers", "trust"]


@dataclass(frozen=True)
class ClientKeys:
    """The pair of the client, and the public key the server must prove to hold."""

    own: KeyPair
    server: str


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
