"""Calls of a driver as its contract demands, and its health as these calls show it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from cim_hal.errors import (
    CimError,
    DriverFaultError,
    InterlockError,
    UnavailableError,
)
from cim_hal.machine.capabilities import Capabilities
from cim_hal.machine.driver import Readout
from cim_hal.machine.telemetry import (
    Calibration,
    DriverPhase,
    DriverState,
    Telemetry,
)
from cim_hal.server.driver.calls import Backoff, DriverCalls, Rebuildable, Supervised

if TYPE_CHECKING:
    from cim_hal.machine.driver import Driver, Program, StopToken
    from cim_hal.machine.lowering import Lowering

__all__ = ["EMERGENCY_S", "FRESH_S", "DriverGuard"]

# Telemetry up to this age decides whether a run may start.
FRESH_S = 1.0
# Time that a running call has to obey its stop token in an emergency.
EMERGENCY_S = 0.05
LEAST_POLL_S = 0.05
# Calls that fail one after another, after which the driver is built anew.
FAULTS_IN_A_ROW = 3

Result = TypeVar("Result")

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _ActiveCall:
    """A run or a calibration under way, which an interlock that opens ends."""

    stop: StopToken
    open_interlocks: tuple[str, ...] = ()
    is_over: threading.Event = field(default_factory=threading.Event)


class DriverGuard:
    """Calls a driver from one thread, and decides from what happens whether it may be called.

    Only `safe` and `on_telemetry` may be called from other threads. Any exception of the driver
    becomes a `CimError`, after the machine was made safe. A driver whose `status` or `safe` fails,
    that loses its connection, or fails `FAULTS_IN_A_ROW` times, is *broken*: it runs nothing until,
    built anew where that is possible, it is safe and has a status again. Telemetry that is not
    empty is published, and so is each change of state.
    """

    def __init__(
        self,
        driver: Driver,
        publish: Callable[[Telemetry | DriverState], None],
        backoff: Backoff | None = None,
    ) -> None:
        self._driver = driver
        self._supervised = driver if isinstance(driver, Supervised) else None
        self._publish = publish
        self._is_started = False
        self._backoff = backoff or Backoff()
        self._calls = DriverCalls()
        self._programmed: Lowering | None = None
        self._telemetry = Telemetry()
        self._asked_at = -FRESH_S
        self._has_status = True
        self._active: _ActiveCall | None = None
        self._mutex = threading.Lock()  # guards the health, which any thread may find bad
        self._fault: CimError | None = None  # why it is broken
        self._last_fault = ""
        self._n_breaks = self._failures = self._n_rebuilt = 0
        self._faults_in_a_row = 0
        self._must_rebuild = False
        self._retry_at = 0.0
        self._process = DriverState()  # of a driver that is supervised
        self._told = DriverState()

    # ---- calls ------------------------------------------------------------------------------

    def describe(self) -> Capabilities:
        """Return the capabilities, after the machine was made safe."""
        described = self._call("describe", self._driver.describe, Capabilities)
        self.safe()
        return described

    def start(self) -> None:
        """Publish from now on: the state of the driver, and telemetry."""
        self._is_started = True
        if self._supervised is not None:
            self._supervised.subscribe(self._on_process)
        self._tell()
        self.poll_status()

    def run(
        self, program: Program, stop: StopToken, keep: Callable[[Readout], object] | None = None
    ) -> tuple[Readout, float]:
        """Run a program; return its checked readout and the seconds that it took.

        Couplings other than those of the last run are programmed first. Where the latest telemetry
        reports an open interlock the driver is not called: `InterlockError`. The same if one opens
        during the run, which is stopped; a readout that comes all the same is given to `keep`.
        """

        def measure() -> tuple[Readout, float]:
            if self._programmed is not program.lowering:
                self._call("program", lambda: self._driver.program(program))
                self._programmed = program.lowering
            started = time.perf_counter()
            readout = self._call("run", lambda: self._driver.run(program, stop), Readout)
            seconds = time.perf_counter() - started
            self._call("run", lambda: readout.check(program))
            self._faults_in_a_row = self._failures = 0
            return readout, seconds

        return self._perform(stop, measure, keep and (lambda measured: keep(measured[0])))

    def calibrate(self, stop: StopToken) -> Calibration:
        """Calibrate the machine, unless an interlock is open, or opens meanwhile."""
        return self._perform(
            stop, lambda: self._call("calibrate", lambda: self._driver.calibrate(stop), Calibration)
        )

    def attribute_errors(self, action: Callable[[], Result]) -> Result:
        """Return the result of `action`, part of a run: its exceptions are faults of the driver."""
        return self._call("run", action)

    def safe(self) -> None:
        """Make the machine safe; where that fails the driver is broken. Any thread may call it."""
        try:
            self._calls("safe", self._driver.safe)
        except CimError as error:
            self._break(error)

    def close(self) -> None:
        """Make the machine safe and close the driver; exceptions are logged."""
        self._calls.close(self._driver)

    # ---- telemetry --------------------------------------------------------------------------

    @property
    def poll_s(self) -> float:
        """Time until `poll_status` is due, in seconds."""
        if self._fault is None:
            return FRESH_S
        return min(max(self._retry_at - time.monotonic(), LEAST_POLL_S), FRESH_S)

    def poll_status(self) -> None:
        """Ask the driver for telemetry; where it is broken, see whether it works again."""
        if self._fault is None:
            with suppress(CimError):  # it is broken now
                self._ask()
        elif time.monotonic() >= self._retry_at:
            self._repair()

    def on_telemetry(self, telemetry: Telemetry) -> None:
        """Take telemetry that the driver reports during a call; an open interlock stops it."""
        if not isinstance(telemetry, Telemetry) or telemetry.is_empty:
            return
        is_opening = telemetry.open_interlocks and not self._telemetry.open_interlocks
        is_first = not self._telemetry.interlocks
        self._telemetry = telemetry
        self._publish(telemetry)
        active = self._active
        if active is not None and telemetry.open_interlocks:
            self._interrupt(active, telemetry.open_interlocks)
        elif is_opening and not is_first:
            self.safe()

    def _ask(self) -> None:
        if not self._has_status:
            return
        telemetry = self._call("status", self._driver.status, Telemetry)
        self._asked_at = time.monotonic()
        self.on_telemetry(telemetry)
        # by its contract a driver that reports nothing at first never will
        self._has_status = not self._telemetry.is_empty

    def _interrupt(self, active: _ActiveCall, names: tuple[str, ...]) -> None:
        """Stop a call; where it does not end at once, make the machine safe beside it."""
        if active.open_interlocks:
            return
        active.open_interlocks = names
        active.stop.set()

        def make_safe_in_time() -> None:
            if not active.is_over.wait(EMERGENCY_S):
                self.safe()

        if not active.is_over.is_set():
            thread = threading.Thread(target=make_safe_in_time, name="cim-hal interlock")
            thread.daemon = True
            thread.start()

    # ---- one call ---------------------------------------------------------------------------

    def _perform(
        self,
        stop: StopToken,
        action: Callable[[], Result],
        keep: Callable[[Result], object] | None = None,
    ) -> Result:
        """Perform `action` where the machine may be used, and stay able to use it afterwards."""
        self._admit(stop)
        self._active = active = _ActiveCall(stop)
        try:
            result = action()
            active.is_over.set()
            if self._telemetry.interlocks and not active.open_interlocks:  # without a report
                with suppress(CimError):
                    self._ask()
            if not active.open_interlocks:
                return result
            if keep is not None:
                keep(result)
        except CimError as error:
            if not active.open_interlocks:
                raise
            raise _interlock_error(active) from error
        finally:
            active.is_over.set()
            self._active = None
        self._make_safe_again()
        raise _interlock_error(active)

    def _admit(self, stop: StopToken) -> None:
        """Refuse a call where the driver is broken or an interlock is open."""
        if self._fault is not None:
            self.poll_status()
        self._check_health()
        if self._supervised is not None:
            self._supervised.wait_until_ready(stop)
        if time.monotonic() - self._asked_at > FRESH_S:
            with suppress(UnavailableError):  # the driver restarts: the call waits for it
                self._ask()
        self._telemetry.check_interlocks()

    def _check_health(self) -> None:
        fault = self._fault
        if fault is not None:
            after_s = self._state().retry_after_s
            raise UnavailableError(
                f"the driver is broken: {fault.message}",
                hint=f"it is tried again within {after_s:.3g} s; nothing was run",
                retry_after_s=after_s,
            )

    def _call(
        self, where: str, action: Callable[[], Result], expected: type[Result] | None = None
    ) -> Result:
        try:
            return self._calls(where, action, expected)
        except CimError as error:
            if self._breaks(where, error):
                self._break(error)
            self._make_safe_again()  # where that fails too, it is the fault that is told
            raise

    def _make_safe_again(self) -> None:
        self._programmed = None
        self.safe()

    # ---- health -----------------------------------------------------------------------------

    def _breaks(self, where: str, error: CimError) -> bool:
        """Whether a failed call shows that the driver cannot go on."""
        if where == "describe" or isinstance(error, UnavailableError) or _has_ended(error):
            return False
        if where == "status":
            return True
        if not isinstance(error, DriverFaultError):
            return False
        if error.retryable:  # the connection is lost
            return True
        if self._active is not None and self._active.open_interlocks:
            return False  # a machine that is shut off may raise anything
        self._faults_in_a_row += 1
        return self._faults_in_a_row >= FAULTS_IN_A_ROW

    def _break(self, error: CimError) -> None:
        if _has_ended(error):
            return
        with self._mutex:
            is_new = self._fault is None
            self._n_breaks += 1
            self._must_rebuild = True
            if is_new:  # what fails until it works again follows from the first fault
                self._fault, self._last_fault = error, str(error)[:2000]
                self._put_off()
        if is_new:
            log.warning("the driver is broken, and no job is started: %s", error)
        self._tell()

    def _repair(self) -> None:
        """Build the driver anew where that is possible, and see whether it works."""
        n_breaks = self._n_breaks
        try:
            if self._must_rebuild and isinstance(self._driver, Rebuildable):
                driver, reason = self._driver, self._last_fault
                self._calls("rebuild", lambda: driver.rebuild(reason))
                self._n_rebuilt += 1
            self._must_rebuild = False
            if self._process.phase is not DriverPhase.READY:
                return
            self._calls("safe", self._driver.safe)
            telemetry = Telemetry()
            if self._has_status:
                telemetry = self._calls("status", self._driver.status, Telemetry)
        except UnavailableError:  # its process is about to start
            return
        except CimError as error:
            self._put_off()
            self._break(error)
            return
        self._heal(n_breaks, telemetry)

    def _put_off(self) -> None:
        """Plan the next attempt: at once after a good run, and then after longer and longer."""
        pause_s = self._backoff.pause_s(self._failures) if self._failures else 0.0
        self._failures += 1
        self._retry_at = time.monotonic() + pause_s

    def _heal(self, n_breaks: int, telemetry: Telemetry) -> None:
        with self._mutex:
            if self._n_breaks != n_breaks:  # another thread found it unsafe meanwhile
                return
            self._fault, self._faults_in_a_row = None, 0
        self._programmed = None
        self._asked_at = time.monotonic()
        log.warning("the driver works again")
        self._tell()
        self.on_telemetry(telemetry)

    def _on_process(self, state: DriverState) -> None:
        self._process = state
        if state.phase is not DriverPhase.READY:
            self._asked_at = -FRESH_S  # what was reported was of the process before
        self._tell()

    def _tell(self) -> None:
        with self._mutex:
            state = self._state()
            is_news = self._is_started and state != self._told
            self._told = state if self._is_started else self._told
        if is_news:
            self._publish(state)

    def _state(self) -> DriverState:
        """Return the state of the driver as others see it."""
        process, fault = self._process, self._fault
        if fault is None:
            state = process.model_copy(update={"fault": process.fault or self._last_fault})
        else:
            after_s = process.retry_after_s or max(self._retry_at - time.monotonic(), 0.0)
            update = {"phase": DriverPhase.BROKEN, "fault": self._last_fault}
            state = process.model_copy(update=update | {"retry_after_s": after_s})
        restarts = process.restarts if self._supervised is not None else self._n_rebuilt
        return state.model_copy(update={"restarts": restarts})


def _has_ended(error: CimError) -> bool:
    """Whether an error tells of the end of the driver's process, which is restarted anyway."""
    return "signal" in error.details or "exit_status" in error.details


def _interlock_error(active: _ActiveCall) -> InterlockError:
    names = ", ".join(active.open_interlocks)
    return InterlockError(
        f"an interlock opened, and what ran was stopped: {names}",
        hint="the machine was made safe; runs that were finished are kept as partial results",
        interlocks=names,
    )
