"""The endpoints at which a server may listen, and how it binds to them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

import zmq

from cim_hal.errors import BindError
from cim_hal.protocol.wire.limits import MAX_BUFFER_BYTES

__all__ = ["DEFAULT", "DOMAIN", "bind", "check_endpoint", "is_loopback"]

DOMAIN = b"cim-hal"
DEFAULT = "tcp://127.0.0.1:0"
OPTIONS = {
    zmq.LINGER: 0,
    # Report peers that are slow or gone instead of dropping messages silently.
    zmq.ROUTER_MANDATORY: 1,
    zmq.MAXMSGSIZE: MAX_BUFFER_BYTES + 4096,
    # The default of 1000 messages is 1 GiB for each peer.
    zmq.SNDHWM: 16,
    zmq.RCVHWM: 16,
    zmq.HANDSHAKE_IVL: 5000,
    zmq.HEARTBEAT_IVL: 5000,
    zmq.HEARTBEAT_TIMEOUT: 15000,
    zmq.HEARTBEAT_TTL: 15000,
}


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
    if not (keyed or insecure or is_loopback(host)):
        raise BindError(
            f"{endpoint} is open to other machines, and nobody has to prove who they are",
            hint="add --key FILE, or bind to 127.0.0.1, or add --insecure on a trusted network",
            endpoint=endpoint,
        )


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine alone."""
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


def bind(
    server: zmq.Socket[bytes], endpoint: str, options: Mapping[zmq.SocketOption, int] = OPTIONS
) -> str:
    """Bind a ROUTER with the options of a server, or others; return the endpoint it then has."""
    for option, value in options.items():
        server.setsockopt(option, value)
    # Makes libzmq refuse ZMTP 1 and 2 at the handshake: their messages do not say whence they came.
    server.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
    try:
        server.setsockopt(zmq.IPV6, int("[" in endpoint))
        server.bind(endpoint)
    except zmq.ZMQError as error:
        raise BindError(
            f"cannot listen on {endpoint}: {zmq.strerror(error.errno or 0)}",
            hint="choose another port, or port 0 for a free one",
            endpoint=endpoint,
        ) from None
    return server.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
