"""A service on the network: a ZeroMQ ROUTER socket and the one thread that owns it."""

from __future__ import annotations

import logging
import math
import socket
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import zmq

from cim_hal.errors import BindError, CimError, PermissionDeniedError, ProtocolError, QuotaError
from cim_hal.multipart import is_readable, receive, send
from cim_hal.protocol.effects import Reply
from cim_hal.protocol.wire.base import Request
from cim_hal.protocol.wire.codec import decode
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.messages import EmergencyStop
from cim_hal.protocol.wire.packet import NO_ID, Kind, Packet, answer
from cim_hal.protocol.wire.roles import ANONYMOUS
from cim_hal.server.logs import about
from cim_hal.server.outbox import Outbox
from cim_hal.server.security.endpoint import DEFAULT, bound, check_endpoint
from cim_hal.server.security.partial_messages import PartialMessageGuard, is_possible
from cim_hal.server.service import TICK_S, Service
from cim_hal.server.steps import GuardedSteps, LogLimiter

if TYPE_CHECKING:
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.driver import Driver
    from cim_hal.protocol.wire.codec import Buffer
    from cim_hal.protocol.wire.roles import User
    from cim_hal.server.executor import Journal
    from cim_hal.server.security.authenticator import Authenticator
    from cim_hal.server.status_snapshot import StatusSnapshot
    from cim_hal.server.storage.spool import CalibrationStore

__all__ = ["Router"]

MAX_BURST = 64  # requests handled before outcomes of the executor
READ_S = 0.002  # between requests that are handled, from one look for a stop to the next
MAX_AHEAD, MAX_BYTES_AHEAD = 1024, 16 * 1024**2  # requests that were read and not handled yet
MAX_STOP = 4096  # bytes of the header of a stop

STOP = EmergencyStop().t.encode()

log = logging.getLogger(__name__)


