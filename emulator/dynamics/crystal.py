r"""The crystal: gain of a pump that the signal depletes, and what it does to a variance.

Coupled waves :math:`E_s' = \kappa E_p E_s,\ E_p' = -\kappa E_s^2` over a crystal of length l
conserve :math:`E_s^2 + E_p^2`, and are solved by sech and tanh.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emulator.kernel import fused, inlined

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "COSH_SERIES",
    "MOST_PUMP",
    "MOST_SIGNAL",
    "SINH_SERIES",
    "Gain",
    "GainTable",
    "amplified_variance",
    "crystal_gain",
    "gain_series",
    "gain_table",
    "pumped_gain",
    "row_of",
]

GAIN_TERMS, PUMP_TERMS = 10, 6
# pL up to which the series hold, those of variances to 1e-3: a gain of 400 in power.
MOST_PUMP = 3.0
# (kappa l E_s)^2 that leaves the crystal as nothing; more would overflow where q^4 is needed.
MOST_SIGNAL = 200.0
# of 1 / G: 2k + 1 and (2k)!
_ODD = np.arange(1.0, 2 * GAIN_TERMS, 2)
_FACTORIALS = np.array([float(math.factorial(2 * k)) for k in range(GAIN_TERMS)])


def gain_series(pump: ArrayLike, loss_exponent: float) -> NDArray[np.float64]:
    r"""Return the coefficients of :math:`1/G` in powers of :math:`\theta^2`.

    .. math:: G^{-1} = \cosh\theta - \frac{pL}{\theta}\sinh\theta
              = \sum_k \Big(1 - \frac{pL}{2k + 1}\Big)\frac{\theta^{2k}}{(2k)!}

    with :math:`\theta = \kappa l\sqrt{E_p^2 + E_s^2}` and :math:`pL = \kappa l E_p`. A weak signal
    has gain :math:`e^{pL}`; a strong one depletes the pump. Even powers alone appear, so the
    kernel needs no root. With 10 terms the error of G is below 1e-9 for :math:`\theta < 2`.

    Parameters
    ----------
    pump : float or array
        Pump amplitude p over its threshold.
    loss_exponent : float
        L, the field loss of a round trip: amplitudes fall by :math:`e^{-L}` without a pump.

    Returns
    -------
    float64 array, shape (..., 10)
        In the shape of `pump`, and a new axis.
    """
    p_l = np.asarray(pump, np.float64)[..., None] * loss_exponent
    return (1 - p_l / _ODD) / _FACTORIALS


class GainTable(NamedTuple):
    r"""What the pumps make of the crystal, by round trip.

    Attributes
    ----------
    series : array, shape (k, 16)
        `gain_series`, and six terms of :math:`-\partial_{pL}G^{-1}` in the same powers. In one row:
        as two arguments they cost a fifth of the kernel's speed.
    pump_exponent : array, shape (k,)
        pL.
    """

    series: NDArray[Any]
    pump_exponent: NDArray[Any]


# of sinh(theta) / theta, and the factors of a derivative
_S = 1 / (_ODD * _FACTORIALS)
_ORDER = np.arange(1, PUMP_TERMS + 1)


def gain_table(pumps: NDArray[np.float64], loss_exponent: float, dtype: Any) -> GainTable:
    """Return the table of `pumps` (k,).

    Raises
    ------
    ValueError
        A pump for which the series do not hold.
    """
    if (largest := pumps.max(initial=0.0) * loss_exponent) > MOST_PUMP:
        raise ValueError(f"pL = {largest:.3g}: the crystal is solved up to {MOST_PUMP:g}")
    exponent, series = pumps * loss_exponent, np.empty((len(pumps), GAIN_TERMS + PUMP_TERMS), dtype)
    series[:, :GAIN_TERMS] = gains = gain_series(pumps, loss_exponent)
    # theta^2 has the pump in it too: S - 2 pL d(1/G)/d(theta^2)
    falls = 2 * exponent[:, None] * _ORDER * gains[:, 1 : PUMP_TERMS + 1]
    series[:, GAIN_TERMS:] = _S[:PUMP_TERMS] - falls
    return GainTable(series, exponent.astype(dtype))


@inlined
def value_and_slope(theta_squared: float, series: tuple[float, ...]) -> tuple[Any, Any]:
    r"""Return a sum :math:`\sum_k a_k\theta^{2k}` of ten terms, and its slope.

    The slope is that in :math:`\theta^2`, by Horner's rule, twice. It serves variances alone, and
    leaves out the highest four powers: it is 1e-6 off at :math:`\theta = 1.5`.
    """
    total = series[9]
    total = fused(total, theta_squared, series[8])
    total = fused(total, theta_squared, series[7])
    total = fused(total, theta_squared, series[6])
    total = fused(total, theta_squared, series[5])
    slope = total
    total = fused(total, theta_squared, series[4])
    slope = fused(slope, theta_squared, total)
    total = fused(total, theta_squared, series[3])
    slope = fused(slope, theta_squared, total)
    total = fused(total, theta_squared, series[2])
    slope = fused(slope, theta_squared, total)
    total = fused(total, theta_squared, series[1])
    slope = fused(slope, theta_squared, total)
    return fused(total, theta_squared, series[0]), slope


@inlined
def pump_slope(theta_squared: float, series: tuple[float, ...]) -> float:
    """Return the sum of the last six terms of a row of a `GainTable`."""
    total = series[15]
    total = fused(total, theta_squared, series[14])
    total = fused(total, theta_squared, series[13])
    total = fused(total, theta_squared, series[12])
    total = fused(total, theta_squared, series[11])
    return fused(total, theta_squared, series[10])


class Gain(NamedTuple):
    r"""The crystal at one working point.

    Attributes
    ----------
    inverse : float
        :math:`q = G^{-1}`.
    slope : float
        :math:`\partial_{\theta^2}q` at constant pump.
    pump_slope : float
        :math:`-\partial_{pL}q` at constant signal.
    """

    inverse: float
    slope: float
    pump_slope: float


@inlined
def crystal_gain(theta_squared: float, series: tuple[float, ...]) -> Gain:
    """Return the gain of a row of a `GainTable`."""
    inverse, slope = value_and_slope(theta_squared, series)
    return Gain(inverse, slope, pump_slope(theta_squared, series))


@inlined
def amplified_variance(variance: float, signal: float, g: Gain) -> float:
    r"""Return :math:`q^4` times the variance of X after the crystal, linearized about the mean.

    .. math:: \sigma \to \Big(\frac{\partial E_s^{out}}{\partial E_s}\Big)^2\sigma
              + \Big(\frac{\partial E_s^{out}}{\partial E_p}\Big)^2\sigma_p, \qquad \sigma_p = 1

    With :math:`E_s^{out} = E_s/q` the two derivatives are
    :math:`(q - 2\,(\kappa lE_s)^2\,\partial_{\theta^2}q)/q^2` and
    :math:`-\kappa lE_s\,\partial_{pL}q/q^2`: the factor leaves out the division.
    A photon of the pump has twice the energy of one of the signal. In amplitudes that conserve
    :math:`E_s^2 + E_p^2` its vacuum of 1/2 is 1. `signal` is :math:`(\kappa lE_s)^2` before the
    crystal: a weak one adds just :math:`(\kappa lE_s)^2`.
    """
    kept = g.inverse - (signal + signal) * g.slope
    return kept * kept * variance + signal * g.pump_slope * g.pump_slope


@inlined
def row_of(gains: NDArray[Any], step: int) -> Any:
    """Return a row of `GainTable.series` as scalars."""
    row = gains[step]
    ten = row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], row[9]
    return (*ten, row[10], row[11], row[12], row[13], row[14], row[15])


# of cosh(theta) and sinh(theta) / theta in powers of theta^2
COSH_SERIES = tuple(1 / math.factorial(2 * k) for k in range(GAIN_TERMS))
SINH_SERIES = tuple(1 / math.factorial(2 * k + 1) for k in range(GAIN_TERMS))


@inlined
def pumped_gain(
    theta_squared: float,
    pump_exponent: float,
    cosh: tuple[float, ...],
    sinh: tuple[float, ...],
    half: float,
) -> Gain:
    r"""Return the gain where each pulse has its own pump.

    .. math:: q = C - pL\,S, \qquad \partial_{\theta^2}C = \tfrac12S

    `pump_exponent` is pL, `half` 1/2 in the dtype wanted; `cosh` and `sinh`, those of
    `PulseErrors`, are the series of C and S.
    """
    s, s_slope = value_and_slope(theta_squared, sinh)
    slope = half * s - pump_exponent * s_slope
    inverse = value_and_slope(theta_squared, cosh)[0] - pump_exponent * s
    return Gain(inverse, slope, s - (pump_exponent + pump_exponent) * slope)
