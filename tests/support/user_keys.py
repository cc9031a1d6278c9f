"""Keys of a server and of its users, and the file that admits them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cim_hal.key_files import create_key, read_public
from cim_hal.server.security.authenticator import Client, authorize

__all__ = ["make_keys"]


def make_keys(folder: Path, roles: Mapping[str, str]) -> Path:
    """Make ``server.key``, the key of each user, and ``authorized.toml``; return the folder."""
    for name in ("server", *roles):
        create_key(name, folder)
    for name, role in roles.items():
        key = read_public(folder / f"{name}.pub")
        client = Client.model_validate({"name": name, "key": key, "role": role})
        authorize(folder / "authorized.toml", client)
    return folder
