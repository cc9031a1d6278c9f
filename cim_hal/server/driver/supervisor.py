"""Supervision of the process of a driver: starts it, watches it, restarts it, within limits."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cim_hal.errors import CimError, DriverFaultError, UnavailableError
from cim_hal.machine.registry import lock_name
from cim_hal.machine.telemetry import DriverPhase, DriverState
from cim_hal.ownership import lock_file
from cim_hal.protocol.wire.base import ErrorMessage
from cim_hal.protocol.wire.packet import ID_BYTES, Kind, Packet
from cim_hal.server.driver import messages
from cim_hal.server.driver.calls import Backoff, NeverBegunError
from cim_hal.server.driver.child import Child, calls_under_way
from cim_hal.server.process_usage import memory_bytes

if TYPE_CHECKING:
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.config import MachineConfig
    from cim_hal.machine.driver import StopToken

__all__ = ["Backoff", "DriverOptions", "Supervisor"]

POLL_S = 0.05
WATCH_S = 0.1
OPENING_S = 5.0  # for the thread that opens a driver to see that its process has ended
# A longer gap between two polls means that this process itself was stopped, and cannot judge.
BLIND_S = 1.0
OPENING_BYTES = 1024**2  # of a message, until the machine is described

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DriverOptions:
    """Limits beyond which the process of a driver is ended; times in seconds."""

    start_s: float = 120.0  # until the driver has described itself
    hang_s: float = 30.0  # without a heartbeat, which shows that Python runs in the process
    grace_s: float = 5.0  # from the request to stop a call until the call ends
    run_s: float | None = None  # None for `max_run_s` of the capabilities
    calibrate_s: float = 3600.0
    memory_bytes: int | None = None  # resident; None for no limit. Linux only
    backoff: Backoff = field(default_factory=Backoff)
    hardware: str = ""  # whose lock the driver holds; empty for that of the driver's factory


class Supervisor:
    """Starts processes of a driver, one after the other, in a thread that outlives them.

    Any thread may call the methods. For what it is made with see
    `DriverProcess` and `Child`; `n_runs` counts the runs that were begun in all processes.
    """

    def __init__(
        self,
        config: MachineConfig,
        faults: str,
        options: DriverOptions,
        on_report: Callable[[Packet], None],
    ) -> None:
        self.n_runs = 0
        self._config, self._faults = config, faults
        self._options = options
        self._on_report = on_report
        self._changed = threading.Condition()
        self._current: Child | None = None  # the process, if one was started
        self._child: Child | None = None  # the same, once its driver has described the machine
        self._capabilities: Capabilities | None = None
        self._state = DriverState(phase=DriverPhase.STARTING)
        self._error: CimError | None = None  # of the latest start
        self._n_starts = self._failed_starts = 0
        self._failures = 0  # ends without a good run between them
        self._is_closing = self._is_over = self._is_rebuilding = False
        self._publish: Callable[[DriverState], None] = lambda _: None
        self._thread: threading.Thread | None = None

    @property
    def child(self) -> Child | None:
        """The process, if it is ready and alive."""
        child = self._child
        return child if child is not None and child.is_alive else None

    @property
    def capabilities(self) -> Capabilities | None:
        """The machine as the driver described it."""
        return self._capabilities

    def start(self) -> Capabilities:
        """Start the process and return the capabilities that its driver describes.

        Where the first start fails that is raised; it is not tried again.
        """
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._supervise, name="cim-hal driver supervisor", daemon=True
            )
            self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._capabilities or self._is_over)
            if self._capabilities is None:
                raise self._error or DriverFaultError("the driver was closed")
            return self._capabilities

    def ready(self, stop: StopToken | None = None) -> Child:
        """Return the process; wait while it restarts.

        `UnavailableError` if several starts have failed, `NeverBegunError` if `stop` was set.
        """
        with self._changed:
            while (child := self.child) is None:
                if self._is_closing or self._state.phase is DriverPhase.BROKEN:
                    raise self.unavailable()
                if stop is not None and stop.is_set():
                    raise NeverBegunError("cancelled while the driver was started anew")
                self._changed.wait(POLL_S)
            return child

    def unavailable(self) -> UnavailableError:
        """Return the error for callers that do not wait."""
        after_s = self._state.retry_after_s
        return UnavailableError(
            f"the driver is not there: {self._state.fault or 'it starts'}",
            hint=f"it is started again within {after_s:.3g} s" if after_s else "",
            retry_after_s=after_s,
        )

    def reset_backoff(self) -> None:
        """Count a good run: the next pause before a start is the shortest again."""
        self._failures = 0

    def rebuild(self, reason: str) -> None:
        """End the process, for `reason`, and start another after a pause; does not wait."""
        with self._changed:
            child, self._child = self._child, None
            if child is None or self._is_closing:
                return
            self._is_rebuilding, self._error = True, DriverFaultError(reason)
            self._change(DriverPhase.STARTING, reason)
        ending = threading.Thread(target=child.shutdown, args=[self._options.grace_s], daemon=True)
        ending.start()

    def subscribe(self, publish: Callable[[DriverState], None]) -> None:
        """Call `publish` with the state now and at each change."""
        with self._changed:
            self._publish = publish
            publish(self._state)

    def close(self) -> None:
        """Close the driver and end the process, by force if need be."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            child = self._current
        if child is not None:
            child.shutdown(self._options.grace_s)
        if self._thread is not None:
            self._thread.join(self._options.grace_s)

    # ---- the thread -------------------------------------------------------------------------

    def _supervise(self) -> None:
        while not self._is_over:
            error = self._run_once()
            with self._changed:
                self._current = self._child = None
                self._error = error
                self._is_over = self._is_closing or self._capabilities is None
                if not self._is_over:
                    self._back_off(error)
                self._changed.notify_all()

    def _back_off(self, error: CimError) -> None:
        """Publish the failure and pause before the next start."""
        if str(error) != self._state.fault:  # each reason once
            log.warning("\n".join([str(error), *calls_under_way(error)]))
        self._failures += 1
        backoff = self._options.backoff
        is_broken = self._failed_starts >= backoff.broken_after
        phase = DriverPhase.BROKEN if is_broken else DriverPhase.STARTING
        pause_s = backoff.pause_s(self._failures)
        self._change(phase, str(error)[:2000], pause_s)
        self._is_over = self._changed.wait_for(lambda: self._is_closing, pause_s)

    def _run_once(self) -> CimError:
        """Start a process, watch it until it has ended, and return the reason."""
        self._error, self._is_rebuilding = None, False
        described = self._capabilities
        max_bytes = messages.max_message_bytes(described) if described else OPENING_BYTES
        try:
            lock, name = (
                lock_file(lock_name(self._config, self._options.hardware)),
                self._config.target,
            )
            child = Child(name, lock, max_bytes=max_bytes, on_report=self._on_report)
        except Exception as error:  # noqa: BLE001  of the system or the settings: callers wait
            self._failed_starts += 1
            if isinstance(error, CimError):
                return error
            return DriverFaultError(f"the process of the driver cannot be started: {error}")
        with self._changed:
            self._n_starts += 1
            self._current = child
            if self._is_closing:
                child.terminate("is not needed any more")
        opening = threading.Thread(target=self._open, args=[child], daemon=True)
        opening.start()
        self._watch(child)
        child.wait()
        opening.join(OPENING_S)
        if self._child is not child and not self._is_rebuilding:
            self._failed_starts += 1
        return self._error or child.exit_error()

    def _watch(self, child: Child) -> None:
        options, polled_at = self._options, time.monotonic()
        while not child.poll(timeout_s=WATCH_S):
            now = time.monotonic()
            if now - polled_at > BLIND_S:
                child.last_seen = now
            polled_at = now
            if self._child is child and now - child.last_seen > options.hang_s:
                child.terminate(f"hung: no sign of life for {options.hang_s:g} s")
            if options.memory_bytes is not None:
                used = memory_bytes(child.pid) or 0
                if used > options.memory_bytes:
                    most = options.memory_bytes // 1024**2
                    child.terminate(f"took {used // 1024**2} MiB of memory, {most} are allowed")

    def _open(self, child: Child) -> None:
        """Open the driver; in a thread of its own, beside the watch."""
        try:
            capabilities = self._opened(child)
        except CimError as error:
            self._error = error
            child.close()
            return
        with self._changed:
            child.limit(messages.max_message_bytes(capabilities))
            child.last_seen = time.monotonic()
            self._capabilities, self._child = capabilities, child
            self._failed_starts = 0
            self._change(DriverPhase.READY, self._state.fault)

    def _opened(self, child: Child) -> Capabilities:
        deadline = time.monotonic() + self._options.start_s
        request = messages.Open(
            machine=self._config,
            faults=self._faults,
            jobs_before=self.n_runs,
            is_restart=self._capabilities is not None,
            hang_s=self._options.hang_s,
            log_level=logging.getLogger().getEffectiveLevel(),
        )
        call = secrets.token_bytes(ID_BYTES)
        child.request(Packet(Kind.REQUEST, call, request))
        while (reply := child.receive(call, timeout_s=POLL_S)) is None:
            if time.monotonic() > deadline:
                child.terminate(f"was not ready within {self._options.start_s:g} s")
        body: Any = reply.body
        if isinstance(body, ErrorMessage):
            raise messages.decode_error(body)
        if not isinstance(body, messages.Opened):
            raise DriverFaultError(f"the process of the driver replied to open with {body.t}")
        if self._capabilities not in (None, body.capabilities):
            raise DriverFaultError("the driver describes itself otherwise than when it started")
        return body.capabilities

    def _change(self, phase: DriverPhase, fault: str, retry_after_s: float = 0.0) -> None:
        self._state = DriverState(
            phase=phase,
            restarts=max(self._n_starts - 1, 0),
            fault=fault,
            retry_after_s=retry_after_s,
        )
        self._changed.notify_all()
        self._publish(self._state)
