"""What amplitudes and energies of runs look like: spread over spins, histogram, progress.

They take what a `SampleSet` or a `Trace` holds, from any machine.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "AmplitudeHistogram",
    "EnergyProgress",
    "amplitude_histogram",
    "energy_progress",
    "heterogeneity",
]


class AmplitudeHistogram(NamedTuple):
    """How often amplitudes lie in bins of equal width, symmetric about zero.

    Attributes
    ----------
    edges : float64 array, shape (bins + 1,)
    counts : int64 array, shape (bins,)
        They add up to the number of amplitudes: the outermost bins hold all beyond.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def density(self) -> NDArray[np.float64]:
        """Counts as a probability density, float64, shape (bins,)."""
        return self.counts / (self.counts.sum() * np.diff(self.edges))


class EnergyProgress(NamedTuple):
    """Energies of many runs at a sequence of frames; float64 arrays, shape (k,).

    Attributes
    ----------
    mean, error : array
        Mean over runs, and its standard error (nan for a single run).
    lowest : array
        Lowest energy of any run at this frame.
    best : array
        Lowest energy of any run up to this frame.
    """

    mean: NDArray[np.float64]
    error: NDArray[np.float64]
    lowest: NDArray[np.float64]
    best: NDArray[np.float64]


def heterogeneity(amplitudes: ArrayLike) -> NDArray[np.float64]:
    r"""Return the relative spread of magnitudes over the spins of a run, dimensionless.

    .. math:: \sqrt{\langle x^2\rangle / \langle|x|\rangle^2 - 1}

    0 where all spins are equally bright, which is when the energy of the light is that of the
    Ising model; normal amplitudes have :math:`\sqrt{\pi/2 - 1} = 0.76`.

    Parameters
    ----------
    amplitudes : array_like, shape (..., n)

    Returns
    -------
    float64 array, shape (...)
        nan for a run without light.

    Raises
    ------
    ValueError
        There are no spins.

    Examples
    --------
    >>> float(heterogeneity([0.5, -0.5, 0.5]))
    0.0
    """
    magnitudes = np.abs(np.asarray(amplitudes, np.float64))
    if magnitudes.ndim == 0 or magnitudes.shape[-1] == 0:
        raise ValueError("amplitudes must have spins along their last axis")
    mean = magnitudes.mean(axis=-1)
    # a deviation of the deviations: the formula as it stands would cancel
    spread = np.sqrt(np.mean((magnitudes - mean[..., None]) ** 2, axis=-1))
    return np.divide(spread, mean, out=np.full_like(mean, np.nan), where=mean > 0)


def amplitude_histogram(
    amplitudes: ArrayLike, *, bins: int = 64, limit: float | None = None
) -> AmplitudeHistogram:
    """Return a histogram of all amplitudes.

    Parameters
    ----------
    amplitudes : array_like
        At least one.
    bins : int
        At least 1; an even number has an edge at zero, where spins turn.
    limit : float, optional
        Outermost edge; by default the largest magnitude.

    Raises
    ------
    ValueError
        There are no amplitudes, or one is not finite, or a parameter is out of its range.

    Examples
    --------
    >>> amplitude_histogram([-0.9, 0.1, 0.4, 7.0], bins=4, limit=1.0).counts
    array([1, 0, 2, 1])
    """
    values = np.asarray(amplitudes, np.float64).ravel()
    if not (values.size and np.isfinite(values).all()):
        raise ValueError("amplitudes must be finite, and at least one")
    if bins < 1:
        raise ValueError(f"bins = {bins}: at least one is needed")
    if limit is None:
        limit = float(np.abs(values).max()) or 1.0
    if not 0 < limit < math.inf:
        raise ValueError(f"limit = {limit}: must be positive and finite")
    counts, edges = np.histogram(np.clip(values, -limit, limit), bins, (-limit, limit))
    return AmplitudeHistogram(edges, counts)


def energy_progress(energies: ArrayLike) -> EnergyProgress:
    """Return how energies of runs progress, for instance those of ``trace.energies(model)``.

    Parameters
    ----------
    energies : array_like, shape (k, runs)
        At k frames.

    Raises
    ------
    ValueError
        Another shape, or no runs.
    """
    values = np.asarray(energies, np.float64)
    if values.ndim != 2 or values.size == 0:
        raise ValueError("energies must have the shape (frames, runs), neither of them zero")
    runs, lowest = values.shape[1], values.min(axis=1)
    error = np.full(len(values), np.nan)
    if runs > 1:
        error = values.std(axis=1, ddof=1) / math.sqrt(runs)
    return EnergyProgress(values.mean(axis=1), error, lowest, np.minimum.accumulate(lowest))
