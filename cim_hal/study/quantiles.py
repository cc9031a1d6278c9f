r"""Quantiles of R99 over models, for a few hard ones take most of the time of all.

An interval of order statistics holds for any distribution over models, if each were known. What is
known of a model is a bound: with :math:`p_i^L`, the lower end of Clopper and Pearson's interval of
model i with the error rate :math:`\delta`,

.. math:: P(p^L \le x) \ge (1 - \delta)\, P(p \le x),

so the quantile r of p is at least the quantile :math:`r(1 - \delta)` of its lower bound, which an
order statistic of the bounds is below. The other end mirrors it. It needs no assumption about how
hard models are, and has more than its level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cim_hal.study.shares import Interval, clopper_pearson, repeats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["QUANTILES", "TOO_FEW", "Quantile", "quantile_of", "quantiles_of"]

QUANTILES = (0.5, 0.9, 0.99)
MISSED = 0.05  # the error rate of the bound of one model
TOO_FEW = "too few instances for this interval"


@dataclass(frozen=True)
class Quantile:
    """A quantile of R99 over models.

    Attributes
    ----------
    quantile : float
    value : float
        Of the models that were measured; infinite where one of them had no success.
    interval : Interval or None
        None where there are too few models for one.
    """

    quantile: float
    value: float
    interval: Interval | None


def quantiles_of(successes: ArrayLike, runs: ArrayLike, *, level: float = 0.95) -> list[Quantile]:
    """Return the quantiles of R99 over models, each with its own number of runs."""
    return [quantile_of(successes, runs, q, level=level) for q in QUANTILES]


def quantile_of(
    successes: ArrayLike, runs: ArrayLike, quantile: float, *, level: float = 0.95
) -> Quantile:
    """Return a quantile of R99 over models with its interval."""
    counts = list(zip(np.asarray(successes).tolist(), np.asarray(runs).tolist(), strict=True))
    times = sorted(repeats(Interval(k / n, 0, 1)).value for k, n in counts)
    value = times[math.ceil(quantile * len(times)) - 1]
    bounds = np.array([clopper_pearson(k / n, n, 1 - 2 * MISSED) for k, n in counts])
    tail = (1 - level) / 2
    low = _below(np.sort(bounds[:, 0]), 1 - quantile, tail)
    high = _below(np.sort(1 - bounds[:, 1]), quantile, tail)
    if low is None or high is None:
        return Quantile(quantile, value, None)
    ends = repeats(Interval(low, low, 1 - high))
    return Quantile(quantile, value, Interval(value, min(ends.low, value), max(ends.high, value)))


def _below(bounds: NDArray[np.float64], share: float, tail: float) -> float | None:
    """Return an order statistic that is below a quantile but for a `tail`; None for too few."""
    from scipy.stats import binom

    fewer = binom.cdf(np.arange(len(bounds)), len(bounds), share * (1 - MISSED))
    last = int(np.count_nonzero(fewer <= tail))
    return float(bounds[last - 1]) if last else None
