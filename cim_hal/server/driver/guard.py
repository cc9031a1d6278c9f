"""Calls a driver as its contract says: one call at a time, safe on every way out."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from cim_hal.errors import CimError, DriverFaultError, UnavailableError
from cim_hal.machine.calibration import Calibration
from cim_hal.machine.capabilities import Capabilities
from cim_hal.machine.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable

    from cim_hal.machine.driver import Driver, Program, Readout
    from cim_hal.machine.lowering import Lowering
    from cim_hal.machine.stop import StopToken

__all__ = ["FRESH_S", "Caller", "as_driver_fault"]

# Telemetry of that age still tells whether the machine may run.
FRESH_S = 1.0

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class Caller:
    """A driver in the hands of one thread; only `safe` may be called from another.

    Whatever a driver raises comes out as a `CimError`, after the driver was made safe.

    Parameters
    ----------
    driver : Driver
    tell : callable
        Takes each telemetry that says something.
    """

    def __init__(self, driver: Driver, tell: Callable[[Telemetry], None]) -> None:
        self._driver = driver
        self._tell = tell
        self._programmed: Lowering | None = None
        self._telemetry = Telemetry()
        self._asked_at = -FRESH_S
        self._has_status = True

    def describe(self) -> Capabilities:
        """Return the capabilities, after the machine was made safe."""
        described = self._call("describe", self._driver.describe)
        if not isinstance(described, Capabilities):
            raise as_driver_fault("describe", _unexpected(described, Capabilities))
        self.safe()
        return described

    def run(self, program: Program, stop: StopToken) -> tuple[Readout, float]:
        """Run a program; return its readout, checked, and the seconds it took.

        Couplings go to the driver first, where they are not those of the last run.
        """
        if time.monotonic() - self._asked_at > FRESH_S:
            with suppress(UnavailableError):  # a driver that is started anew: the run waits for it
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

    def blame(self, action: Callable[[], Result]) -> Result:
        """Do what belongs to a run; where it fails, the driver has."""
        return self._call("run", action)

    def calibrate(self, stop: StopToken) -> Calibration:
        """Calibrate the machine."""
        self._telemetry.check_interlocks()
        made = self._call("calibrate", lambda: self._driver.calibrate(stop))
        if not isinstance(made, Calibration):
            raise as_driver_fault("calibrate", _unexpected(made, Calibration))
        return made

    def observe(self) -> None:
        """Ask how the machine is; a driver that cannot say is no more than a warning."""
        try:
            self._ask()
        except UnavailableError:
            return
        except CimError as error:
            log.warning("no telemetry: %s", error)

    def heard(self, telemetry: Telemetry) -> None:
        """Take what the driver says in the midst of a call."""
        if isinstance(telemetry, Telemetry) and not telemetry.is_empty:
            self._telemetry = telemetry
            self._tell(telemetry)

    def safe(self) -> None:
        """Make the machine safe; a driver that fails in that is logged."""
        try:
            self._driver.safe()
        except Exception:
            log.exception("the driver failed to make the machine safe")

    def close(self) -> None:
        """Make the machine safe and let go of it."""
        self.safe()
        try:
            self._driver.close()
        except Exception:
            log.exception("the driver failed to close")

    def _ask(self) -> None:
        if not self._has_status:
            return
        telemetry = self._call("status", self._driver.status)
        if not isinstance(telemetry, Telemetry):
            raise as_driver_fault("status", _unexpected(telemetry, Telemetry))
        self._asked_at = time.monotonic()
        self.heard(telemetry)
        # who reports nothing at first never will: not worth a call before each run
        self._has_status = not self._telemetry.is_empty

    def _call(self, where: str, action: Callable[[], Result]) -> Result:
        try:
            return action()
        except CimError:
            self._come_out()
            raise
        except BaseException as error:  # a driver that calls sys.exit must not end the thread
            log.exception("the driver failed in %s", where)
            self._come_out()
            raise as_driver_fault(where, error) from error

    def _come_out(self) -> None:
        self._programmed = None
        self.safe()


def as_driver_fault(where: str, error: BaseException) -> DriverFaultError:
    """Return the fault for what a driver raised in one of its methods."""
    return DriverFaultError(
        f"the driver failed in {where}: {type(error).__name__}: {error}",
        exception=type(error).__name__,
    )


def _unexpected(value: object, expected: type) -> TypeError:
    return TypeError(f"it returned a {type(value).__name__}, not {expected.__name__}")
