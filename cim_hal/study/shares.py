r"""Shares of successful runs over several models, and what follows from them, with intervals.

Runs of one model resemble each other more than runs of different models do: models are clusters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.study.hardness import mean_interval
from cim_hal.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Interval",
    "Share",
    "clopper_pearson",
    "error_of",
    "has_few",
    "mean_of",
    "normal_quantile",
    "of_models",
    "repeats",
    "share_of",
    "wilson",
]

INFORMATIVE = 10  # models with a success, and with a failure, from which their spread is known


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval, of 95 % where nothing else is said."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    @property
    def percent(self) -> str:
        """As a share."""
        value, low, high = (100 * each for each in (self.value, self.low, self.high))
        return f"{value:.2f} % ({low:.1f} to {high:.1f})"

    def __sub__(self, other: Interval) -> Interval:
        """Return the difference of independent estimates: of two of Wilson's it is Newcombe's.

        Zou and Donner, Stat. Med. 27, 1693 (2008), doi:10.1002/sim.3095.
        """
        value = self.value - other.value
        below = math.hypot(self.value - self.low, other.high - other.value)
        above = math.hypot(self.high - self.value, other.value - other.low)
        return Interval(value, value - below, value + above)


@dataclass(frozen=True)
class Share:
    """A share of successful runs.

    Attributes
    ----------
    of_family : Interval
        Of all models of the kind from which these were drawn.
    of_these : Interval
        Of these models only, as if there were no others.
    is_bounded : bool
        Whether `of_family` is only a bound: too few models succeed, or fail, to know their spread.
    """

    of_family: Interval
    of_these: Interval
    is_bounded: bool


def share_of(successes: ArrayLike, runs: ArrayLike, *, level: float = 0.95) -> Share:
    r"""Return the mean share over models, each with its own number of runs.

    The interval of the family is that of `mean_interval`, by the likelihood of two kinds of
    hardness, together with Wilson's (below): the latter is right for any kind, if models are many.
    Where no run succeeds, or none fails, or there is one model only, it is that of
    Clopper and Pearson with one observation a model (with all of the error on one side where there
    is one side only): among all distributions of shares in [0, 1] of one mean, that of shares 0 and
    1 is the widest.

    Counts in two dimensions are of models, on machines that are drawn too: their interval is
    Wilson's alone. It has an effective number of runs, :math:`n_e = \hat p(1 - \hat p)/s^2`, at
    most all runs, where :math:`s^2` is the variance over models and that over machines
    (`error_of`), times :math:`(z/t)^2` for the few degrees of freedom of s (Dean and Pagano 2015).
    Where fewer than ten models, or machines, have a success and a failure, it is the bound, with
    :math:`mn/(m + n)` observations.

    Raises
    ------
    ValueError
        No models, a model without runs, or not 0 <= successes <= runs.

    References
    ----------
    Dean and Pagano, Surv. Pract. 8 (2015), doi:10.29115/SP-2015-0027 (clustered proportions).
    Brown, Cai and DasGupta, Stat. Sci. 16, 101 (2001), doi:10.1214/ss/1009213286 (Wilson).
    """
    found, n_runs = np.asarray(successes, float), np.asarray(runs, float)
    if found.size == 0 or found.shape != n_runs.shape:
        raise ValueError(f"{counted(found.size, 'model')} with {n_runs.size} numbers of runs")
    if not ((found >= 0) & (found <= n_runs) & (n_runs > 0)).all():
        raise ValueError(
            "successes must be from 0 to the runs of their model, of which one or more"
        )
    shares = found / n_runs
    mean, of_runs = float(shares.mean()), found.size**2 / float((1 / n_runs).sum())
    these = wilson(mean, of_runs, level=level)
    if found.ndim == 1 and found.size > 1 and 0 < mean < 1:
        low, high = mean_interval(tuple(found.tolist()), tuple(n_runs.tolist()), level)
        plain = _by_moments(shares, of_runs, level)
        family = Interval(mean, min(low, plain.low), max(high, plain.high))
        return Share(family, these, is_bounded=False)
    _, df = error_of(shares)
    if not df or found.ndim == 1 or has_few(found, n_runs):
        n = 1 / sum(1 / len(means) for means in _over_clusters(shares, np.mean))
        return Share(Interval(mean, *_bound(mean, n, level)), these, is_bounded=True)
    return Share(_by_moments(shares, of_runs, level), these, is_bounded=False)


def _bound(mean: float, count: float, level: float) -> tuple[float, float]:
    one_sided = 2 * level - 1 if mean in {0, 1} else level
    return clopper_pearson(mean, count, one_sided)


def _by_moments(shares: NDArray[np.float64], of_runs: float, level: float) -> Interval:
    from scipy.stats import t

    mean, (error, df) = float(shares.mean()), error_of(shares)
    effective = min(of_runs, mean * (1 - mean) / error**2) if error > 0 else of_runs
    effective *= (normal_quantile(level) / float(t.ppf(0.5 + level / 2, df))) ** 2
    return _of_score(mean, effective, level)


def error_of(values: NDArray[np.float64]) -> tuple[float, int]:
    """Return the standard error of a mean over models that are drawn, and its degrees of freedom.

    Of an array (models, machines) both are drawn. The variances of the means of models and of
    machines are added, which counts twice what only a model on one machine has; their degrees of
    freedom are those of the fewer.
    """
    found = _over_clusters(values, np.mean)
    df = min(map(len, found)) - 1
    if df < 1:
        return math.inf, 0
    return math.sqrt(sum(float(means.var(ddof=1)) / len(means) for means in found)), df


def of_models(shares: Sequence[float], *, level: float = 0.95) -> Interval:
    """Return the mean of shares that are known exactly, one a model, with Wilson's interval.

    It is for models that are drawn, and has more than its level where shares are not 0 or 1.
    """
    return wilson(float(np.mean(shares)), len(shares), level=level)


def mean_of(values: NDArray[np.float64]) -> Interval:
    """Return the mean of quantities that are not negative over models, or (models, machines).

    It is Student's interval of the logarithm of the mean: few such quantities are seldom as large
    as the largest ones of their kind. Of one model, and where all are 0, it has no upper end.
    """
    from scipy.stats import t

    mean, (error, df) = float(values.mean()), error_of(values)
    if not df or mean <= 0:
        return Interval(mean, min(mean, 0.0), math.inf)
    times = math.exp(min(float(t.ppf(0.975, df)) * error / mean, 700.0))
    return Interval(mean, mean / times, mean * times)


def repeats(share: Interval, *, confidence: float = 0.99) -> Interval:
    r"""Return R, the repeats until a success is seen with a confidence, :math:`R_{99}` by default.

    .. math:: R = \ln(1 - c)/\ln(1 - p), \quad R \ge 1

    It falls with p, so the ends of its interval are those of p, exchanged; without a success the
    upper one is infinite.
    """
    value, low, high = (_repeats(p, confidence) for p in (share.value, share.high, share.low))
    return Interval(value, low, high)


def _repeats(p: float, confidence: float) -> float:
    if p <= 0:
        return math.inf
    return 1.0 if p >= confidence else math.log1p(-confidence) / math.log1p(-p)


def _over_clusters(values: NDArray[Any], reduced: Callable[..., Any]) -> list[NDArray[Any]]:
    """Return a value for each model and, where there are several machines, for each of them."""
    if values.ndim == 1:
        return [values]
    is_one = values.shape[1] == 1
    return [reduced(values, axis=1)] if is_one else [reduced(values, axis=axis) for axis in (1, 0)]


def has_few(successes: NDArray[Any], runs: NDArray[Any], *, part: float = 1.0) -> bool:
    """Return whether few models, or machines, have a success, or a failure.

    Few are less than ten, of less than ten models not all, or not a `part` of them.
    """
    counts = (_over_clusters(each, np.sum) for each in (successes, runs))
    return any(
        min(np.count_nonzero(hits > 0), np.count_nonzero(hits < n))
        < min(INFORMATIVE, part * len(n))
        for hits, n in zip(*counts, strict=True)
    )


def wilson(share: float, count: float, *, level: float = 0.95) -> Interval:
    """Return Wilson's interval of a share of `count` independent observations.

    Alone it would miss a share of .18/count in one of six cases, all with one success: no end is
    nearer than the one-sided bound of Clopper and Pearson with all of the error. `ValueError` for
    no observation, or a share that is none.
    """
    if not (count > 0 and 0 <= share <= 1):
        raise ValueError(f"a share of {share} of {count}")
    found, (low, high) = (
        _of_score(share, count, level),
        clopper_pearson(share, count, 2 * level - 1),
    )
    return Interval(share, min(found.low, low), max(found.high, high))


def _of_score(share: float, count: float, level: float) -> Interval:
    z = normal_quantile(level)
    scale = 1 + z * z / count
    centre = (share + z * z / (2 * count)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return Interval(share, max(min(share, centre - half), 0.0), min(max(share, centre + half), 1.0))


def clopper_pearson(share: float, count: float, level: float) -> tuple[float, float]:
    """Return the ends of Clopper and Pearson's interval."""
    from scipy.special import betaincinv

    x, tail = share * count, 0.5 - level / 2
    low = float(betaincinv(x, count - x + 1, tail)) if x > 0 else 0.0
    high = float(betaincinv(x + 1, count - x, 1 - tail)) if x < count else 1.0
    return low, high


def normal_quantile(level: float) -> float:
    """Return how many standard deviations on either side hold a share `level`."""
    return NormalDist().inv_cdf(0.5 + level / 2)
