"""A driver that fails as a script says, for tests of the layers above it.

A fault script says which faults are injected into a machine, and when.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, Self, TypeAlias, get_args

import numpy as np
from pydantic import ConfigDict, Field, model_validator

from cim_hal.errors import JobCancelledError, LockLostError, TargetError
from cim_hal.machine.driver import Driver
from cim_hal.machine.wrapped_driver import WrappedDriver
from cim_hal.model.conversion import flag, require, whole_number
from cim_hal.model.schedule import MAX_KNOTS, PumpSchedule
from cim_hal.toml_files import FileTable, read_file

if TYPE_CHECKING:
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.machine.driver import Program, Readout, StopToken

__all__ = ["CRASHED", "MAX_FILE_BYTES", "Fault", "FaultScript", "FaultyDriver", "Kind"]

CRASHED = 70  # exit status of a process that a script ended
POLL_S = 0.01
MAX_DESCRIPTION = 1000  # what `Capabilities` takes
MAX_FILE_BYTES = 64 * 1024
MAX_SECONDS = 86_400.0

Kind: TypeAlias = Literal[
    "lost_lock",
    "exception",
    "crash",
    "cut_short",
    "hang",
    "slow",
    "wrong_shape",
    "wrong_dtype",
    "nan",
    "no_description",
]

# The kinds that accept a field, and the kinds that need it.
ACCEPTED_BY: Mapping[str, set[Kind]] = {
    "at": {"lost_lock", "exception", "crash", "cut_short"},
    "seconds": {"hang", "slow"},
}
NEEDED_BY: Mapping[str, Kind] = {"at": "cut_short", "seconds": "slow"}
WHEN = ("jobs", "every", "probability")
ENDING = {"lost_lock", "exception", "crash"}  # these kinds leave no readout

JobNumber = Annotated[int, Field(strict=True, ge=1)]

log = logging.getLogger("cim_hal.faults")


class Fault(FileTable):
    """One kind of fault, and the jobs in which it occurs.

    Exactly one of `jobs`, `every` and `probability` is set; none for ``no_description``.

    Attributes
    ----------
    kind : str
        ``lost_lock``, ``exception``, ``crash``, ``cut_short``, ``hang``, ``slow``,
        ``wrong_shape``, ``wrong_dtype``, ``nan`` or ``no_description``; see `FaultyDriver`.
    jobs : tuple of int
        Numbers of the affected jobs; the first run of the machine is job 1.
    every : int
        Each job whose number is a multiple of this is affected.
    probability : float
        Probability that a job is affected, above 0 and at most 1; drawn from the seed of the
        script, the position of the fault in it and the number of the job.
    at : float
        Share of the round trips before the fault, 0 to 1: for ``lost_lock``, ``exception`` and
        ``crash`` (by default 1), and for ``cut_short``.
    seconds : float
        Length of a ``hang`` (by default endless), or delay of a ``slow`` answer.
    """

    kind: Kind
    jobs: (
        Annotated[tuple[JobNumber, ...], Field(strict=False, min_length=1, max_length=10_000)]
        | None
    ) = None
    every: JobNumber | None = None
    probability: Annotated[float, Field(strict=True, gt=0, le=1)] | None = None
    at: Annotated[float, Field(strict=True, ge=0, le=1)] | None = None
    seconds: Annotated[float, Field(strict=True, gt=0, le=MAX_SECONDS)] | None = None

    @model_validator(mode="after")
    def _says_when(self) -> Self:
        given = [name for name in WHEN if getattr(self, name) is not None]
        if self.kind == "no_description":
            if given:
                raise ValueError(f"no_description strikes before any job: it takes no {given[0]}")
        elif len(given) != 1:
            raise ValueError(
                f"{self.kind} needs exactly one of jobs, every and probability, "
                f"not {' and '.join(given) or 'none'}"
            )
        return self

    @model_validator(mode="after")
    def _has_what_its_kind_takes(self) -> Self:
        for name, kinds in ACCEPTED_BY.items():
            is_given = getattr(self, name) is not None
            if is_given and self.kind not in kinds:
                raise ValueError(f"{self.kind} takes no {name}")
            if not is_given and self.kind == NEEDED_BY[name]:
                raise ValueError(f"{self.kind} needs {name}")
        return self


class FaultScript(FileTable):
    """The faults of a machine; the first one that applies to a job occurs.

    Attributes
    ----------
    seed : int
        Seed of the probabilities, 0 to 2^63 - 1.
    faults : tuple of Fault
        In a file, the tables ``[[fault]]``.

    Examples
    --------
    >>> script = FaultScript(faults=(Fault(kind="lost_lock", jobs=(3, 7)),))
    >>> [job for job in range(1, 10) if script.fault_in(job)]
    [3, 7]
    """

    model_config = ConfigDict(populate_by_name=True)

    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = 0
    faults: Annotated[
        tuple[Fault, ...],
        Field(strict=False, validation_alias="fault", min_length=1, max_length=1000),
    ]

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a TOML file.

        Raises
        ------
        TargetError
            The file is missing, too large or malformed; the message names the table, and says what
            would be right.
        """
        require("path", path, (str, os.PathLike), TargetError, hint="pass the name of a file")
        what = "a fault script"
        return read_file(
            Path(path), cls, what, TargetError, title="the fault script", max_bytes=MAX_FILE_BYTES
        )

    @property
    def summary(self) -> str:
        """The kinds of faults, and the seed."""
        return f"{', '.join(dict.fromkeys(f.kind for f in self.faults))}; seed {self.seed}"

    def has(self, kind: Kind) -> bool:
        """Whether the script has a fault of that kind."""
        require("kind", kind, str, TargetError, hint=f"one of {', '.join(get_args(Kind))}")
        return any(fault.kind == kind for fault in self.faults)

    def fault_in(self, job: int) -> Fault | None:
        """Return the fault of a job, by its number from 1, or None."""
        job = whole_number("job", job, TargetError)
        struck = (f for place, f in enumerate(self.faults) if self._strikes(f, place, job))
        return next(struck, None)

    def _strikes(self, fault: Fault, place: int, job: int) -> bool:
        if fault.jobs is not None:
            return job in fault.jobs
        if fault.every is not None:
            return job % fault.every == 0
        if fault.probability is not None:
            return _draw(self.seed, place, job) < fault.probability * 2**64
        return False


