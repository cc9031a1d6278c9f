r"""Shares of successful runs over several models, and what follows from them, with intervals.

Runs of one model resemble each other more than runs of different models do: models are clusters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Interval", "Share", "of_models", "repeats", "share_of"]

INFORMATIVE = 10  # models with a success, and with a failure, from which their spread is known


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval."""

    value: float
    low: float
    high: float


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


def share_of(successes: Sequence[int], runs: Sequence[int], *, level: float = 0.95) -> Share:
    r"""Return the mean share over models, each with its own number of runs.

    The interval of the family is Wilson's with an effective number of runs, :math:`n_e =
    \hat p(1 - \hat p)/s^2`, :math:`s^2` the variance of the mean share over models, at most all
    runs, times :math:`(z/t)^2` for the few degrees of freedom of :math:`s` (Dean and Pagano 2015).
    Where fewer than ten models, or all of them, have a success and a failure, it is that of Clopper
    and Pearson with one observation a model: among all distributions of shares in [0, 1] of one
    mean, that of shares 0 and 1 is the widest.

    Raises
    ------
    ValueError
        No models, a model without runs, or not 0 <= successes <= runs.

    References
    ----------
    Dean and Pagano, Surv. Pract. 8 (2015), doi:10.29115/SP-2015-0027 (clustered proportions).
    Brown, Cai and DasGupta, Stat. Sci. 16, 101 (2001), doi:10.1214/ss/1009213286 (Wilson).
    """
    from scipy.stats import norm, t

    found, n_runs = np.asarray(successes, float), np.asarray(runs, float)
    if found.size == 0 or found.shape != n_runs.shape:
        raise ValueError(f"{found.size} models with {n_runs.size} numbers of runs")
    if not ((found >= 0) & (found <= n_runs) & (n_runs > 0)).all():
        raise ValueError(
            "successes must be from 0 to the runs of their model, of which one or more"
        )
    shares, n_models = found / n_runs, found.size
    mean, z = float(shares.mean()), float(norm.ppf(0.5 + level / 2))
    these = Interval(mean, *_wilson(mean, n_models**2 / float((1 / n_runs).sum()), z))
    is_bounded = n_models == 1 or _too_few(found, n_runs)
    if is_bounded:
        return Share(Interval(mean, *_clopper_pearson(mean, n_models, level)), these, is_bounded)
    effective = (
        _effective_runs(shares, n_runs) * (z / float(t.ppf(0.5 + level / 2, n_models - 1))) ** 2
    )
    return Share(Interval(mean, *_wilson(mean, effective, z)), these, is_bounded)


def of_models(shares: Sequence[float], *, level: float = 0.95) -> Interval:
    """Return the mean of shares that are known exactly, one a model, with Wilson's interval.

    It is for models that are drawn, and has more than its level where shares are not 0 or 1.
    """
    from scipy.stats import norm

    mean, z = float(np.mean(shares)), float(norm.ppf(0.5 + level / 2))
    return Interval(mean, *_wilson(mean, len(shares), z))


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


def _too_few(successes: NDArray[np.float64], runs: NDArray[np.float64]) -> bool:
    informative = min(np.count_nonzero(successes > 0), np.count_nonzero(successes < runs))
    return bool(informative < min(INFORMATIVE, len(runs)))


def _effective_runs(shares: NDArray[np.float64], runs: NDArray[np.float64]) -> float:
    """Return how many independent runs would know the mean as well, at most all there are."""
    mean, n_models = shares.mean(), len(shares)
    of_runs = n_models**2 / float((1 / runs).sum())
    spread = shares.var(ddof=1) / n_models
    return min(of_runs, float(mean * (1 - mean) / spread)) if spread > 0 else of_runs


def _wilson(p: float, n: float, z: float) -> tuple[float, float]:
    centre, width = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
    scale = 1 + z * z / n
    return max((centre - width) / scale, 0.0), min((centre + width) / scale, 1.0)


def _clopper_pearson(p: float, n: int, level: float) -> tuple[float, float]:
    from scipy.stats import beta

    x, tail = p * n, 0.5 - level / 2
    low = float(beta.ppf(tail, x, n - x + 1)) if x > 0 else 0.0
    high = float(beta.ppf(1 - tail, x + 1, n - x)) if x < n else 1.0
    return low, high
