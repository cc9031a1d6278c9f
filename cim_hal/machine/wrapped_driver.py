"""A driver around another: it passes every call on, and a subclass says what it does otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cim_hal.machine.driver import Driver

if TYPE_CHECKING:
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.driver import Program, Readout, StopToken
    from cim_hal.machine.telemetry import Calibration, Telemetry

__all__ = ["WrappedDriver"]


class WrappedDriver(Driver):
    """Passes the calls of all methods on to another driver."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def describe(self) -> Capabilities:
        """Return the capabilities of the machine."""
        return self._driver.describe()

    def program(self, program: Program) -> None:
        """Upload couplings."""
        self._driver.program(program)

    def run(self, program: Program, stop: StopToken) -> Readout:
        """Run a program."""
        return self._driver.run(program, stop)

    def status(self) -> Telemetry:
        """Return telemetry."""
        return self._driver.status()

    def calibrate(self, stop: StopToken) -> Calibration:
        """Calibrate the machine."""
        return self._driver.calibrate(stop)

    def safe(self) -> None:
        """Make the machine safe."""
        self._driver.safe()

    def close(self) -> None:
        """Close the driver."""
        self._driver.close()
