"""Calls of a driver as its contract demands: one at a time, made safe after each failure."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from cim_hal.errors import CimError, DriverFaultError, JobCancelledError, UnavailableError
from cim_hal.machine.capabilities import Capabilities
from cim_hal.machine.telemetry import Calibration, Telemetry

if TYPE_CHECKING:
    from cim_hal.machine.driver import Driver, Program, Readout, StopToken
    from cim_hal.machine.lowering import Lowering

__all__ = ["FRESH_S", "DriverGuard", "NeverBegunError", "call_driver", "close_driver", "make_safe"]

# Telemetry up to this age decides whether a run may start.
FRESH_S = 1.0

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class NeverBegunError(JobCancelledError):
    """A call was cancelled before the driver had begun it: its job may run later."""


class DriverGuard:
    """Calls a driver from one thread; only `safe` may be called from another.

    Any exception of the driver becomes a `CimError`, after the driver was made safe. Telemetry that
    is not empty is published.
    """

    def __init__(self, driver: Driver, publish: Callable[[Telemetry], None]) -> None:
        self._driver = driver
        self._publish = publish
        self._programmed: Lowering | None = None
        self._telemetry = Telemetry()
        self._asked_at = -FRESH_S
        self._has_status = True

    def describe(self) -> Capabilities:
        """Return the capabilities, after the machine was made safe."""
        described = self._call("describe", self._driver.describe, Capabilities)
        self.safe()
        return described

    def run(self, program: Program, stop: StopToken) -> tuple[Readout, float]:
        """Run a program; return its checked readout and the seconds that it took.

        Couplings other than those of the last run are programmed first. Where the latest telemetry
        reports an open interlock the driver is not called: `InterlockError`.
        """
        if time.monotonic() - self._asked_at > FRESH_S:
            with suppress(UnavailableError):  # the driver restarts: the run waits for it
                self._ask()
        self._telemetry.check_interlocks()
        if self._programmed is not program.lowering:
            self._call("program", lambda: self._driver.program(program))
            self._programmed = program.lowering
        started = time.perf_counter()
        readout = self._call("run", lambda: self._driver.run(program, stop))
        seconds = time.perf_counter() - started
        self._call("run", lambda: readout.check(program))
        return readout, seconds

    def attribute_errors(self, action: Callable[[], Result]) -> Result:
        """Return the result of `action`, part of a run: its exceptions are faults of the driver."""
        return self._call("run", action)

    def calibrate(self, stop: StopToken) -> Calibration:
        """Calibrate the machine, unless the latest telemetry reports an open interlock."""
        self._telemetry.check_interlocks()
        return self._call("calibrate", lambda: self._driver.calibrate(stop), Calibration)

    def poll_status(self) -> None:
        """Ask the driver for telemetry; an error is logged and nothing more."""
        try:
            self._ask()
        except UnavailableError:
            return
        except CimError as error:
            log.warning("no telemetry: %s", error)

    def on_telemetry(self, telemetry: Telemetry) -> None:
        """Take telemetry that the driver reports during a call."""
        if isinstance(telemetry, Telemetry) and not telemetry.is_empty:
            self._telemetry = telemetry
            self._publish(telemetry)

    def safe(self) -> None:
        """Make the machine safe; an exception of the driver is logged. Any thread may call it."""
        make_safe(self._driver)

    def close(self) -> None:
        """Make the machine safe and close the driver; exceptions are logged."""
        close_driver(self._driver)

    def _ask(self) -> None:
        if not self._has_status:
            return
        telemetry = self._call("status", self._driver.status, Telemetry)
        self._asked_at = time.monotonic()
        self.on_telemetry(telemetry)
        # by its contract a driver that reports nothing at first never will
        self._has_status = not self._telemetry.is_empty

    def _call(
        self, where: str, action: Callable[[], Result], expected: type[Result] | None = None
    ) -> Result:
        try:
            return call_driver(where, action, expected)
        except CimError:
            self._recover()
            raise

    def _recover(self) -> None:
        self._programmed = None
        self.safe()


def call_driver(
    where: str, action: Callable[[], Result], expected: type[Result] | None = None
) -> Result:
    """Return the result of a driver's method `where`, or raise a `CimError` as the driver did.

    Any other exception, and a result that is not `expected`, is a `DriverFaultError`.
    """
    try:
        result = action()
    except CimError:
        raise
    except BaseException as error:  # sys.exit in a driver must not end the thread
        log.exception("the driver failed in %s", where)
        raise _fault(where, error) from error
    if expected is not None and not isinstance(result, expected):
        sentence = f"it returned a {type(result).__name__}, not {expected.__name__}"
        raise _fault(where, TypeError(sentence))
    return result


def _fault(where: str, error: BaseException) -> DriverFaultError:
    return DriverFaultError(
        f"the driver failed in {where}: {type(error).__name__}: {error}",
        exception=type(error).__name__,
    )


def make_safe(driver: Driver) -> None:
    """Make the machine safe; an exception of the driver is logged."""
    try:
        driver.safe()
    except Exception:
        log.exception("the driver failed to make the machine safe")


def close_driver(driver: Driver) -> None:
    """Make the machine safe and close the driver; exceptions are logged."""
    make_safe(driver)
    try:
        driver.close()
    except Exception:
        log.exception("the driver failed to close")
