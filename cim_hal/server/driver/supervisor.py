"""Keeps the process of a driver alive: starts it, watches over it, starts it anew."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from cim_hal.errors import (
    CimError,
    DriverFaultError,
    JobCancelledError,
    TargetError,
    UnavailableError,
)
from cim_hal.machine.capabilities import Capabilities
from cim_hal.machine.driver_state import DriverPhase, DriverState
from cim_hal.protocol.wire.base import ErrorMessage
from cim_hal.protocol.wire.errors import as_error
from cim_hal.server.driver.child import Child
from cim_hal.server.driver.speech import most_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from cim_hal.machine.stop import StopToken
    from cim_hal.server.driver.driver_options import DriverOptions

__all__ = ["Launch", "Supervisor", "error_of"]

POLL_S = 0.05
WATCH_S = 0.1
# Without a look for longer than that, this process itself was stopped, and cannot judge.
BLIND_S = 1.0
OPENING_BYTES = 1024**2

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Launch:
    """What runs in the process.

    Attributes
    ----------
    target : str
        Name of an installed driver, or ``module:factory``.
    faults : str
        Path of a fault script; none where it is empty.
    """

    target: str
    faults: str = ""


class Supervisor:
    """Starts a process in a thread that outlives it, as ``prctl(PR_SET_PDEATHSIG)`` asks for.

    Parameters
    ----------
    launch : Launch
    options : DriverOptions
    hear : callable
        Takes what the driver says in the midst of a call; see `Child`.

    Attributes
    ----------
    n_runs : int
        Runs that were begun, in all processes.
    """

    def __init__(
        self, launch: Launch, options: DriverOptions, hear: Callable[[dict[str, Any]], None]
    ) -> None:
        self.n_runs = 0
        self._launch = launch
        self._options = options
        self._hear = hear
        self._changed = threading.Condition()
        self._current: Child | None = None  # the process there is
        self._child: Child | None = None  # the same, once its driver has described itself
        self._capabilities: Capabilities | None = None
        self._condition = DriverState(phase=DriverPhase.STARTING)
        self._error: CimError | None = None  # of the last start
        self._n_starts = self._failed_starts = 0
        self._failures = 0  # ends without a good run between them
        self._is_closing = self._is_over = False
        self._tell: Callable[[DriverState], None] = lambda _: None
        self._thread: threading.Thread | None = None

    @property
    def child(self) -> Child | None:
        """The process, where it is there and alive."""
        child = self._child
        return child if child is not None and child.is_alive else None

    @property
    def capabilities(self) -> Capabilities | None:
        """What the driver described."""
        return self._capabilities

    def start(self) -> Capabilities:
        """Start the process and return what the driver describes.

        Raises
        ------
        CimError
            It did not come so far; then it is not tried again.
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
        """Return the process; wait for it while it is started anew.

        Raises
        ------
        UnavailableError
            It was started several times, and does not stay.
        JobCancelledError
            `stop` was set.
        """
        with self._changed:
            while (child := self.child) is None:
                if self._is_closing or self._condition.phase is DriverPhase.BROKEN:
                    raise self.unavailable()
                if stop is not None and stop.is_set():
                    raise JobCancelledError("cancelled while the driver was started anew")
                self._changed.wait(POLL_S)
            return child

    def unavailable(self) -> UnavailableError:
        """Return the error for callers that do not wait."""
        after_s = self._condition.retry_after_s
        return UnavailableError(
            f"the driver is not there: {self._condition.fault or 'it starts'}",
            hint=f"it is started again within {after_s:.3g} s" if after_s else "",
            retry_after_s=after_s,
        )

    def reset_backoff(self) -> None:
        """Count a good run: the next pause is the shortest again."""
        self._failures = 0

    def subscribe(self, tell: Callable[[DriverState], None]) -> None:
        """Call `tell` with the condition now and at each change."""
        with self._changed:
            self._tell = tell
            tell(self._condition)

    def close(self) -> None:
        """End the process in good order, or by force."""
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
        """Say what happened, and wait a while before the next start."""
        log.warning("%s", error)
        self._failures += 1
        backoff = self._options.backoff
        is_broken = self._failed_starts >= backoff.broken_after
        pause_s = backoff.pause_s(self._failures)
        self._change(
            DriverPhase.BROKEN if is_broken else DriverPhase.STARTING, str(error)[:2000], pause_s
        )
        self._is_over = self._changed.wait_for(lambda: self._is_closing, pause_s)

    def _run_once(self) -> CimError:
        """Start the process, watch over it until it has ended, and say why it did."""
        self._error = None
        most = most_bytes(self._capabilities) if self._capabilities else OPENING_BYTES
        try:
            child = Child(self._launch.target, max_bytes=most, hear=self._hear)
        except OSError as error:
            self._failed_starts += 1
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
        opening.join()
        if self._child is not child:
            self._failed_starts += 1
        return self._error or child.exit_error()

    def _watch(self, child: Child) -> None:
        options, looked_at = self._options, time.monotonic()
        while not child.watch(timeout_s=WATCH_S):
            now = time.monotonic()
            if now - looked_at > BLIND_S:
                child.seen_at = now
            looked_at = now
            if self._child is child and now - child.seen_at > options.hang_s:
                child.terminate(f"hung: no sign of life for {options.hang_s:g} s")
            if options.memory_bytes is not None:
                taken = child.resident_bytes() or 0
                if taken > options.memory_bytes:
                    most = options.memory_bytes // 1024**2
                    child.terminate(f"took {taken // 1024**2} MiB of memory, {most} are allowed")

    def _open(self, child: Child) -> None:
        """Have the driver made and described; in a thread of its own, beside the watch."""
        try:
            capabilities = self._opened(child)
        except CimError as error:
            self._error = error
            child.tell("close", id=0)
            return
        with self._changed:
            child.bound(most_bytes(capabilities))
            child.seen_at = time.monotonic()
            self._capabilities, self._child = capabilities, child
            self._failed_starts = 0
            self._change(DriverPhase.READY, self._condition.fault)

    def _opened(self, child: Child) -> Capabilities:
        deadline = time.monotonic() + self._options.start_s
        number = child.ask(
            "open",
            target=self._launch.target,
            faults=self._launch.faults,
            jobs_before=self.n_runs,
            hang_s=self._options.hang_s,
            log_level=logging.getLogger().getEffectiveLevel(),
        )
        while (answer := child.answer(number, timeout_s=POLL_S)) is None:
            if time.monotonic() > deadline:
                child.terminate(f"was not ready within {self._options.start_s:g} s")
        if answer.kind == "error":
            raise error_of(answer.fields)
        try:
            capabilities = Capabilities(**answer.fields["capabilities"])
        except (KeyError, TypeError, ValidationError) as error:
            raise DriverFaultError("the driver described itself in no known way") from error
        if self._capabilities not in (None, capabilities):
            raise DriverFaultError("the driver describes itself otherwise than when it started")
        return capabilities

    def _change(self, phase: DriverPhase, fault: str, retry_after_s: float = 0.0) -> None:
        self._condition = DriverState(
            phase=phase,
            restarts=max(self._n_starts - 1, 0),
            fault=fault,
            retry_after_s=retry_after_s,
        )
        self._changed.notify_all()
        self._tell(self._condition)


def error_of(fields: dict[str, Any]) -> CimError:
    """Return the error that a driver's process sent."""
    try:
        fault = ErrorMessage(**fields)
    except (TypeError, ValidationError):
        return DriverFaultError("the driver's process sent an error that is none")
    if fault.code == TargetError.code:
        return TargetError(fault.message, hint=fault.hint)
    return as_error(fault)
