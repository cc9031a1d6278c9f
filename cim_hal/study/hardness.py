r"""The mean share of models that are drawn, by the likelihood of what was counted.

How hard models are is not known, so two distributions of their shares :math:`p_i` are tried, each
with a mean and a spread: Beta, and normal of :math:`\ln p/(1 - p)`, which is skewed as the hardness
of glasses is. Of each the interval is that of the profile likelihood, all means for which

.. math:: 2 \max_{mean, spread} \ln L - 2 \max_{spread} \ln L(mean) \le t_\nu^2,

and both together, from the lower of the low ends to the higher of the high ends, are the interval.
Student's quantile has :math:`\nu = (n - 1)/f^2` degrees of freedom (Satterthwaite), f the part of
the variance of the mean that is between models: what runs add is known without an estimate.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from scipy.interpolate import CubicSpline

__all__ = ["mean_interval"]

Array: TypeAlias = "NDArray[Any]"
Curve: TypeAlias = tuple[Array, Array]  # logits of means, and the profile likelihood there

STEP, N_LOGITS = 0.04, 4096
LOGITS = STEP * (np.arange(N_LOGITS) - N_LOGITS // 2)  # of shares, from -82 to 82
FARTHEST = 22.0  # logits of means; transforms know 1e-13
MEANS = np.arange(-FARTHEST, FARTHEST + STEP / 2, STEP)
SHARPEST = (0.75 * STEP) ** -2  # information of the runs of a model that these logits resolve
CONCENTRATIONS = np.geomspace(0.03, 1e5, 20)
SPREADS = np.r_[0.0, np.geomspace(0.15, 6.0, 12)]  # transforms of narrower ones ring
DEEPEST, POINTS = 20.0, 150  # how far below its top a profile is followed, and how finely


def mean_interval(
    successes: tuple[float, ...], runs: tuple[float, ...], level: float
) -> tuple[float, float]:
    """Return the ends of the interval; there are two models or more, a success and a failure."""
    from scipy.special import expit
    from scipy.stats import t

    curves, part = _profiles(successes, runs)
    df = (len(runs) - 1) / max(part, 1e-3) ** 2
    deep = 0.5 * float(t.ppf(0.5 + level / 2, df)) ** 2
    ends = [expit(_ends(logits, curve, deep)) for logits, curve in curves]
    return min(float(low) for low, _ in ends), max(float(high) for _, high in ends)


def _ends(logits: Array, curve: Array, deep: float) -> tuple[float, float]:
    """Return where a curve falls by more than `deep` on either side of its top."""
    top = int(curve.argmax())
    fall = np.sqrt(np.maximum(curve[top] - curve, 0.0))  # nearly straight
    low = np.interp(np.sqrt(deep), fall[top::-1], logits[top::-1], right=-np.inf)
    high = np.interp(np.sqrt(deep), fall[top:], logits[top:], right=np.inf)
    return float(low), float(high)


@lru_cache(4096)
def _profiles(
    successes: tuple[float, ...], runs: tuple[float, ...]
) -> tuple[tuple[Curve, Curve], float]:
    """Return the profiles of both distributions, and which part of the variance is of models."""
    counts, times = np.unique(np.array([successes, runs], float), axis=1, return_counts=True)
    k, m = counts
    sharp = np.minimum(1.0, SHARPEST * m / np.maximum(k * (m - k), 1e-9))  # beyond it grids fail
    k, m = (k * sharp)[:, None], (m * sharp)[:, None]
    beta, concentration = _beta(k, m, times)
    part = 1 - 1 / (1 + (float(np.mean(runs)) - 1) / (1 + concentration))
    return (beta, _normal(k, m, times)), part


def _beta(k: Array, m: Array, times: Array) -> tuple[Curve, float]:
    """Return the profile over the mean of Beta, and the concentration that fits best."""
    every = zip(times.tolist(), k[:, 0].tolist(), m[:, 0].tolist(), strict=True)
    log = np.asarray(sum(n * _beta_likelihoods(*count) for n, *count in every))

    def at(logits: Array) -> Array:
        return _between(log, (logits[None] - MEANS[0]) / STEP)

    found = _profile(lambda logits: at(logits).max(axis=0), MEANS[0], MEANS[-1])
    top = found[0][found[1].argmax()]
    return found, float(CONCENTRATIONS[int(at(top[None])[:, 0].argmax())])


@lru_cache(128)  # 0.2 MB each; points of a study have counts in common
def _beta_likelihoods(k: float, m: float) -> Array:
    """Return the log-likelihoods of a count for each concentration and each logit of a mean."""
    from scipy.special import betaln, expit

    c = CONCENTRATIONS[:, None]
    p, q = c * expit(MEANS), c * expit(-MEANS)
    return np.asarray(betaln(k + p, m - k + q) - betaln(p, q))


def _normal(k: Array, m: Array, times: Array) -> Curve:
    """Return the profile over the mean of shares of which the logits are normal."""
    every = zip(times.tolist(), k[:, 0].tolist(), m[:, 0].tolist(), strict=True)
    log = np.asarray(sum(n * _log_likelihoods(*count) for n, *count in every))
    low, high = _middle_of(0).x[[0, -1]]

    def highest(logits: Array) -> Array:
        middles = np.stack([_middle_of(i)(logits) for i in range(len(SPREADS))])
        values = _between(log, (np.nan_to_num(middles) - LOGITS[0]) / STEP)
        return np.where(np.isnan(middles), -np.inf, values).max(axis=0)

    return _profile(highest, low, high)


@lru_cache(128)  # 0.4 MB each
def _log_likelihoods(k: float, m: float) -> Array:
    """Return the log-likelihoods of a count for each spread and each middle of the logits.

    Integrals over the normal distribution are convolutions, made by Fourier transforms.
    """
    one = -k * np.logaddexp(0, -LOGITS) - (m - k) * np.logaddexp(0, LOGITS)
    wave = np.fft.rfft(np.exp(one - one.max()))
    return np.log(np.stack([_blurred(wave, spread) for spread in SPREADS]))


@cache
def _middle_of(i: int) -> CubicSpline:
    """Return for a spread what gives the middle of the logits, from the mean; NaN beyond it."""
    from scipy.interpolate import CubicSpline
    from scipy.special import expit

    p, q = (_blurred(np.fft.rfft(expit(x)), SPREADS[i]) for x in (LOGITS, -LOGITS))
    means = np.log(p / q)
    inside = np.abs(LOGITS) <= -LOGITS[0] - 8 * SPREADS[i]  # beyond it transforms join the ends
    keep = inside & (np.abs(means) <= FARTHEST)
    return CubicSpline(means[keep], LOGITS[keep], extrapolate=False)


def _between(rows: Array, places: Array) -> Array:
    """Return rows (k, n) at places (k or 1, p) between columns, by cubics through four of them."""
    first = np.clip(places.astype(int) - 1, 0, rows.shape[1] - 4)
    x, each = places - first, np.arange(len(rows))[:, None]
    a, b, c, d = x, x - 1, x - 2, x - 3
    weights = (-b * c * d / 6, a * c * d / 2, -a * b * d / 2, a * b * c / 6)
    return np.asarray(sum(w * rows[each, first + k] for k, w in enumerate(weights)))


def _blurred(wave: Array, spread: float) -> Array:
    """Return the convolution with a normal density; rounding leaves no number below 1e-13."""
    turns = 2 * np.pi * np.fft.rfftfreq(N_LOGITS, STEP)
    blurred = np.fft.irfft(wave * np.exp(-0.5 * (spread * turns) ** 2), N_LOGITS)
    return np.maximum(blurred, 1e-13)


def _profile(highest: Callable[[Array], Array], low: float, high: float) -> Curve:
    """Return a profile from its definition, near its top, which may be narrow."""
    logits = values = np.empty(0)
    for _ in range(8):
        logits = np.linspace(low, high, POINTS)
        values = highest(logits)
        near = np.flatnonzero(values >= values.max() - DEEPEST)
        if len(near) > POINTS // 2:
            break
        low, high = float(logits[max(near[0] - 1, 0)]), float(logits[min(near[-1] + 1, POINTS - 1)])
    return logits, values
