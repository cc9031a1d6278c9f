"""The list of checks, the loop over them, and the report on a machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from cim_hal.conformance import promises, sampling
from cim_hal.conformance.machine_under_test import CheckFailed, NotApplicable
from cim_hal.errors import CimError, JobTimeoutError

if TYPE_CHECKING:
    from cim_hal.conformance.machine_under_test import MachineUnderTest

__all__ = ["CHECKS", "Check", "Level", "Outcome", "Report", "Verdict", "conform"]

Level: TypeAlias = Literal["basic", "sampling", "reproducible", "timing", "extras"]
Outcome: TypeAlias = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """A check of one promise of a driver.

    Attributes
    ----------
    name : str
        Short stable name with hyphens.
    level : Level
        Kind of promise.
    promise : str
        The promise, as a sentence.
    run : callable
        Makes the check; may return a finding. Raises ``CheckFailed`` or ``NotApplicable``.
    """

    name: str
    level: Level
    promise: str
    run: Callable[[MachineUnderTest], str | None]


def _check(name: str, level: Level, run: Callable[[MachineUnderTest], str | None]) -> Check:
    """Return a check whose promise is the summary of its function."""
    promise = (run.__doc__ or "").splitlines()[0].removeprefix("Check that ")
    return Check(name, level, promise[0].upper() + promise[1:], run)


CHECKS: tuple[Check, ...] = (
    _check("constant-description", "basic", promises.constant_description),
    _check("smallest-program", "basic", promises.smallest_program),
    _check("largest-program", "basic", promises.largest_program),
    _check("many-runs", "basic", promises.many_runs),
    _check("schedules", "basic", promises.schedules),
    _check("refusals", "basic", promises.refusals),
    _check("coupling-signs", "sampling", sampling.coupling_signs),
    _check("field-signs", "sampling", sampling.field_signs),
    _check("right-places", "sampling", sampling.right_places),
    _check("extreme-levels", "sampling", sampling.extreme_levels),
    _check("spins-are-free", "sampling", sampling.spins_are_free),
    _check("no-memory", "sampling", sampling.no_memory),
    _check("fresh-readouts", "sampling", promises.fresh_readouts),
    _check("ground-states", "sampling", sampling.ground_states),
    _check("gauges", "sampling", sampling.gauges),
    _check("same-seed", "reproducible", promises.same_seed),
    _check("other-seeds", "reproducible", promises.other_seeds),
    _check("cancelling", "timing", promises.cancelling),
    _check("amplitudes", "extras", promises.amplitudes),
    _check("traces", "extras", promises.traces),
    _check("settings", "extras", promises.settings),
    _check("telemetry", "extras", promises.telemetry),
    _check("deliveries", "extras", promises.deliveries),
    _check("unplugging", "extras", promises.unplugging),
)


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check.

    Attributes
    ----------
    name, level, promise
        As of the check.
    outcome : Outcome
    said : str
        What was observed, what is wrong, or why the check was skipped.
    seconds : float
    """

    name: str
    level: Level
    promise: str
    outcome: Outcome
    said: str
    seconds: float


@dataclass(frozen=True)
class Report:
    """All verdicts on a machine.

    Attributes
    ----------
    device : str
        Name of the machine.
    seed : int
    verdicts : tuple of Verdict
    """

    device: str
    seed: int
    verdicts: tuple[Verdict, ...]

    @property
    def conforms(self) -> bool:
        """Whether no check failed, and at least one passed."""
        return self.count("failed") == 0 and self.count("passed") > 0

    def count(self, outcome: Outcome) -> int:
        """Return the number of checks with this outcome."""
        return sum(verdict.outcome == outcome for verdict in self.verdicts)


def conform(machine: MachineUnderTest, checks: Sequence[Check] = CHECKS) -> Iterator[Verdict]:
    """Make checks one after another, and yield their verdicts.

    A failed check does not end the loop, and an error of the machine is a failed check. Where a
    job goes on although it was cancelled, the machine is taken: the checks that are left are
    skipped.

    Parameters
    ----------
    machine : MachineUnderTest
    checks : sequence of Check
    """
    taken = ""  # why no further check can be made
    for check in checks:
        began = time.perf_counter()
        outcome, said, job = ("skipped", taken, None) if taken else _made(check, machine)
        if job is not None and machine.ignores_stop(job):
            said = f"{said}. The job was cancelled and goes on: the driver ignores stop"
            taken = f"not made: the driver ignores stop since {check.name}"
        seconds = time.perf_counter() - began
        yield Verdict(check.name, check.level, check.promise, outcome, said, seconds)


def _made(check: Check, machine: MachineUnderTest) -> tuple[Outcome, str, str | None]:
    """Make a check; return its outcome, what was seen, and the job that was not over in time."""
    try:
        return "passed", check.run(machine) or "", None
    except NotApplicable as reason:
        return "skipped", str(reason), None
    except CheckFailed as finding:
        return "failed", str(finding), _unfinished(finding.__cause__)
    except CimError as error:
        return "failed", f"{error.code}: {error}", _unfinished(error)


def _unfinished(error: BaseException | None) -> str | None:
    """Return the id of the job that was not over in time, if that was the error."""
    return str(error.details["job"]) if isinstance(error, JobTimeoutError) else None
