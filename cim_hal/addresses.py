"""Addresses as people write them: ``tcp://host:port``, ``ipc://path``, ``host:port``; and paths."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from urllib.parse import urlsplit

__all__ = [
    "check_address",
    "check_endpoint_form",
    "check_host",
    "is_endpoint",
    "is_machine_file",
]

MAX_PORT = 65_535


def is_endpoint(target: object) -> bool:
    """Return whether a target is a server in another process.

    >>> is_endpoint("tcp://lab:5555"), is_endpoint("emulator"), is_endpoint("my_lab:make")
    (True, False, False)
    """
    return isinstance(target, str) and target.startswith(("tcp://", "ipc://"))


def is_machine_file(target: str) -> bool:
    """Return whether a target is a path: it has a separator or ends in ``.toml``.

    >>> [is_machine_file(each) for each in ("bench.toml", "./bench", "my_lab:make", "tcp://lab:1")]
    [True, True, False, False]
    """
    has_separator = any(each in target for each in {"/", os.sep})
    return "://" not in target and (has_separator or target.endswith(".toml"))


def check_endpoint_form(endpoint: str, *, listening: bool = False) -> str:
    """Return the host of an endpoint, nothing for ``ipc://``; port 0 is for listening alone.

    Raises
    ------
    ValueError
        It is malformed; the message says what would be right.
    """
    scheme, separator, address = endpoint.partition("://")
    if not separator or scheme not in {"tcp", "ipc"} or not address:
        raise ValueError(f"{endpoint!r} is not an endpoint: write tcp://host:port or ipc://path")
    if scheme == "ipc":
        return ""
    host, _, port = address.rpartition(":")
    lowest = 0 if listening else 1
    if not host or not _is_port(port, lowest):
        raise ValueError(
            f"{endpoint!r} is not an endpoint: write tcp://host:port, "
            f"with a port from {lowest} to {MAX_PORT}"
        )
    return host.strip("[]")


def check_address(text: str) -> str:
    """Return the host of ``host:port``; a `ValueError` if it is malformed."""
    host, port, netloc = None, None, ""
    with suppress(ValueError):
        parts = urlsplit(f"//{text}")
        host, port, netloc = parts.hostname, parts.port, parts.netloc
    if not host or port is None or netloc != text or "@" in text:
        raise ValueError(
            f"{text!r} is not an address: write 127.0.0.1:8080, with a port from 0 to {MAX_PORT}"
        )
    return host


def check_host(host: str) -> None:
    """Ask for the address of a host; a `ValueError` if nobody knows it. It may take a while."""
    if host in {"", "*"} or any(host == name for _, name in socket.if_nameindex()):
        return
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        raise ValueError(f"there is no host {host!r}") from None


def _is_port(text: str, lowest: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6 and lowest <= int(text) <= MAX_PORT
