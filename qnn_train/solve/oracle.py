r"""Oracles: :math:`G \mapsto \arg\min_x\ (1;x)^T G\,(1;x)` over bits."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np

from cim_hal import CimError, IsingModel, PumpSchedule, SampleSet
from cim_hal.text import counted
from qnn_train.arguments import checked
from qnn_train.arrays import BitArray, FloatArray
from qnn_train.errors import AssemblyError, TrainingError

__all__ = [
    "Answer",
    "ExhaustiveOracle",
    "Oracle",
    "PackedOracle",
    "ParallelOracle",
    "Pending",
    "Sampler",
    "SessionOracle",
    "check_finite",
    "evaluate",
    "every_vector",
    "from_ising",
    "largest",
    "minimize_all",
    "qubo_of",
    "to_ising",
]


MAX_EXHAUSTIVE_BITS = 18


@dataclass(frozen=True, eq=False)
class Answer:
    """Bits an oracle found, the best first.

    Attributes
    ----------
    bits : int8 array, shape (samples, n)
    values : float64 array, shape (samples,)
        (1;x)ᵀ G (1;x), ascending, computed from G itself.
    cost : int
        Jobs of a machine it took.
    """

    bits: BitArray
    values: FloatArray
    cost: int = 1

    @property
    def best(self) -> BitArray:
        """Bits of the least value, int8, shape (n,)."""
        return self.bits[0]


class Oracle(Protocol):
    """Anything that minimizes a quadratic form over bits, perhaps not quite."""

    def minimize(self, gradient: FloatArray) -> Answer:
        """Answer for a symmetric `gradient` of shape (n + 1, n + 1)."""
        ...


@runtime_checkable
class ParallelOracle(Protocol):
    """An oracle that takes independent problems together: several machines, or one large task."""

    def minimize(self, gradient: FloatArray) -> Answer:
        """Answer for one gradient."""
        return self.minimize_all([gradient])[0]

    @abstractmethod
    def minimize_all(self, gradients: Sequence[FloatArray]) -> list[Answer]:
        """Answer for each gradient, in their order."""


class Pending(Protocol):
    """Samples to come."""

    def result(self) -> SampleSet:
        """Wait for them."""
        ...

    def cancel(self) -> object:
        """Do without them."""
        ...


class Sampler(Protocol):
    """A machine or several: `cim_hal.Session`, or anything that takes jobs as it does."""

    def submit(
        self,
        model: IsingModel,
        schedule: PumpSchedule | None = None,
        *,
        n_runs: int = 1,
        seed: int | None = None,
        coupling_bits: int | None = None,
        lowering: str = "max",
        settings: Mapping[str, float] | None = None,
    ) -> Pending:
        """Queue a job and return at once."""
        ...


def evaluate(gradient: FloatArray, bits: BitArray, *, cost: int = 1) -> Answer:
    """Return an answer of given bits (samples, n), the best first."""
    Q, offset = qubo_of(gradient)
    vectors = bits.astype(np.float64)
    values = np.einsum("rn,rn->r", vectors @ Q, vectors) + offset
    order = np.argsort(values, kind="stable")
    return Answer(bits[order], values[order], cost)


def qubo_of(gradient: FloatArray) -> tuple[FloatArray, float]:
    """Return Q (n, n) and c with xᵀQx + c = (1;x)ᵀ G (1;x); refuse G that is not finite."""
    check_finite(gradient)
    Q = gradient[1:, 1:].copy()
    Q[np.diag_indices_from(Q)] += 2.0 * gradient[0, 1:]
    return Q, float(gradient[0, 0])


def check_finite(gradient: FloatArray) -> None:
    """Refuse a form that has no minimum."""
    if not np.isfinite(gradient).all():
        raise AssemblyError("a form with NaN or infinite coefficients has no minimum")


@checked
@dataclass(eq=False)
class SessionOracle(ParallelOracle):
    """An Ising machine as oracle: one job a call, every sample returned.

    Parameters
    ----------
    session : Sampler
        A session, or a pool of machines.
    n_runs : int
        Runs of the machine a call.
    seed : int
        Call t runs with a seed derived from this one and t.
    coupling_bits : int, optional
        Bits of a coupling; those of the machine by default.
    lowering : str
        Policy by which a problem is brought to these bits, see `cim_hal.lower_by`.
    schedule : PumpSchedule, optional
        The machine's own by default.
    settings : mapping of str to float, optional
        Settings of the machine, see `Session.sample`.
    ahead : int
        Jobs that may wait at once.
    calls : int
        Calls that were made before, where a training goes on.
    """

    session: Sampler
    _: KW_ONLY
    n_runs: int
    seed: int
    coupling_bits: int | None = None
    lowering: str = "max"
    schedule: PumpSchedule | None = None
    settings: Mapping[str, float] | None = None
    ahead: int = 8
    calls: int = 0

    def minimize_all(self, gradients: Sequence[FloatArray]) -> list[Answer]:
        """Queue a job for each gradient, a few ahead, and collect them in order."""
        waiting: deque[Pending] = deque()
        answers = []
        try:
            for gradient in gradients:
                if len(waiting) == self.ahead:
                    answers.append(_collected(waiting))
                waiting.append(self._submit(gradient))
            while waiting:
                answers.append(_collected(waiting))
        except BaseException:
            for job in waiting:
                with suppress(CimError):
                    job.cancel()
            raise
        return answers

    def _submit(self, gradient: FloatArray) -> Pending:
        Q, offset = qubo_of(gradient)
        job = self.session.submit(
            IsingModel.from_qubo(Q, offset),
            self.schedule,
            n_runs=self.n_runs,
            seed=call_seed(self.seed, self.calls),
            coupling_bits=self.coupling_bits,
            lowering=self.lowering,
            settings=self.settings,
        )
        self.calls += 1
        return job


@checked
@dataclass(eq=False, kw_only=True)
class ExhaustiveOracle:
    """Every vector of bits, the best first: the exact answer for few bits, and a witness.

    Parameters
    ----------
    n_samples : int
        Number of vectors returned.
    """

    n_samples: int = 1

    def minimize(self, gradient: FloatArray) -> Answer:
        """Try all.

        Raises
        ------
        AssemblyError
            More than 18 bits.
        """
        n = len(gradient) - 1
        if n > MAX_EXHAUSTIVE_BITS:
            raise AssemblyError(
                f"{counted(n, 'bit')} are too many to try all",
                hint=f"at most {MAX_EXHAUSTIVE_BITS}",
            )
        every = evaluate(gradient, every_vector(n))
        return Answer(every.bits[: self.n_samples], every.values[: self.n_samples])


def _collected(waiting: deque[Pending]) -> Answer:
    """Wait for the first job; it counts as waiting until its samples are there."""
    samples = waiting[0].result()
    waiting.popleft()
    return Answer(samples.as_bits(), samples.energies)


@lru_cache(maxsize=2)
def every_vector(n_bits: int) -> BitArray:
    """Return all vectors of bits, int8, shape (2^n, n)."""
    return ((np.arange(2**n_bits)[:, None] >> np.arange(n_bits)) & 1).astype(np.int8)


def call_seed(seed: int, call: int) -> int:
    """Return the seed of one call, below 2^31."""
    return int(np.random.SeedSequence([seed, call]).generate_state(1)[0] >> 1)


def to_ising(gradient: FloatArray) -> FloatArray:
    """Return M with (1;σ)ᵀ M (1;σ) = (1;x)ᵀ G (1;x) for x = (1 + σ)/2."""
    ising = 0.25 * gradient
    ising[0, 0] = gradient[0, 0] + gradient[0, 1:].sum() + 0.25 * gradient[1:, 1:].sum()
    ising[0, 1:] = 0.5 * gradient[0, 1:] + 0.25 * gradient[1:, 1:].sum(axis=0)
    ising[1:, 0] = ising[0, 1:]
    return ising


def from_ising(ising: FloatArray) -> FloatArray:
    """Return G of M, see `to_ising`."""
    gradient = 4.0 * ising
    gradient[0, 0] = ising[0, 0] - 2 * ising[0, 1:].sum() + ising[1:, 1:].sum()
    gradient[0, 1:] = 2 * ising[0, 1:] - 2 * ising[1:, 1:].sum(axis=0)
    gradient[1:, 0] = gradient[0, 1:]
    return gradient


def largest(ising: FloatArray) -> float:
    """Return the largest coupling or field by magnitude."""
    return float(np.abs(np.triu(ising, 1)).max(initial=0.0))


@checked
def minimize_all(oracle: Oracle, gradients: Sequence[FloatArray]) -> list[Answer]:
    """Answer for each gradient: together where the oracle can, else one after the other."""
    if isinstance(oracle, ParallelOracle):
        return oracle.minimize_all(gradients)
    return [oracle.minimize(gradient) for gradient in gradients]


@checked
@dataclass(eq=False)
class PackedOracle(ParallelOracle):
    """Puts neighbouring problems together into a task as long as they fit.

    The samples of a task are cut into blocks, each ranked by its own values: the best sample of one
    may come from another run than that of the next. All blocks share one integer scale, so they
    are scaled to equal largest coefficients first; this costs resolution.

    Parameters
    ----------
    oracle : Oracle
    max_bits : int
        Bits of a task: the spins of the machine, one less where it has no field.
    """

    oracle: Oracle
    max_bits: int

    def minimize_all(self, gradients: Sequence[FloatArray]) -> list[Answer]:
        """Answer for each gradient; the first of a task carries its cost.

        Raises
        ------
        TrainingError
            A problem with more bits than a task may have.
        """
        groups = self._groups([len(gradient) - 1 for gradient in gradients])
        tasks = [block_diagonal([gradients[at] for at in group]) for group in groups]
        answers = []
        for group, answer in zip(groups, minimize_all(self.oracle, tasks), strict=True):
            start = 0
            for at in group:
                stop = start + len(gradients[at]) - 1
                cost = answer.cost if at == group[0] else 0
                answers.append(evaluate(gradients[at], answer.bits[:, start:stop], cost=cost))
                start = stop
        return answers

    def _groups(self, sizes: list[int]) -> list[list[int]]:
        groups: list[list[int]] = []
        room = 0
        for at, size in enumerate(sizes):
            if size > self.max_bits:
                raise TrainingError(
                    f"a problem of {counted(size, 'bit')} for a task of {self.max_bits}",
                    hint="fewer samples in a part, or a larger machine",
                )
            if size > room:
                groups.append([])
                room = self.max_bits
            groups[-1].append(at)
            room -= size
        return groups


def block_diagonal(gradients: Sequence[FloatArray]) -> FloatArray:
    """Return G of all blocks side by side, each scaled to a largest Ising coefficient of 1."""
    size = 1 + sum(len(gradient) - 1 for gradient in gradients)
    joined = np.zeros((size, size))
    start = 1
    for gradient in gradients:
        stop = start + len(gradient) - 1
        scale = 1.0 / (largest(to_ising(gradient)) or 1.0)
        joined[0, 0] += scale * gradient[0, 0]
        joined[0, start:stop] = joined[start:stop, 0] = scale * gradient[0, 1:]
        joined[start:stop, start:stop] = scale * gradient[1:, 1:]
        start = stop
    return joined
