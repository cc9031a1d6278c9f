r"""The linear limit of a feedback loop: how far down the spectrum of J may reach.

A mode of eigenvalue :math:`\lambda` that a loop feeds back d round trips late grows by the
largest root of

.. math:: z^{d+1} = a\,(z^d + k\lambda)

a round trip, with a the gain of an amplitude and k what is fed back of a mode of eigenvalue 1. At
threshold, a = 1, modes of negative eigenvalue decay as long as
:math:`-k\lambda < 2\cos\frac{d\pi}{2d+1}`: 2, 1, 0.62 for d = 0, 1, 2. Beyond, the lowest one
swings ever higher, until something saturates.

What exceeds a share of the limit, and stands out of the spectrum, is slowed (`LoopFilter`): of
modes :math:`v_k` at either end a part :math:`\gamma` is fed back at once, and the rest through a
low pass,

.. math:: f = Jx - (1 - \gamma)\sum_k\lambda_k v_k(v_k\cdot x - s_k), \qquad
          s_k \leftarrow s_k + \rho\,(v_k\cdot x - s_k)

so that fixed points are those of J. This is a proportional-integral controller, as electronics
between measurement and injection can have it. Modes of positive eigenvalue are slowed with the
others: a field and the spins it holds have one of each sign, which must move together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emulator.kernel import kernel
from emulator.products.dense import TILE_ROWS, multiply_few

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "ExtremeModes",
    "LinearLimit",
    "LoopFilter",
    "largest_stable_feedback",
    "measure_modes",
    "mode_growth",
    "slow_modes",
]

# A mode stands out where it has this many times the magnitude of those that nothing can slow.
# Slowed to less, it follows worse than they do, and they drive the loop just as far.
STANDS_OUT = 3.0

# Of a slowed mode's direct feedback a round trip: faster, and the loop swings again; slower, and
# spins freeze before constraints are met (complete graphs, penalties, fields).
INTEGRAL_RATE = 0.6


def mode_growth(gain: float, feedback: float, delay: int) -> float:
    r"""Return the largest modulus of z, for `gain` a and `feedback` :math:`k\lambda`."""
    polynomial = np.zeros(delay + 2)
    polynomial[0], polynomial[1] = 1.0, -gain
    polynomial[-1] -= gain * feedback
    return float(np.abs(np.roots(polynomial)).max())


def largest_stable_feedback(delay: int) -> float:
    r"""Return :math:`2\cos\frac{d\pi}{2d+1}`, the largest :math:`-k\lambda` at threshold."""
    return 2.0 * math.cos(delay * math.pi / (2 * delay + 1))


@dataclass(frozen=True)
class LinearLimit:
    r"""A loop, by what it feeds back of a mode of eigenvalue 1, k, and its delay.

    Eigenvalues are those of the couplings in natural units: of J over the norm of a row.
    """

    feedback: float
    delay: int = 0

    @property
    def lowest_stable(self) -> float:
        """The eigenvalue down to which the loop is stable; minus infinity without feedback."""
        if self.feedback == 0:
            return -math.inf
        return -largest_stable_feedback(self.delay) / self.feedback

    def excess(self, eigenvalue: float) -> float:
        """Return how many times the feedback of this eigenvalue is the largest stable one."""
        return max(eigenvalue / self.lowest_stable, 0.0)

    def excess_of(self, eigenvalues: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return `excess` of the magnitudes."""
        return np.abs(eigenvalues) / -self.lowest_stable


class ExtremeModes(NamedTuple):
    """Some modes (k, n) of the couplings, and their eigenvalues (k,), the lowest first.

    `rest` is the largest magnitude of an eigenvalue of the other modes.
    """

    eigenvalues: NDArray[np.float64]
    vectors: NDArray[Any]
    rest: float = 0.0


class LoopFilter(NamedTuple):
    r"""Modes that are slowed, and the state of their low passes; make one with `of`.

    Attributes
    ----------
    n_modes : int
        How many of the `TILE_ROWS` there is place for.
    vectors, parts : array, shape (TILE_ROWS, n), (n + TILE_ROWS - 1, TILE_ROWS)
        The modes, and their transposed.
    withheld : array, shape (n_modes,)
        What is withheld of the eigenvalues, at first.
    rate, direct : float
        Of the low passes, per round trip; what is fed back at once, :math:`\gamma`.
    slow, excess : array, shape (TILE_ROWS, runs)
        Low-passed amplitudes of the modes, and what is to be subtracted in a round trip.
    tile : array, shape (TILE_ROWS, runs)
        Scratch.
    """

    n_modes: int
    vectors: NDArray[Any]
    parts: NDArray[Any]
    withheld: NDArray[Any]
    rate: float
    direct: float
    slow: NDArray[Any]
    excess: NDArray[Any]
    tile: NDArray[Any]

    @classmethod
    def of(
        cls, modes: ExtremeModes, limit: LinearLimit, unit: float, share: float, n_runs: int
    ) -> LoopFilter:
        """Slow the modes whose feedback exceeds a share of the limit, and that of others by far.

        `unit` is that of the eigenvalues in natural units, `n_runs` comes in sixteens.
        """
        excess = limit.excess_of(modes.eigenvalues * unit)
        most = max(share, STANDS_OUT * limit.excess_of(np.array(modes.rest * unit)))
        is_slow = excess > most
        direct = float(most / excess.max()) if is_slow.any() else 1.0
        dtype, n_modes, n_spins = modes.vectors.dtype, int(is_slow.sum()), modes.vectors.shape[1]
        parts = np.zeros((n_spins + TILE_ROWS - 1, TILE_ROWS), dtype)
        parts[:n_spins, :n_modes] = modes.vectors[is_slow].T
        rate = INTEGRAL_RATE * direct * min(share * largest_stable_feedback(limit.delay), 1.0)
        return cls(
            n_modes,
            np.ascontiguousarray(parts[:n_spins].T),
            parts,
            (modes.eigenvalues[is_slow] * (1 - direct)).astype(dtype),
            dtype.type(rate),
            direct,
            *np.zeros((3, TILE_ROWS, n_runs), dtype),
        )


@kernel
def measure_modes(slowed: LoopFilter, codes: NDArray[Any]) -> None:
    """Take the amplitudes of the modes in `codes` (n, runs), a round trip on."""
    if slowed.n_modes == 0:
        return
    multiply_few(slowed.vectors, codes, slowed.excess)
    for k in range(slowed.n_modes):
        slow, excess = slowed.slow[k], slowed.excess[k]
        for r in range(len(excess)):
            slow[r] += slowed.rate * (excess[r] - slow[r])
            excess[r] = slowed.withheld[k] * (excess[r] - slow[r])


@kernel
def slow_modes(slowed: LoopFilter, first: int, product: NDArray[Any]) -> None:
    """Withhold what is to come slowly from rows of a product, those from `first` on."""
    if slowed.n_modes == 0:
        return
    for i in range(0, len(product), TILE_ROWS):
        parts = slowed.parts[first + i : first + i + TILE_ROWS]
        multiply_few(parts, slowed.excess, slowed.tile)
        for j in range(min(TILE_ROWS, len(product) - i)):
            row, withheld = product[i + j], slowed.tile[j]
            for r in range(len(row)):
                row[r] -= withheld[r]
