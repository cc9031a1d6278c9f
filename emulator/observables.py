"""What is said of a machine's runs: success probability, time to solution, squeezing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Estimate", "SuccessProbability", "squeezing_db", "time_to_solution"]

VACUUM_VARIANCE = 0.5


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

    def estimate(self, *, level: float = 0.95) -> Estimate:
        r"""Return k/n and the Wilson interval, dimensionless.

        .. math:: \frac{1}{1 + z^2/n}\Big(\hat p + \frac{z^2}{2n}
                  \pm z\sqrt{\frac{\hat p(1 - \hat p)}{n} + \frac{z^2}{4n^2}}\Big)

        with :math:`\hat p = k/n` and z the normal quantile of (1 + level)/2. It holds the p that
        a score test does not reject, so it has a width even when no run or every run succeeds.

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


def squeezing_db(variance: ArrayLike) -> NDArray[np.float64]:
    r"""Return the variance of a quadrature relative to vacuum, in dB: below 0 is squeezed.

    .. math:: 10\log_{10}\frac{V}{1/2}, \qquad X = (a + a^\dagger)/\sqrt2

    Parameters
    ----------
    variance : array_like
        Of X or P, where vacuum has 1/2; positive.

    Returns
    -------
    float64 array, shape of `variance`
        A scalar for a scalar.

    Raises
    ------
    ValueError
        A variance that is not positive and finite.

    Examples
    --------
    >>> print(f"{squeezing_db(0.25):.2f} dB")
    -3.01 dB
    """
    variances = np.asarray(variance, np.float64)
    if not np.all((variances > 0) & np.isfinite(variances)):
        raise ValueError("variance must be positive and finite")
    return 10 * np.log10(variances / VACUUM_VARIANCE)


def _check_confidence(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} = {value}: must lie between 0 and 1, both excluded")
