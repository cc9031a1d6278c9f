r"""Oracles made worse on purpose, and one that only guesses.

The machine's coefficients are those of the Ising form: with :math:`x = (1 + \sigma)/2` the
gradient G becomes :math:`M = T^T G T`, whose first row is the field and whose other entries off
the diagonal are the couplings. Rounding and noise act there; rounding the QUBO would be another
thing, since its diagonal is far larger than its couplings. All values are those of G itself.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from cim_hal import max_level
from qnn_train.arguments import checked
from qnn_train.arrays import FloatArray
from qnn_train.checks import COUNT, SEED, real, whole
from qnn_train.solve.oracle import (
    Answer,
    Oracle,
    ParallelOracle,
    evaluate,
    from_ising,
    largest,
    minimize_all,
    to_ising,
)

__all__ = ["NoisyOracle", "QuantizedOracle", "RandomOracle", "RandomizedOracle"]


class _PerturbedOracle(ParallelOracle):
    """Asks another oracle about a perturbed gradient."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    @abstractmethod
    def _perturbed(self, ising: FloatArray) -> FloatArray:
        """Return another Ising form (p, p); its diagonal does not matter."""

    def minimize_all(self, gradients: Sequence[FloatArray]) -> list[Answer]:
        """Answer for perturbed gradients."""
        perturbed = [from_ising(self._perturbed(to_ising(gradient))) for gradient in gradients]
        answers = minimize_all(self._oracle, perturbed)
        pairs = zip(gradients, answers, strict=True)
        return [evaluate(gradient, answer.bits, cost=answer.cost) for gradient, answer in pairs]


@checked
class QuantizedOracle(_PerturbedOracle):
    """Couplings and fields of few bits, on one scale, as a machine takes them.

    Parameters
    ----------
    oracle : Oracle
    bits : int
        Of a coupling, sign included, at least 2.

    Raises
    ------
    TrainingError
        Fewer than 2 bits.
    """

    def __init__(self, oracle: Oracle, bits: int) -> None:
        super().__init__(oracle)
        self._top = max_level(whole(2, 64)("bits", bits))

    def _perturbed(self, ising: FloatArray) -> FloatArray:
        step = largest(ising) / self._top
        return np.rint(ising / step) * step if step > 0 else ising


@checked
class NoisyOracle(_PerturbedOracle):
    """Gaussian noise on every coupling and field, new at each call.

    Parameters
    ----------
    oracle : Oracle
    noise : float
        Standard deviation, in units of the largest coefficient.
    seed : int
    """

    def __init__(self, oracle: Oracle, noise: float, *, seed: int) -> None:
        super().__init__(oracle)
        self._noise = real(0, 1e6)("noise", noise)
        self._rng = np.random.default_rng(SEED("seed", seed))

    def _perturbed(self, ising: FloatArray) -> FloatArray:
        upper = np.triu(self._rng.normal(size=ising.shape), 1)
        return ising + self._noise * largest(ising) * (upper + upper.T)


@checked
class RandomizedOracle:
    """Right with a probability, else random bits: a machine that succeeds now and then.

    Parameters
    ----------
    oracle : Oracle
    success : float
        Probability of an answer of `oracle`.
    seed : int
    """

    def __init__(self, oracle: Oracle, success: float, *, seed: int) -> None:
        self._oracle = oracle
        self._success = real(0, 1)("success", success)
        self._rng = np.random.default_rng(SEED("seed", seed))

    def minimize(self, gradient: FloatArray) -> Answer:
        """Answer, or guess."""
        if self._rng.random() < self._success:
            return self._oracle.minimize(gradient)
        return evaluate(gradient, self._rng.integers(0, 2, (1, len(gradient) - 1), np.int8))


@checked
class RandomOracle:
    """Random bits whatever the gradient: what any method must be ahead of.

    Parameters
    ----------
    n_samples : int
        Vectors of an answer.
    seed : int
    """

    def __init__(self, n_samples: int, *, seed: int) -> None:
        self._n_samples = COUNT("n_samples", n_samples)
        self._rng = np.random.default_rng(SEED("seed", seed))

    def minimize(self, gradient: FloatArray) -> Answer:
        """Guess."""
        size = (self._n_samples, len(gradient) - 1)
        return evaluate(gradient, self._rng.integers(0, 2, size, np.int8))
