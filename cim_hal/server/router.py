"""A station on the network: a ZeroMQ ROUTER socket and the one thread that owns it."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Self

import zmq

from cim_hal.errors import BindError, CimError, ProtocolError
from cim_hal.protocol.codec import decode, encode
from cim_hal.protocol.effects import Reply
from cim_hal.protocol.faults import as_fault
from cim_hal.protocol.limits import MAX_BUFFER_BYTES
from cim_hal.protocol.packet import NO_ID, Kind, Packet
from cim_hal.server.endpoint import DEFAULT, check_endpoint
from cim_hal.server.station import TICK_S, Station

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.driver import Driver
    from cim_hal.protocol.limits import Limits

__all__ = ["Router"]

MAX_BURST = 64  # messages taken before replies of the host are sent

OPTIONS = {
    zmq.LINGER: 0,
    # Slow and vanished peers are reported, not dropped without a word.
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

log = logging.getLogger(__name__)


class Router:
    """Serves a driver at an endpoint; a context manager that closes both.

    Parameters
    ----------
    driver : Driver
        The router closes it.
    endpoint : str
        ``tcp://host:port``, port 0 for a free one, or ``ipc://path``.
    insecure : bool
        Allow an endpoint that other machines reach. There is no authentication yet.
    limits : Limits

    Raises
    ------
    BindError
        The endpoint cannot be listened on, or is open without `insecure`.
    DriverFaultError
        The driver does not describe itself.
    """

    def __init__(
        self,
        driver: Driver,
        endpoint: str = DEFAULT,
        *,
        insecure: bool = False,
        limits: Limits | None = None,
    ) -> None:
        try:
            check_endpoint(endpoint, insecure=insecure)
        except BindError:
            driver.close()
            raise
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._woken, self._waker = socket.socketpair()
        self._woken.settimeout(0)
        self._waker.settimeout(0)
        self._is_stopping = False
        try:
            self.endpoint = _bind(self._socket, endpoint)
        except BindError:
            self._close_sockets()
            driver.close()
            raise
        try:
            self._station = Station(driver, self._wake, limits)
        except CimError:
            self._close_sockets()
            raise

    @property
    def capabilities(self) -> Capabilities:
        """What the driver described."""
        return self._station.capabilities

    def serve(self) -> None:
        """Answer until `stop` is called."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._woken.fileno(), zmq.POLLIN)
        while not self._is_stopping:
            ready = dict(poller.poll(int(TICK_S * 1000)))
            if self._woken.fileno() in ready:
                self._woken.recv(4096)
            if self._socket in ready:
                self._take()
            self._send(self._station.settle())

    def stop(self) -> None:
        """End `serve`; from any thread, or from a signal handler."""
        self._is_stopping = True
        self._wake()

    def close(self) -> None:
        """Stop what runs, close the driver and the socket."""
        self._station.close()
        self._close_sockets()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self) -> None:
        for _ in range(MAX_BURST):
            try:
                peer, *frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._send(self._answer(peer.bytes, [frame.buffer for frame in frames]))

    def _answer(self, peer: bytes, frames: Sequence[memoryview]) -> list[Reply]:
        try:
            return self._station.receive(peer, decode(frames))
        except ProtocolError as error:
            log.warning("a message was refused: %s", error)
            request = bytes.fromhex(str(error.details.get("request", NO_ID.hex())))
            return [Reply(peer, Packet(Kind.REPLY, request, as_fault(error)))]

    def _send(self, replies: Iterable[Reply]) -> None:
        for reply in replies:
            try:
                frames = [reply.peer, *encode(reply.packet)]
                self._socket.send_multipart(frames, zmq.NOBLOCK, copy=False)
            except ProtocolError:
                log.exception("a reply could not be written")
            except zmq.ZMQError as error:
                # The peer is gone or does not read; it asks again with the same id if it lives.
                log.info("a reply was dropped: %s", error)

    def _wake(self) -> None:
        try:
            self._waker.send(b"\0")
        except OSError:  # full, which wakes as well; or closed, and nobody is left to wake
            return

    def _close_sockets(self) -> None:
        self._socket.close()
        self._context.term()
        self._woken.close()
        self._waker.close()


def _bind(server: zmq.Socket[bytes], endpoint: str) -> str:
    for option, value in OPTIONS.items():
        server.setsockopt(option, value)
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
