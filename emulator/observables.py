"""What is said of a machine's runs: success, time to solution, spread, histogram, progress.

They take what a `SampleSet` or a `Trace` holds, from any machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import ArrayLike, NDArray

    from cim_hal import SampleSet

__all__ = [
    "AmplitudeHistogram",
    "EnergyProgress",
    "Estimate",
    "SuccessProbability",
    "amplitude_histogram",
    "energy_progress",
    "heterogeneity",
    "time_to_solution",
]


class Estimate(NamedTuple):
    """A value and its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class SuccessProbability:
    """The probability that a run succeeds, known from `successes` of `runs`.

    Parameters
    ----------
    successes : int
        Runs that reached the target, 0 to `runs`.
    runs : int
        Independent runs of one model under one schedule, at least 1.

    Raises
    ------
    ValueError
        Not 0 <= successes <= runs, or no runs.

    Examples
    --------
    >>> value, low, high = SuccessProbability(successes=45, runs=64).estimate()
    >>> print(f"{value:.2f} in [{low:.2f}, {high:.2f}]")
    0.70 in [0.58, 0.80]
    """

    successes: int
    runs: int

    def __post_init__(self) -> None:
        if self.runs < 1:
            raise ValueError(f"runs = {self.runs}: at least one is needed")
        if not 0 <= self.successes <= self.runs:
            raise ValueError(f"successes = {self.successes}: must be 0 to runs = {self.runs}")

    @classmethod
    def of(cls, samples: SampleSet, energy: float) -> Self:
        """Count the runs at or below `energy`, within the tolerance of the samples.

        Runs that all gave one configuration count as one run: nothing in them shows that they are
        independent. Pass the numbers yourself where you know that they are.
        """
        reached = samples.reached(energy)
        runs = len(reached) if samples.diversity.configurations > 1 else 1
        return cls(successes=int(reached[:runs].sum()), runs=runs)

    def estimate(self, *, level: float = 0.95) -> Estimate:
        r"""Return k/n and the Wilson interval, dimensionless.

        .. math:: \frac{1}{1 + z^2/n}\Big(\hat p + \frac{z^2}{2n}
                  \pm z\sqrt{\frac{\hat p(1 - \hat p)}{n} + \frac{z^2}{4n^2}}\Big)

        with :math:`\hat p = k/n` and z the normal quantile of (1 + level)/2. It holds the p that
        a score test does not reject, so it has a width even when no run or every run succeeds. Of
        rare successes it holds less: .18/n in five of six cases; `cim_hal.study.wilson` mends that.

        Parameters
        ----------
        level : float
            Confidence level of the interval, between 0 and 1.

        Raises
        ------
        ValueError
            A level out of range.

        References
        ----------
        Wilson, J. Am. Stat. Assoc. 22, 209 (1927), doi:10.1080/01621459.1927.10502953.
        Brown, Cai and DasGupta, Stat. Sci. 16, 101 (2001), doi:10.1214/ss/1009213286.
        """
        _check_confidence("level", level)
        from scipy.stats import binomtest  # slow to import, and few need it

        test = binomtest(int(self.successes), int(self.runs))
        interval = test.proportion_ci(confidence_level=level, method="wilson")
        return Estimate(self.successes / self.runs, float(interval.low), float(interval.high))

    def time_to_solution(
        self, run_s: float, *, confidence: float = 0.99, level: float = 0.95
    ) -> Estimate:
        """Return `time_to_solution` in seconds, with the interval that of p implies.

        Time falls as p grows, so the ends of the interval change places. `high` is infinite
        when no run succeeded.

        Parameters
        ----------
        run_s : float
            Duration of one run in seconds.
        confidence : float
            Probability with which the solution must be seen.
        level : float
            Confidence level of the interval.
        """
        value, low, high = (
            time_to_solution(p, run_s, confidence=confidence) for p in self.estimate(level=level)
        )
        return Estimate(value, low=high, high=low)


def time_to_solution(p: float, run_s: float, *, confidence: float = 0.99) -> float:
    r"""Return the time in which independent runs see a solution, in seconds.

    .. math:: T = t_\mathrm{run}\,\frac{\ln(1 - c)}{\ln(1 - p)}

    One run is the least (T is `run_s` where p >= c); T is infinite where p = 0. The number of
    runs is not rounded up, so that T is continuous in p.

    Parameters
    ----------
    p : float
        Success probability of a run, 0 to 1.
    run_s : float
        Duration of one run in seconds, positive.
    confidence : float
        c, the probability with which the solution must be seen, between 0 and 1.

    Raises
    ------
    ValueError
        A parameter out of its range.

    References
    ----------
    Rønnow et al., Science 345, 420 (2014), doi:10.1126/science.1252319.

    Examples
    --------
    >>> round(time_to_solution(0.5, run_s=5e-3), 4)
    0.0332
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p = {p}: a probability is 0 to 1")
    if not 0 < run_s < math.inf:
        raise ValueError(f"run_s = {run_s}: must be positive and finite")
    _check_confidence("confidence", confidence)
    if p >= confidence:
        return run_s
    # log1p: 1 - p would lose a small p
    return run_s * math.log1p(-confidence) / math.log1p(-p) if p > 0 else math.inf


def _check_confidence(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} = {value}: must lie between 0 and 1, both excluded")


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
