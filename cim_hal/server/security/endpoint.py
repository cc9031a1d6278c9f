"""Rules for the endpoints at which a server may listen."""

from __future__ import annotations

import ipaddress

from cim_hal.errors import BindError

__all__ = ["DEFAULT", "check_endpoint"]

DEFAULT = "tcp://127.0.0.1:0"


def check_endpoint(endpoint: str, *, insecure: bool = False, keyed: bool = False) -> None:
    """Check an endpoint, which may be open to other machines only if that is intended.

    `BindError` if it is malformed; or if other machines reach it and the server neither requires
    keys (`keyed`) nor is `insecure` on purpose.
    """
    scheme, separator, address = endpoint.partition("://")
    if not separator or scheme not in ("tcp", "ipc") or not address:
        raise _malformed(endpoint)
    if scheme == "ipc":
        return
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise _malformed(endpoint)
    if not (keyed or insecure or _is_loopback(host)):
        raise BindError(
            f"{endpoint} is open to other machines, and nobody has to prove who they are",
            hint="add --key FILE, or bind to 127.0.0.1, or add --insecure on a trusted network",
            endpoint=endpoint,
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _malformed(endpoint: str) -> BindError:
    return BindError(
        f"{endpoint!r} is not an endpoint",
        hint="write tcp://127.0.0.1:PORT, where port 0 picks a free one, or ipc://PATH",
        endpoint=endpoint,
    )
