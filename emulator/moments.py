r"""Moments of light, exact or sampled from a dynamics with quantum noise.

:math:`X = (a + a^\dagger)/\sqrt2` and :math:`P = (a - a^\dagger)/\sqrt2i`; vacuum has 1/2 of each.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emulator.dynamics.base import Dynamics, JobInputs
from emulator.dynamics.gaussian import GaussianPulses
from emulator.dynamics.measurement_feedback import PulseTrain
from emulator.dynamics.positive_p import PositivePBlock
from emulator.dynamics.wigner import WaveBlock
from emulator.noise import NoiseKey
from emulator.products.coupling import CouplingMatrix

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Moments", "SampledMoments", "sampled_moments"]


class Moments(NamedTuple):
    r"""What a state says of light.

    Attributes
    ----------
    x, p : float64 array, shape (n, n)
        :math:`\langle X_iX_j\rangle` and :math:`\langle P_iP_j\rangle`.
    x_fourth : float64 array, shape (n, n)
        :math:`\langle X_i^2X_j^2\rangle`.
    """

    x: NDArray[np.float64]
    p: NDArray[np.float64]
    x_fourth: NDArray[np.float64]

    @property
    def photons(self) -> NDArray[np.float64]:
        r""":math:`\langle a_i^\dagger a_j\rangle`, where it is real."""
        return 0.5 * (self.x + self.p - np.eye(len(self.x)))

    @property
    def pairs(self) -> NDArray[np.float64]:
        r""":math:`\langle a_ia_j\rangle`, where it is real."""
        return 0.5 * (self.x - self.p)


class SampledMoments(NamedTuple):
    """Moments and their standard errors, which are those of batches of independent runs.

    P is NaN where a dynamics has X alone.
    """

    mean: Moments
    error: Moments


def sampled_moments(
    dynamics: Dynamics,
    J: ArrayLike,
    *,
    pump: float,
    settle: int,
    samples: int = 1,
    spacing: int = 1,
    n_runs: int = 20_000,
    seed: int = 0,
) -> SampledMoments:
    """Return moments of a dynamics at a constant pump, from vacuum.

    Parameters
    ----------
    dynamics : TruncatedWigner, PositiveP, GaussianFeedback or MeasurementFeedback
    J : array_like, shape (n, n)
        Couplings, as of a model.
    pump : float
        p, in thresholds.
    settle : int
        Round trips before the first sample.
    samples, spacing : int
        Samples of each run that are averaged, and the round trips between two.
    n_runs : int
        Independent runs, in 20 batches.
    seed : int

    Raises
    ------
    ValueError
        Too few runs for batches, or numbers that mean nothing.
    TypeError
        A dynamics without quantum noise.
    """
    couplings = checked_couplings(J, pump)
    if settle < 0 or samples < 1 or spacing < 1:
        raise ValueError(f"{settle=}, {samples=}, {spacing=}: must be 0, 1 and 1 or more")
    if n_runs < 2 * BATCHES:
        raise ValueError(f"n_runs = {n_runs}: {BATCHES} batches need {2 * BATCHES} or more")
    given = CouplingMatrix.of(
        couplings, np.zeros(len(couplings)), largest_code=dynamics.largest_code, dtype=float
    )
    inputs = JobInputs(dynamics.perturb(given), NoiseKey.from_seed(seed))
    size, batches = n_runs // BATCHES, []
    for batch in range(BATCHES):
        block = dynamics.start(inputs, first_run=batch * size, n_runs=size)
        total: Any = 0.0
        for sample in range(samples):
            for _ in range(settle if sample == 0 else spacing):
                block.advance(pump)
            total = total + np.stack(_momentary(block, dynamics, len(couplings))) / samples
        batches.append(total)
    errors = np.std(batches, axis=0, ddof=1) / math.sqrt(BATCHES)
    return SampledMoments(Moments(*np.mean(batches, axis=0)), Moments(*errors))


BATCHES = 20


def checked_couplings(J: ArrayLike, pump: float) -> NDArray[np.float64]:
    """Return couplings as a matrix.

    Raises
    ------
    ValueError
        They are not symmetric or not finite, or the pump is not finite or negative.
    """
    matrix = np.atleast_2d(np.asarray(J, np.float64))
    is_square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] > 0
    if not is_square or not np.array_equal(matrix, matrix.T) or not np.isfinite(matrix).all():
        raise ValueError(f"J must be symmetric and finite, shape (n, n), not {matrix.tolist()}")
    if not 0 <= pump < math.inf:
        raise ValueError(f"pump = {pump} must be finite, and 0 or more")
    return matrix


def _momentary(block: Any, dynamics: Any, n_spins: int) -> Moments:
    if isinstance(block, WaveBlock):
        unit = math.sqrt(2.0) * dynamics.saturation
        return _of_waves(unit * block.c.astype(float), unit * block.s.astype(float))
    if isinstance(block, PositivePBlock):
        return _of_pairs(block, dynamics.saturation)
    if isinstance(block, GaussianPulses | PulseTrain):
        return _of_gaussians(*(a[:n_spins].astype(float) for a in (block.mean, block.variance)))
    raise TypeError(f"{type(dynamics).__name__} has no quantum noise")


def _of_waves(x: NDArray[np.float64], p: NDArray[np.float64]) -> Moments:
    """Return moments of a Wigner function, whose averages are in symmetric order."""
    mean = partial(_mean_product, x.shape[1])
    return Moments(mean(x), mean(p), mean(x * x))


def _of_gaussians(x: NDArray[np.float64], variance: NDArray[np.float64]) -> Moments:
    """Return moments of pulses that are Gaussian given their records."""
    mean = partial(_mean_product, x.shape[1])
    own = np.mean(x**4 + 6 * x * x * variance + 3 * variance**2, axis=1)
    fourth = mean(x * x + variance)
    np.fill_diagonal(fourth, own)
    return Moments(mean(x) + np.diag(variance.mean(axis=1)), np.full_like(fourth, np.nan), fourth)


def _of_pairs(block: PositivePBlock, saturation: float) -> Moments:
    """Return moments of positive P, whose averages are in normal order."""
    photons, pairs = block.moments()
    photons, vacuum = 0.5 * (photons + photons.T), 0.5 * np.eye(len(pairs))
    square = 0.5 * saturation**2 * block.pump * (block.u + block.v) ** 2
    fourth = _mean_product(square.shape[1], square + 0.5)
    # X^4 = :X^4: + 3 :X^2: + 3/4
    np.fill_diagonal(fourth, np.mean(square**2 + 3 * square + 0.75, axis=1))
    return Moments(vacuum + photons + pairs, vacuum + photons - pairs, fourth)


def _mean_product(n_runs: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values @ values.T / n_runs
