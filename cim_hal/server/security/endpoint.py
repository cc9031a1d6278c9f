"""The endpoints at which a server may listen, and how it binds to them."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

import zmq

from cim_hal.errors import BindError
from cim_hal.protocol.wire.limits import MAX_BUFFER_BYTES

__all__ = ["DEFAULT", "DOMAIN", "bound", "check_endpoint", "is_loopback"]

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


@contextmanager
def bound(
    server: zmq.Socket[bytes], endpoint: str, options: Mapping[zmq.SocketOption, int] = OPTIONS
) -> Iterator[str]:
    """Bind a ROUTER with the options of a server, or others; yield the endpoint it then has.

    At an ``ipc://`` path nobody else listens meanwhile, and only this user reaches the socket. The
    block ends after the socket was closed.
    """
    for option, value in options.items():
        server.setsockopt(option, value)
    # Makes libzmq refuse ZMTP 1 and 2 at the handshake: their messages do not say whence they came.
    server.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
    path = endpoint.removeprefix("ipc://")
    is_file = path not in {endpoint, "*"} and not path.startswith("@")
    with _sole_listener(Path(path), endpoint) if is_file else nullcontext():
        _bind(server, endpoint)
        yield server.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")


def _bind(server: zmq.Socket[bytes], endpoint: str) -> None:
    mask = os.umask(0o077)  # of an ipc:// socket, which gets its mode when it is bound
    try:
        server.setsockopt(zmq.IPV6, int("[" in endpoint))
        server.bind(endpoint)
    except zmq.ZMQError as error:
        raise BindError(
            f"cannot listen on {endpoint}: {zmq.strerror(error.errno or 0)}",
            hint="choose another port, or port 0 for a free one",
            endpoint=endpoint,
        ) from None
    finally:
        os.umask(mask)


@contextmanager
def _sole_listener(path: Path, endpoint: str) -> Iterator[None]:
    """Hold the lock file beside a socket, which the system lets go of however this process ends.

    libzmq deletes whatever lies at the path. `BindError` where somebody listens there, or where a
    file lies there that is no socket.
    """
    import fcntl  # not on Windows, which has no ipc://

    lock_path = path.with_name(f"{path.name}.lock")
    try:
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _taken(endpoint, f"{lock_path}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise _taken(endpoint, "another server listens there") from None
        if path.exists() and not path.is_socket():
            raise _taken(endpoint, "there is a file, which is not a socket")
        if _is_answered(path):
            raise _taken(endpoint, "another program listens there")
        yield
    finally:
        os.close(descriptor)


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(1.0)
        try:
            stream.connect(str(path))
        except TimeoutError:
            return True  # its queue is full: somebody is there
        except OSError:
            return False
        return True


def _taken(endpoint: str, why: str) -> BindError:
    hint = "choose another path, or end the one that listens there"
    return BindError(f"cannot listen on {endpoint}: {why}", hint=hint, endpoint=endpoint)
