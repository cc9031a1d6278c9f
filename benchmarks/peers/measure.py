"""Speed and time to solution, of solvers that take turns so that the load is alike for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from session import SolverError
from trials import LENGTHS, RUNS, Trial, fits_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from instances import Instance
    from session import Session
    from solvers import Solver

__all__ = ["Effort", "solve", "time_speeds"]

# Enough of a loop to be timed once, seconds.
LONG_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long to measure.

    Attributes
    ----------
    repeats : int
        Of a speed.
    loop_s : float
        Time of the longer of two runs whose difference is a speed.
    cell_s : float
        Processor time of one solver on one instance, to find its time to solution.
    large_cell_s : float
        The same on dense instances of 2000 spins.
    """

    repeats: int
    loop_s: float
    cell_s: float
    large_cell_s: float

    def budget_s(self, instance: Instance) -> float:
        """Return the time of one solver on an instance."""
        return self.large_cell_s if instance.name == "K2000" else self.cell_s


def time_speeds(
    session: Session, instance: Instance, solvers: Sequence[Solver], effort: Effort
) -> dict[str, dict[str, Any]]:
    """Return spin-updates per second by solver, from the difference of two lengths of run.

    Each thread gets as many runs as a lone one.
    """
    cells: dict[str, dict[str, Any]] = {}
    for repeat in range(effort.repeats):
        for solver in solvers:
            try:
                if repeat == 0:
                    cells[solver.name] = _prepare(session, instance, solver, effort)
                cell = cells[solver.name]
                if repeat < cell.get("repeats", 0):
                    cell["speeds"] += _speeds(session, instance, solver, cell, seed=repeat)
            except SolverError as error:
                cells[solver.name] = {"error": str(error)}
    return cells


def _prepare(
    session: Session, instance: Instance, solver: Solver, effort: Effort
) -> dict[str, Any]:
    runs = RUNS * session.threads
    steps, seconds = _long_enough(session, instance, solver, runs, effort.loop_s)
    repeats = effort.repeats if seconds < LONG_S else 1
    return {"speeds": [], "steps": steps, "runs": runs, "repeats": repeats}


def _long_enough(
    session: Session, instance: Instance, solver: Solver, runs: int, loop_s: float
) -> tuple[int, float]:
    """Return a number of steps that takes about `loop_s`, and the time it took."""
    steps = 4
    session.run(solver, instance, steps=steps, runs=runs, seed=1)  # imports, compiled kernels
    while True:
        seconds = session.run(solver, instance, steps=steps, runs=runs, seed=1).seconds
        fits = fits_memory(solver, instance, 2 * steps, runs)
        if seconds > loop_s / 2 or steps >= LENGTHS[-1] or not fits:
            return steps, seconds
        wanted = int(steps * loop_s / max(seconds, 1e-5))
        steps = min(max(wanted, 2 * steps), 10 * steps, LENGTHS[-1])


def _speeds(
    session: Session, instance: Instance, solver: Solver, cell: dict[str, Any], *, seed: int
) -> list[float]:
    """Return spin-updates per second; nothing where the shorter run took longer."""
    runs, lengths = cell["runs"], (max(2, cell["steps"] // 4), cell["steps"])
    short_s, long_s = (
        session.run(solver, instance, steps=steps, runs=runs, seed=seed).seconds
        for steps in lengths
    )
    updates = len(instance.J) * runs * (lengths[1] - lengths[0])
    return [updates / (long_s - short_s)] if long_s > short_s else []


def solve(
    session: Session, instance: Instance, solvers: Sequence[Solver], effort: Effort
) -> dict[str, dict[str, Any]]:
    """Return, by solver, what runs of growing length reach and how long they take."""
    trials = [Trial(solver, instance, effort.budget_s(instance)) for solver in solvers]
    for steps in LENGTHS:
        playing = [trial for trial in trials if trial.goes_on(steps)]
        for trial in playing:
            trial.probe(session, steps)
        rounds = 0
        while playing := [trial for trial in playing if trial.wants_more(steps)]:
            for trial in playing:
                trial.batch(session, steps, seed=rounds)
            rounds += 1
    return {trial.solver.name: trial.cell() for trial in trials}