class Router:
    """Serves a driver at an endpoint; a context manager that closes both, and the journal.

    Without an authenticator, which admits clients by their keys, everybody who reaches the endpoint
    is the same user; only with `insecure` may other machines reach it then. `calibrations` and
    `journal` keep calibrations and jobs beyond the end of the server; without a journal jobs are
    kept in memory. A `snapshot`, the latest reports for other threads of this process, is made
    every `snapshot_every_s`, by default never.

    `BindError` if the endpoint cannot be bound, or is open with neither authenticator nor
    `insecure`; `DriverFaultError` if the driver does not describe itself.
    """

    def __init__(
        self,
        driver: Driver,
        endpoint: str = DEFAULT,
        *,
        insecure: bool = False,
        authenticator: Authenticator | None = None,
        limits: Limits | None = None,
        calibrations: CalibrationStore | None = None,
        snapshot_every_s: float = math.inf,
        journal: Journal | None = None,
    ) -> None:
        self._snapshot_every_s = snapshot_every_s
        self.snapshot: StatusSnapshot | None = None
        try:
            check_endpoint(endpoint, insecure=insecure, keyed=authenticator is not None)
        except BindError:
            _close(driver, journal)
            raise
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._binding = ExitStack()
        self._woken, self._waker = socket.socketpair()
        self._woken.settimeout(0)
        self._waker.settimeout(0)
        self._is_stopping = self._is_reloading = self._is_woken = False
        self._steps, self._refusals = GuardedSteps(log), LogLimiter()
        self._settle_at = 0.0
        self._drain: _Drain | None = None
        self._snapshot_at = math.inf if math.isinf(snapshot_every_s) else 0.0
        self._ahead: deque[_Asked] = deque()
        self._n_bytes_ahead = 0
        self._authenticator = authenticator
        limits = limits or Limits()
        limits = limits if authenticator else limits.for_one_user()
        self._connections = (
            PartialMessageGuard(self._context, self._socket, limits)
            if is_possible(endpoint)
            else None
        )
        self._zap_socket = authenticator and authenticator.bind_zap(self._context)
        try:
            if authenticator:
                authenticator.require_keys(self._socket)
            self.endpoint = self._binding.enter_context(bound(self._socket, endpoint))
        except BindError:
            self._close_sockets()
            _close(driver, journal)
            raise
        try:
            self._service = Service(
                driver, self._wake, limits, calibrations=calibrations, journal=journal
            )
        except CimError:
            self._close_sockets()
            raise
        self._outbox = Outbox(self._send_frames, limits, self._service.counters)

    @property
    def capabilities(self) -> Capabilities:
        """What the driver described."""
        return self._service.capabilities

    def serve(self) -> None:
        """Serve until `stop` is called; the calling thread owns the socket meanwhile."""
        poller = self._poller()
        while not self._is_stopping:
            ready = self._steps.wait(self._poll, poller) or {}
            self._steps.run("authentication", self._authenticate, ready)
            if self._ahead or self._socket in ready:
                self._steps.run("receiving", self._receive)
            self._steps.run("sending", self._outbox.flush)
            self._steps.run("the check of connections", self._check_connections, ready)
            if self._woken.fileno() in ready or time.monotonic() >= self._settle_at:
                self._steps.run("settling", self._settle)
                self._steps.run("draining", self._check_drain)
            self._steps.run("writing", self._service.write)

    def drain(self, timeout_s: float, *, queue: bool = False) -> None:
        """Take no new jobs and end `serve` after the running job, or with `queue` after all.

        After `timeout_s` it ends anyway. From any thread, or from a signal handler.
        """
        self._drain = _Drain(time.monotonic() + timeout_s, queue)
        self._wake()

    def stop(self) -> None:
        """End `serve` now; from any thread, or from a signal handler."""
        self._is_stopping = True
        self._wake()

    def reload(self) -> None:
        """Read the file of authorized clients again; from any thread, or from a signal handler."""
        self._is_reloading = True
        self._wake()

    def close(self) -> None:
        """Stop what runs, close the driver and the socket."""
        self._service.close()
        self._close_sockets()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _poller(self) -> zmq.Poller:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._woken.fileno(), zmq.POLLIN)
        if self._zap_socket:
            poller.register(self._zap_socket, zmq.POLLIN)
        if self._connections:
            poller.register(self._connections.events, zmq.POLLIN)
        return poller

    def _poll(self, poller: zmq.Poller) -> dict[object, int]:
        """Wait until there is something to do; return what is readable."""
        timeout_s = 0.0 if self._ahead else min(self._outbox.timeout_s, TICK_S)
        if self._connections:
            timeout_s = min(self._connections.timeout_s, timeout_s)
        ready = dict(poller.poll(math.ceil(1000 * timeout_s)))
        if self._woken.fileno() in ready:
            self._woken.recv(4096)
            self._is_woken = False  # after it is empty: else a wake-up in between would be the last
        return ready

    def _settle(self) -> None:
        """Send what the service has done meanwhile, and make a snapshot, where that is due."""
        now = time.monotonic()
        self._settle_at = now + TICK_S
        self._send(self._service.settle())
        if now >= self._snapshot_at:
            self._snapshot_at = now + self._snapshot_every_s
            self.snapshot = self._service.snapshot(self.endpoint)

    def _check_drain(self) -> None:
        """End where that was asked for and nothing is left to wait for."""
        if self._drain is None:
            return
        is_late = time.monotonic() >= self._drain.deadline
        if is_late or not self._service.drain(queue=self._drain.queue):
            self._is_stopping = True

    def _authenticate(self, ready: Mapping[object, int]) -> None:
        """Reload the authorized clients if they changed, then answer a ZAP request."""
        if not (self._authenticator and self._zap_socket):
            return
        force, self._is_reloading = self._is_reloading, False
        self._authenticator.refresh(force=force)
        if self._zap_socket in ready:
            self._authenticator.answer(self._zap_socket)

    def _check_connections(self, ready: Mapping[object, int]) -> None:
        """Cut off peers whose incomplete messages take too much memory."""
        if self._connections:
            if self._connections.events in ready:
                self._connections.update()
            n_cut = self._connections.check()
            self._service.counters.count("cut_connections_total", by=n_cut)

    def _cut(self, frame: zmq.Frame) -> None:
        if self._connections and self._connections.cut(frame):
            self._service.counters.count("cut_connections_total")

    def _receive(self) -> None:
        read_at = -math.inf
        for _ in range(MAX_BURST):
            if not self._ahead or time.monotonic() >= read_at + READ_S:
                self._read_ahead()
                read_at = time.monotonic()
            if not self._ahead:
                return
            asked = self._ahead.popleft()
            self._n_bytes_ahead -= asked.n_bytes
            self._send(self._answer(asked.peer, asked.user, asked.frames))

    def _read_ahead(self) -> None:
        """Read what has come, so that a stop does not wait for the requests ahead of it."""
        while (
            len(self._ahead) < MAX_AHEAD
            and self._n_bytes_ahead < MAX_BYTES_AHEAD
            and is_readable(self._socket)
        ):
            peer, *frames = receive(self._socket, wait=False)
            if self._connections:
                self._connections.on_bytes(peer)
            if self._outbox.is_hopeless(peer.bytes):
                self._cut(peer)
                continue
            user = self._authenticator.user_of(peer) if self._authenticator else ANONYMOUS
            n_bytes = sum(map(len, frames))
            self._service.counters.count("bytes_total", "in", by=n_bytes)
            asked = _Asked(peer.bytes, user, [frame.buffer for frame in frames], n_bytes)
            self._ahead.append(asked)
            self._n_bytes_ahead += n_bytes
            if len(self._ahead) > 1 and user is not None and _may_be_stop(asked.frames):
                with suppress(ProtocolError):  # it is answered in its turn
                    self._service.hasten(decode(asked.frames), user)

    def _answer(self, peer: bytes, user: User | None, frames: Sequence[memoryview]) -> list[Reply]:
        try:
            request = decode(frames)
            if user is None:
                return [Reply(peer, answer(request, to_wire(_revoked())))]
            refusal = self._refusal(peer, request)
            if refusal is not None:
                return [Reply(peer, answer(request, to_wire(refusal)))]
            return self._service.receive(peer, request, user=user)
        except ProtocolError as error:
            self._service.counters.count("refused_frames_total")
            self._log_refusal(peer, user, error)
            request = bytes.fromhex(str(error.details.get("request", NO_ID.hex())))
            return [Reply(peer, Packet(Kind.REPLY, request, to_wire(error)))]
        except Exception:  # no message may stop the server
            log.exception("a message could not be read")
            return []

    def _refusal(self, peer: bytes, request: Packet) -> QuotaError | None:
        """Return why a request is not even looked at: its peer has too many unanswered."""
        if isinstance(request.body, Request) and request.body.safety:
            return None
        try:
            self._outbox.admit(peer, request.id)
        except QuotaError as error:
            return error
        return None

    def _log_refusal(self, peer: bytes, user: User | None, error: ProtocolError) -> None:
        count = self._refusals.due(user.name if user else "")
        if count:
            with about(peer=peer.hex(), user=user.name if user else ""):
                log.warning("a message was refused: %s (%d since the last one)", error, count)

    def _send(self, replies: Iterable[Reply]) -> None:
        for reply in replies:
            self._steps.run("sending", self._outbox.put, reply)

    def _send_frames(self, frames: Sequence[Buffer]) -> None:
        send(self._socket, frames)
        self._service.counters.count("bytes_total", "out", by=sum(map(len, frames[1:])))

    def _wake(self) -> None:
        if self._is_woken:  # and has not looked yet
            return
        self._is_woken = True
        with suppress(OSError):  # closed: nobody is left to wake
            self._waker.send(b"\0")

    def _close_sockets(self) -> None:
        self._socket.close()
        if self._connections:
            self._connections.close()
        if self._zap_socket:
            self._zap_socket.close()
        self._context.term()
        self._binding.close()
        self._woken.close()
        self._waker.close()


class _Drain(NamedTuple):
    """Until when what may go on."""

    deadline: float
    queue: bool


@dataclass(frozen=True)
class _Asked:
    """A message that was read."""

    peer: bytes
    user: User | None
    frames: Sequence[memoryview]
    n_bytes: int


def _may_be_stop(frames: Sequence[memoryview]) -> bool:
    """Whether a message looks like an emergency stop; decoding tells."""
    return len(frames) == 2 and len(frames[1]) <= MAX_STOP and STOP in bytes(frames[1])


def _close(driver: Driver, journal: Journal | None) -> None:
    driver.close()
    if journal is not None:
        journal.close()


def _revoked() -> PermissionDeniedError:
    return PermissionDeniedError("the key of this client is not authorized any more")
