"""A driver that fails as a script says, for tests of the layers above it."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from cim_hal.errors import JobCancelledError, LockLostError, TargetError
from cim_hal.machine.driver import Driver
from cim_hal.machine.fault_script import Fault, FaultScript
from cim_hal.model.schedule import MAX_KNOTS, PumpSchedule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cim_hal.machine.calibration import Calibration
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.driver import Program, Readout
    from cim_hal.machine.fault_script import Kind
    from cim_hal.machine.stop import StopToken
    from cim_hal.machine.telemetry import Telemetry

__all__ = ["CRASHED", "Fault", "FaultScript", "FaultyDriver"]

CRASHED = 70  # exit status of a process that a script ended
POLL_S = 0.01
MAX_DESCRIPTION = 1000  # what `Capabilities` takes

log = logging.getLogger("cim_hal.faults")


class FaultyDriver(Driver):
    """Wraps a driver and injects the faults of a script.

    Jobs are numbered from 1 in the order in which they run. Results of unaffected jobs are those
    of the wrapped driver, bit for bit. The kinds of faults:

    ``lost_lock``
        Raises `LockLostError` after the share `at` of the round trips.
    ``exception``
        Raises a `RuntimeError` after the share `at`.
    ``crash``
        Ends the process after the share `at`, without closing anything; exit status 70.
    ``cut_short``
        Ends the run after the share `at`, and reads out as if it were complete.
    ``hang``
        The answer comes `seconds` late, or never; `stop` is ignored.
    ``slow``
        The answer comes `seconds` late; `stop` is obeyed.
    ``wrong_shape``, ``wrong_dtype``, ``nan``
        The readout lacks the last spin, is complex, or ends with NaN.
    ``no_description``
        `describe` raises a `RuntimeError`.

    Each fault is logged as a warning of the logger ``cim_hal.faults``.

    Parameters
    ----------
    driver : Driver
        The wrapped driver; it is closed with this one.
    script : FaultScript
    may_crash : bool
        Allow ``crash``, which ends the process of this driver.
    jobs_before : int
        Jobs that ran before this driver was made, for instance before a crash.

    Raises
    ------
    TargetError
        The script has a ``crash`` and `may_crash` is not given.
    """

    def __init__(
        self,
        driver: Driver,
        script: FaultScript,
        *,
        may_crash: bool = False,
        jobs_before: int = 0,
    ) -> None:
        if script.has("crash") and not may_crash:
            raise TargetError(
                "the fault script has a crash, which would end this process",
                hint="use cim-hal serve --faults, or pass may_crash=True",
            )
        self._driver = driver
        self._script = script
        self._job = jobs_before

    def describe(self) -> Capabilities:
        """Return the capabilities of the wrapped driver, with a warning in the description."""
        if self._script.has("no_description"):
            log.warning("no_description: the driver does not describe itself")
            raise RuntimeError("injected: the driver does not describe itself")
        capabilities = self._driver.describe()
        note = f"FAULTS ARE INJECTED ({self._script.summary}). {capabilities.description}"
        return capabilities.model_copy(update={"description": note.strip()[:MAX_DESCRIPTION]})

    def run(self, program: Program, stop: StopToken) -> Readout:
        """Run a program on the wrapped driver, or fail as the script says.

        Raises
        ------
        LockLostError
            ``lost_lock`` struck.
        JobCancelledError
            `stop` was set.
        RuntimeError
            ``exception`` struck.
        """
        self._job += 1
        fault = self._script.fault_in(self._job)
        if fault is None:
            return self._driver.run(program, stop)
        return self._fail(fault, program, stop)

    def program(self, program: Program) -> None:
        """Upload to the wrapped driver."""
        self._driver.program(program)

    def status(self) -> Telemetry:
        """Return the telemetry of the wrapped driver."""
        return self._driver.status()

    def calibrate(self, stop: StopToken) -> Calibration:
        """Calibrate the wrapped driver."""
        return self._driver.calibrate(stop)

    def safe(self) -> None:
        """Make the wrapped driver safe."""
        self._driver.safe()

    def close(self) -> None:
        """Close the wrapped driver."""
        self._driver.close()

    def _fail(self, fault: Fault, program: Program, stop: StopToken) -> Readout:
        share = 1.0 if fault.at is None else fault.at
        done = math.ceil(share * program.schedule.round_trips)
        if fault.kind in _ENDS:
            if done:
                self._run_head(program, done, stop)
            self._log(fault)
            _ENDS[fault.kind](done)
        readout = self._run_head(program, max(done, 1), stop)
        self._log(fault)
        if fault.kind in _WAITS:
            _WAITS[fault.kind](fault.seconds, stop)
        if fault.kind in _DAMAGES:
            return replace(readout, values=_DAMAGES[fault.kind](readout.values))
        return readout

    def _run_head(self, program: Program, round_trips: int, stop: StopToken) -> Readout:
        head = _head(program, round_trips)
        return self._driver.run(head, stop if head is program else stop.without_deliveries())

    def _log(self, fault: Fault) -> None:
        log.warning("job %d: %s", self._job, fault.kind)


def _head(program: Program, round_trips: int) -> Program:
    """Return the program with only the first round trips of its schedule."""
    if round_trips == program.schedule.round_trips:
        return program
    pump = program.schedule.sample()[:round_trips]
    # exact up to MAX_KNOTS round trips; beyond, a corner moves by less than the distance of knots
    at = np.linspace(0.0, round_trips - 1.0, min(round_trips, MAX_KNOTS))
    knots = np.interp(at, np.arange(round_trips), pump)
    return replace(program, schedule=PumpSchedule.through(knots.tolist(), round_trips=round_trips))


def _lose_lock(round_trips: int) -> NoReturn:
    raise LockLostError(
        "injected: the cavity lost lock",
        hint="a real machine would be locked again, and the job repeated",
        at_round_trip=round_trips,
    )


def _raise(round_trips: int) -> NoReturn:
    raise RuntimeError(f"injected: the driver raised at round trip {round_trips}")


def _crash(_round_trips: int) -> NoReturn:
    os._exit(CRASHED)


def _hang(seconds: float | None, _stop: StopToken) -> None:
    threading.Event().wait(seconds)


def _answer_late(seconds: float | None, stop: StopToken) -> None:
    ends_at = time.monotonic() + (seconds or 0.0)
    while (left := ends_at - time.monotonic()) > 0:
        if stop.is_set():
            raise JobCancelledError("cancelled while the answer was late")
        time.sleep(min(left, POLL_S))


def _without_last_spin(values: np.ndarray) -> np.ndarray:
    return values[:, :-1]


def _as_complex(values: np.ndarray) -> np.ndarray:
    return values.astype(np.complex64)


def _with_nan(values: np.ndarray) -> np.ndarray:
    damaged = values.astype(np.result_type(values, np.float32))
    damaged[-1, -1] = np.nan
    return damaged


_ENDS: Mapping[Kind, Callable[[int], NoReturn]] = MappingProxyType(
    {"lost_lock": _lose_lock, "exception": _raise, "crash": _crash}
)
_WAITS: Mapping[Kind, Callable[[float | None, StopToken], None]] = MappingProxyType(
    {"hang": _hang, "slow": _answer_late}
)
_DAMAGES: Mapping[Kind, Callable[[np.ndarray], np.ndarray]] = MappingProxyType(
    {"wrong_shape": _without_last_spin, "wrong_dtype": _as_complex, "nan": _with_nan}
)
