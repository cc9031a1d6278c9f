"""One solver at work on one instance: runs of growing length, until its time is spent."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from instances import TARGETS
from session import SolverError

if TYPE_CHECKING:
    from instances import Instance
    from numpy.typing import NDArray
    from session import Answer, Session
    from solvers import Solver

__all__ = ["LENGTHS", "RUNS", "Trial", "fits_memory"]

RUNS = 64
# Runs from which success probabilities are estimated, at one length.
LEAST_RUNS = 128
MOST_RUNS = 512
COARSE = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
# ... and those in between, visited while the first target is sometimes reached.
LENGTHS = tuple(sorted((*COARSE, 30, 70, 150, 300, 700, 1500, 3000, 7000)))
# Instances of more spins are probed with few runs.
SMALL = 1000
FEW_RUNS = 16
LARGEST_MEMORY = 4e9
# A length is also tried if it will not take more than this times the budget.
OVERDRAFT = 2.0
# Runs of this probability need no repetition.
CERTAIN = 0.99


@dataclass
class Trial:
    """One solver at work on one instance.

    Attributes
    ----------
    solver : Solver
    instance : Instance
    budget_s : float
    end : str
        Why it stopped; empty while it goes on.
    """

    solver: Solver
    instance: Instance
    budget_s: float
    end: str = ""
    _spent_s: float = 0.0
    _lengths: dict[int, _Length] = field(default_factory=dict)
    _hopeless: set[int] = field(default_factory=set)
    _best_failure: float = 0.0
    _step_s: float = 0.0  # of one run

    def goes_on(self, steps: int) -> bool:
        """Whether to try this number of steps."""
        if self.end:
            return False
        last = list(self._lengths.values())[-1] if self._lengths else None
        if steps not in COARSE and (last is None or not last.is_promising):
            return False
        next_s = self._step_s * steps * LEAST_RUNS
        if last is not None and last.is_certain:
            self.end = "certain"
        elif self._spent_s > self.budget_s or next_s > OVERDRAFT * self.budget_s:
            self.end = "budget"
        elif not fits_memory(self.solver, self.instance, steps, RUNS):
            self.end = "memory"
        return not self.end

    def probe(self, session: Session, steps: int) -> None:
        """Make a few runs, to pass over lengths at which none comes near."""
        few = RUNS if len(self.instance.J) <= SMALL else FEW_RUNS
        if not self._lengths and not self._hopeless:
            self._run(session, steps, few, seed=0)  # imports, caches, compiled kernels
        answer = self._run(session, steps, few, seed=999)
        if answer is None:
            return
        self._step_s = answer.processor_s / few / steps
        self._spent_s += answer.processor_s
        best = float(self.instance.quality(answer.spins).max())
        if best < TARGETS[0]:
            self._hopeless.add(steps)
            self._best_failure = max(self._best_failure, best)

    def batch(self, session: Session, steps: int, *, seed: int) -> None:
        """Make a batch of runs."""
        answer = self._run(session, steps, RUNS, seed=1000 * steps + seed)
        if answer is not None:
            self._spent_s += answer.processor_s
            length = self._lengths.setdefault(steps, _Length())
            length.add(answer, self.instance.quality(answer.spins))

    def wants_more(self, steps: int) -> bool:
        """Whether there are too few runs of this length."""
        if self.end or steps in self._hopeless:
            return False
        length = self._lengths.get(steps)
        if length is None or length.runs < LEAST_RUNS:
            return True
        return length.runs < MOST_RUNS and length.processor_s < self.budget_s / len(LENGTHS)

    def cell(self) -> dict[str, Any]:
        """Return what is kept."""
        lengths = {str(steps): length.cell() for steps, length in self._lengths.items()}
        best = [self._best_failure, *(length["best"] for length in lengths.values())]
        end = self.end or "longest"
        return {"lengths": lengths, "end": end, "best": max(best), "spent_s": self._spent_s}

    def _run(self, session: Session, steps: int, runs: int, *, seed: int) -> Answer | None:
        try:
            return session.run(self.solver, self.instance, steps=steps, runs=runs, seed=seed)
        except SolverError as error:
            self.end = f"error: {error}"
            return None


@dataclass
class _Length:
    """Runs of one length."""

    seconds: list[float] = field(default_factory=list)
    processor_s: float = 0.0
    qualities: list[float] = field(default_factory=list)

    @property
    def runs(self) -> int:
        return len(self.qualities)

    @property
    def successes(self) -> list[int]:
        # a share of an integer is as good as the integer: no more than rounding is forgiven
        reached = np.array(self.qualities)
        return [int((reached >= target - 1e-12).sum()) for target in TARGETS]

    @property
    def is_promising(self) -> bool:
        """Whether lengths nearby may serve the first target better."""
        return 0 < self.successes[0] < CERTAIN * self.runs

    @property
    def is_certain(self) -> bool:
        return self.successes[-1] >= CERTAIN * self.runs

    def add(self, answer: Answer, qualities: NDArray[np.float64]) -> None:
        self.seconds.append(answer.seconds)
        self.processor_s += answer.processor_s
        self.qualities += qualities.tolist()

    def cell(self) -> dict[str, Any]:
        return {
            "runs": self.runs,
            "run_s": statistics.median(self.seconds) / RUNS,
            "successes": self.successes,
            "best": max(self.qualities),
            "mean": statistics.fmean(self.qualities),
        }


def fits_memory(solver: Solver, instance: Instance, steps: int, runs: int) -> bool:
    """Whether a batch leaves the computer its memory."""
    return float(solver.bytes_per_update) * steps * runs * len(instance.J) < LARGEST_MEMORY
