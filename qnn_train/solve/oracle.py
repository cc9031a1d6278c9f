r"""Oracles: :math:`G \mapsto \arg\min_x\ (1;x)^T G\,(1;x)` over bits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from cim_hal import IsingModel
from qnn_train.errors import AssemblyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal import PumpSchedule, Session

__all__ = ["Answer", "ExhaustiveOracle", "Oracle", "SessionOracle", "qubo_of"]

MAX_EXHAUSTIVE_BITS = 18


@dataclass(frozen=True, eq=False)
class Answer:
    """Bits an oracle found, the best first.

    Attributes
    ----------
    bits : int8 array, shape (samples, n)
    values : float64 array, shape (samples,)
        (1;x)ᵀ G (1;x), ascending, computed from G itself.
    """

    bits: NDArray[np.int8]
    values: NDArray[np.float64]

    @property
    def best(self) -> NDArray[np.int8]:
        """Bits of the least value, int8, shape (n,)."""
        return self.bits[0]


class Oracle(Protocol):
    """Anything that minimizes a quadratic form over bits, perhaps not quite."""

    def minimize(self, gradient: NDArray[np.float64]) -> Answer:
        """Answer for a symmetric `gradient` of shape (n + 1, n + 1)."""
        ...


def qubo_of(gradient: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return Q (n, n) and c with xᵀQx + c = (1;x)ᵀ G (1;x)."""
    Q = gradient[1:, 1:].copy()
    Q[np.diag_indices_from(Q)] += 2.0 * gradient[0, 1:]
    return Q, float(gradient[0, 0])


class SessionOracle:
    """An Ising machine as oracle: one job a call, every sample returned.

    Parameters
    ----------
    session : cim_hal.Session
    n_runs : int
        Runs of the machine a call.
    seed : int
        Call t runs with a seed derived from this one and t.
    coupling_bits : int, optional
        Bits of a coupling; those of the machine by default.
    schedule : PumpSchedule, optional
        The machine's own by default.
    """

    def __init__(
        self,
        session: Session,
        *,
        n_runs: int,
        seed: int,
        coupling_bits: int | None = None,
        schedule: PumpSchedule | None = None,
    ) -> None:
        self._session = session
        self._n_runs = n_runs
        self._seed = seed
        self._coupling_bits = coupling_bits
        self._schedule = schedule
        self.calls = 0

    def minimize(self, gradient: NDArray[np.float64]) -> Answer:
        """Lower the gradient to the machine and sample it."""
        Q, offset = qubo_of(gradient)
        samples = self._session.sample(
            IsingModel.from_qubo(Q, offset),
            schedule=self._schedule,
            n_runs=self._n_runs,
            seed=call_seed(self._seed, self.calls),
            coupling_bits=self._coupling_bits,
        )
        self.calls += 1
        return Answer(samples.as_bits(), samples.energies)


class ExhaustiveOracle:
    """Every vector of bits, the best first: the exact answer for few bits, and a witness.

    Parameters
    ----------
    n_samples : int
        Number of vectors returned.
    """

    def __init__(self, *, n_samples: int = 1) -> None:
        self._n_samples = n_samples

    def minimize(self, gradient: NDArray[np.float64]) -> Answer:
        """Try all.

        Raises
        ------
        AssemblyError
            More than 18 bits.
        """
        n = len(gradient) - 1
        if n > MAX_EXHAUSTIVE_BITS:
            raise AssemblyError(
                f"{n} bits are too many to try all", hint=f"at most {MAX_EXHAUSTIVE_BITS}"
            )
        Q, offset = qubo_of(gradient)
        vectors = _every_vector(n)
        values = np.einsum("rn,rn->r", vectors @ Q, vectors) + offset
        order = np.argsort(values, kind="stable")[: self._n_samples]
        return Answer(vectors[order].astype(np.int8), values[order])


@lru_cache(maxsize=2)
def _every_vector(n_bits: int) -> NDArray[np.float64]:
    """All vectors of bits, float64, shape (2^n, n)."""
    return ((np.arange(2**n_bits)[:, None] >> np.arange(n_bits)) & 1).astype(np.float64)


def call_seed(seed: int, call: int) -> int:
    """Return the seed of one call, below 2^31."""
    return int(np.random.SeedSequence([seed, call]).generate_state(1)[0] >> 1)
