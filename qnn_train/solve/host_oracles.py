"""Oracles without a machine, to compare one with: descents, annealing, exact minima; and a polish.

What a machine adds to a training is the difference to the same training with one of these. All
take and give what `SessionOracle` does: as many samples a call, and a seed for each call.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property

import numpy as np

from cim_hal.text import counted
from qnn_train.arguments import checked
from qnn_train.arrays import BitArray, FloatArray, IntArray
from qnn_train.checks import COUNT, SEED
from qnn_train.errors import TrainingError
from qnn_train.solve.exact import cp_sat, float64_resolves, program_of
from qnn_train.solve.oracle import (
    MAX_EXHAUSTIVE_BITS,
    Answer,
    ExhaustiveOracle,
    Oracle,
    ParallelOracle,
    call_seed,
    evaluate,
    minimize_all,
    qubo_of,
)

__all__ = [
    "AnnealingOracle",
    "DescentOracle",
    "ExactOracle",
    "HardnessProbe",
    "HardnessRecord",
    "PolishRecord",
    "PolishedOracle",
    "QuadraticForm",
]

# A flip counts as a gain from this share of the largest field a bit can have: rounding is less.
TOLERANCE = 1e-12
SAME = 1e-9  # gaps up to this are rounding
ALL_OF_FIRST, EVERY = 64, 16
COLDEST = 1e-3  # in units of the hottest temperature


@dataclass(frozen=True, eq=False)
class QuadraticForm:
    """A gradient as the kernels of `flips` take it."""

    gradient: FloatArray  # shape (n + 1, n + 1)
    coupling: FloatArray  # shape (n, n)
    linear: FloatArray  # shape (n,)

    @classmethod
    def of(cls, gradient: FloatArray) -> QuadraticForm:
        """Take the bits of a form (1;x)ᵀ G (1;x) apart."""
        Q, _ = qubo_of(gradient)
        linear = Q.diagonal().copy()
        coupling = np.ascontiguousarray(2.0 * Q)
        np.fill_diagonal(coupling, 0.0)
        return cls(gradient, coupling, linear)

    @cached_property
    def tolerance(self) -> float:
        """What a flip must gain at least."""
        largest = np.abs(self.linear) + np.abs(self.coupling).sum(axis=1)
        return TOLERANCE * float(largest.max(initial=0.0))

    def descended(self, bits: BitArray) -> tuple[BitArray, IntArray]:
        """Return where steepest one-flip descents from rows of bits end, and their flips."""
        from qnn_train.solve.flips import descend  # numba takes long to import

        ends, flips = np.array(bits, np.int8, order="C"), np.zeros(len(bits), np.int64)
        descend(self.coupling, self.linear, ends, self.tolerance, flips)
        return ends, flips

    def annealed(self, bits: BitArray, sweeps: int, streams: FloatArray) -> BitArray:
        """Return where simulated annealing from rows of bits ends, temperatures being geometric.

        From the largest root mean square of a bit's field over random bits to a thousandth of it.
        """
        from qnn_train.solve.flips import anneal

        mean = self.linear + 0.5 * self.coupling.sum(axis=1)
        hottest = np.sqrt((mean**2 + 0.25 * (self.coupling**2).sum(axis=1)).max(initial=0.0))
        ends = np.array(bits, np.int8, order="C")
        temperatures = max(hottest, np.finfo(float).tiny) * np.geomspace(1.0, COLDEST, sweeps)
        anneal(self.coupling, self.linear, ends, temperatures, streams)
        return ends


@dataclass(eq=False)
class _HostOracle:
    """What searches on the host share.

    Parameters
    ----------
    n_samples : int
        Vectors of an answer, as a call of a machine has runs.
    seed : int
        Call t draws from a stream of this seed and t.
    calls : int
        Calls that were made before, where a training goes on.
    """

    n_samples: int
    _: KW_ONLY
    seed: int
    calls: int = 0

    def __post_init__(self) -> None:
        self.n_samples = COUNT("n_samples", self.n_samples)
        self.seed = SEED("seed", self.seed)

    def minimize(self, gradient: FloatArray) -> Answer:
        """Search from `n_samples` random vectors; all ends are returned, the best first."""
        rng = np.random.default_rng(call_seed(self.seed, self.calls))
        starts = rng.integers(0, 2, (self.n_samples, len(gradient) - 1), np.int8)
        ends = self._searched(QuadraticForm.of(gradient), starts, rng)
        self.calls += 1
        return evaluate(gradient, ends)

    @abstractmethod
    def _searched(
        self, form: QuadraticForm, starts: BitArray, rng: np.random.Generator
    ) -> BitArray:
        """Return where the searches end."""


@checked
@dataclass(eq=False)
class DescentOracle(_HostOracle):
    """Steepest one-flip descents from random bits, on the host: the least a machine must beat.

    Parameters
    ----------
    n_samples : int
        Descents of a call.
    seed : int
        Call t draws from a stream of this seed and t.
    calls : int
        Calls that were made before, where a training goes on.

    Examples
    --------
    >>> import numpy as np
    >>> G = np.array([[0.0, -1.0, 0.5], [-1.0, 0.0, 1.0], [0.5, 1.0, 0.0]])
    >>> DescentOracle(4, seed=0).minimize(G).best.tolist()
    [1, 0]
    """

    def _searched(
        self,
        form: QuadraticForm,
        starts: BitArray,
        rng: np.random.Generator,  # noqa: ARG002
    ) -> BitArray:
        return form.descended(starts)[0]


@checked
@dataclass(eq=False)
class AnnealingOracle(_HostOracle):
    """Simulated annealing of single bits on the host, each sample ended by a descent.

    Temperatures fall in equal ratios from the largest root mean square of a bit's field over random
    bits to a thousandth of it.

    Parameters
    ----------
    n_samples : int
        Annealings of a call.
    sweeps : int
        Visits of every bit.
    seed : int
        Call t draws from a stream of this seed and t.
    calls : int
        Calls that were made before, where a training goes on.
    """

    _: KW_ONLY
    sweeps: int = 100

    def _searched(
        self, form: QuadraticForm, starts: BitArray, rng: np.random.Generator
    ) -> BitArray:
        streams = rng.integers(0, 2**64, len(starts), np.uint64)
        return form.descended(form.annealed(starts, COUNT("sweeps", self.sweeps), streams))[0]


@checked
@dataclass(eq=False)
class ExactOracle:
    """Proven minima on the host: all vectors are tried up to 18 bits, else CP-SAT is asked.

    CP-SAT takes integers, and is also asked where float64 would lose the smallest coefficient in
    sums of the largest. The minimum is proven up to less than the smallest coefficient, and up to
    2⁻⁵⁰ of the sum of all magnitudes for each of them; `cp_sat` states the error of each proof.

    Parameters
    ----------
    n_samples : int
        Vectors of an answer at most, the best ones; CP-SAT gives one.
    seconds : float
        Time limit of CP-SAT for a call.
    calls : int
        Calls that were made before, where a training goes on.
    """

    n_samples: int
    _: KW_ONLY
    seconds: float = 60.0
    calls: int = 0

    def minimize(self, gradient: FloatArray) -> Answer:
        """Find the minimum.

        Raises
        ------
        TrainingError
            CP-SAT is asked and OR-tools is not installed, or no proof in time.
        """
        n_bits = len(gradient) - 1
        self.calls += 1
        program = program_of(gradient)
        if n_bits <= MAX_EXHAUSTIVE_BITS and float64_resolves(gradient):
            return ExhaustiveOracle(n_samples=self.n_samples).minimize(gradient)
        found = cp_sat(program, seconds=self.seconds)
        if not found.proven:
            raise TrainingError(
                f"no exact minimum of a problem of {counted(n_bits, 'bit')}"
                f" within {self.seconds:g} s",
                hint="smaller blocks or programs, or another oracle",
            )
        return evaluate(gradient, found.bits[None])


@dataclass(frozen=True)
class PolishRecord:
    """What a polish of samples gained, and what it cost.

    Attributes
    ----------
    samples, changed : int
        Samples polished, and those that were no local minima.
    flips : int
        Of all samples together.
    gain : float
        By how much the values of the forms fell, summed over samples.
    seconds : float
        Wall time on the host.
    """

    samples: int = 0
    changed: int = 0
    flips: int = 0
    gain: float = 0.0
    seconds: float = 0.0

    def report(self) -> dict[str, float]:
        """Return what a report tells."""
        return {
            "samples": self.samples,
            "changed_share": self.changed / self.samples,
            "flips": self.flips,
            "mean_gain": self.gain / self.samples,
            "seconds": self.seconds,
        }

    def plus(self, before: Answer, after: Answer, flips: IntArray, seconds: float) -> PolishRecord:
        """Return the record with one more answer."""
        return PolishRecord(
            self.samples + len(flips),
            self.changed + int(np.count_nonzero(flips)),
            self.flips + int(flips.sum()),
            self.gain + float(before.values.sum() - after.values.sum()),
            self.seconds + seconds,
        )


@checked
@dataclass(eq=False)
class PolishedOracle(ParallelOracle):
    """Another oracle whose samples each end in a one-flip descent, on the host.

    The descent is on the form itself, with its true coefficients, so that no sample that is
    returned has a single flip that lowers its value. A machine with few bits of a coupling, or one
    that stops a few flips early, gains by it; so do random samples: polished, they are
    `DescentOracle`, the control.

    Parameters
    ----------
    oracle : Oracle
    record : PolishRecord
        Of the calls that were made before; it grows with each call.
    """

    oracle: Oracle
    _: KW_ONLY
    record: PolishRecord = field(default_factory=PolishRecord)

    def minimize_all(self, gradients: Sequence[FloatArray]) -> list[Answer]:
        """Answer for each gradient, polished."""
        answers = minimize_all(self.oracle, gradients)
        return [self._polished(*pair) for pair in zip(gradients, answers, strict=True)]

    def _polished(self, gradient: FloatArray, answer: Answer) -> Answer:
        started = time.perf_counter()
        ends, flips = QuadraticForm.of(gradient).descended(answer.bits)
        polished = evaluate(gradient, ends, cost=answer.cost)
        seconds = time.perf_counter() - started
        self.record = self.record.plus(answer, polished, flips, seconds)
        return polished


@dataclass(frozen=True)
class HardnessRecord:
    """How hard problems are for the simplest search: one one-flip descent from random bits.

    Attributes
    ----------
    problems, solved : int
        Problems that were looked at, and those where the descent is as good as the best known:
        the better of the descent and the answer of the oracle that was asked.
    gap : float
        Sum over problems of what the descent lacks of the best known value, in units of the
        difference between that value and the mean over random bits.
    seconds : float
        Wall time on the host.
    """

    problems: int = 0
    solved: int = 0
    gap: float = 0.0
    seconds: float = 0.0

    def report(self) -> dict[str, float]:
        """Return what a report tells."""
        return {
            "problems": self.problems,
            "solved_share": self.solved / self.problems,
            "mean_gap": self.gap / self.problems,
            "seconds": self.seconds,
        }

    def plus(self, gap: float, seconds: float) -> HardnessRecord:
        """Return the record with one more problem."""
        return HardnessRecord(
            self.problems + 1,
            self.solved + int(gap <= SAME),
            self.gap + gap,
            self.seconds + seconds,
        )


@checked
@dataclass(eq=False)
class HardnessProbe(ParallelOracle):
    """Another oracle, beside which one descent from random bits solves some of the problems.

    The answers are those of the oracle. All of the first 64 problems are looked at, and every 16th
    from there on.

    Parameters
    ----------
    oracle : Oracle
    seed : int
        Problem t starts from bits of a stream of this seed and t.
    n_seen : int
        Problems of the calls that were made before.
    record : HardnessRecord
        Of those problems; it grows with each that is looked at.
    """

    oracle: Oracle
    _: KW_ONLY
    seed: int
    n_seen: int = 0
    record: HardnessRecord = field(default_factory=HardnessRecord)

    def minimize_all(self, gradients: Sequence[FloatArray]) -> list[Answer]:
        """Answer for each gradient."""
        answers = minimize_all(self.oracle, gradients)
        for gradient, answer in zip(gradients, answers, strict=True):
            if self.n_seen < ALL_OF_FIRST or self.n_seen % EVERY == 0:
                self._look(gradient, float(answer.values[0]))
            self.n_seen += 1
        return answers

    def _look(self, gradient: FloatArray, found: float) -> None:
        started = time.perf_counter()
        form, n_bits = QuadraticForm.of(gradient), len(gradient) - 1
        start = np.random.default_rng([self.seed, 5, self.n_seen]).integers(
            0, 2, (1, n_bits), np.int8
        )
        value = float(evaluate(gradient, form.descended(start)[0]).values[0])
        best = min(value, found)
        mean = gradient[0, 0] + 0.5 * form.linear.sum() + 0.125 * form.coupling.sum()
        gap = (value - best) / (mean - best) if mean > best else 0.0
        self.record = self.record.plus(float(gap), time.perf_counter() - started)