def _draw(seed: int, place: int, job: int) -> int:
    """Return an integer below 2^64; numpy guarantees that `SeedSequence` is stable."""
    words = np.random.SeedSequence(seed, spawn_key=(place, job)).generate_state(1, np.uint64)
    return int(words[0])


class FaultyDriver(WrappedDriver):
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
        self, driver: Driver, script: FaultScript, *, may_crash: bool = False, jobs_before: int = 0
    ) -> None:
        require("driver", driver, Driver, TargetError, hint="pass a Driver")
        require("script", script, FaultScript, TargetError, hint="pass a FaultScript")
        self._job = whole_number("jobs_before", jobs_before, TargetError, 0)
        may_crash = flag("may_crash", may_crash, TargetError)
        if script.has("crash") and not may_crash:
            raise TargetError(
                "the fault script has a crash, which would end this process",
                hint="use cim-hal serve --faults, or pass may_crash=True",
            )
        super().__init__(driver)
        self._script = script

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

    def rebuild(self, reason: str) -> None:
        """Build the wrapped driver anew, if it can be."""
        rebuild = getattr(self._driver, "rebuild", None)
        if rebuild is not None:
            rebuild(reason)

    def _fail(self, fault: Fault, program: Program, stop: StopToken) -> Readout:
        share = 1.0 if fault.at is None else fault.at
        done = math.ceil(share * program.schedule.round_trips)
        if fault.kind in ENDING:
            if done:
                self._run_head(program, done, stop)
            self._log(fault)
            _end(fault.kind, done)
        readout = self._run_head(program, max(done, 1), stop)
        self._log(fault)
        if fault.kind == "hang":
            threading.Event().wait(fault.seconds)
        if fault.kind == "slow":
            _answer_late(fault.seconds, stop)
        return replace(readout, values=_damaged(fault.kind, readout.values))

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


def _end(kind: Kind, round_trips: int) -> NoReturn:
    if kind == "crash":
        os._exit(CRASHED)
    if kind == "exception":
        raise RuntimeError(f"injected: the driver raised at round trip {round_trips}")
    raise LockLostError(
        "injected: the cavity lost lock",
        hint="a real machine would be locked again, and the job repeated",
        at_round_trip=round_trips,
    )


def _answer_late(seconds: float | None, stop: StopToken) -> None:
    ends_at = time.monotonic() + (seconds or 0.0)
    while (left := ends_at - time.monotonic()) > 0:
        if stop.is_set():
            raise JobCancelledError("cancelled while the answer was late")
        time.sleep(min(left, POLL_S))


def _damaged(kind: Kind, values: np.ndarray) -> np.ndarray:
    if kind == "wrong_shape":
        return values[:, :-1]
    if kind == "wrong_dtype":
        return values.astype(np.complex64)
    if kind == "nan":
        values = values.astype(np.result_type(values, np.float32))
        values[-1, -1] = np.nan
    return values
