r"""The crystal: gain of a pump that the signal depletes, and what it does to a variance.

Coupled waves :math:`E_s' = \kappa E_p E_s,\ E_p' = -\kappa E_s^2` over a crystal of length l
conserve :math:`E_s^2 + E_p^2`, and are solved by sech and tanh.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emulator.kernel import inlined

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "COSH_SERIES",
    "SINH_SERIES",
    "Gain",
    "GainTable",
    "amplified_variance",
    "crystal_gain",
    "eight_of",
    "gain_series",
    "gain_table",
    "pumped_gain",
    "twelve_of",
]

GAIN_TERMS = 12
PUMP_TERMS = 8
# of 1 / G: 2k + 1 and (2k)!
_ODD = np.arange(1.0, 2 * GAIN_TERMS, 2)
_FACTORIALS = np.array([float(math.factorial(2 * k)) for k in range(GAIN_TERMS)])


def gain_series(pump: ArrayLike, loss_exponent: float) -> NDArray[np.float64]:
    r"""Return the coefficients of :math:`1/G` in powers of :math:`\theta^2`.

    .. math:: G^{-1} = \cosh\theta - \frac{pL}{\theta}\sinh\theta
              = \sum_k \Big(1 - \frac{pL}{2k + 1}\Big)\frac{\theta^{2k}}{(2k)!}

    with :math:`\theta = \kappa l\sqrt{E_p^2 + E_s^2}` and :math:`pL = \kappa l E_p`. A weak signal
    has gain :math:`e^{pL}`; a strong one depletes the pump. Even powers alone appear, so the
    kernel needs no root. With 12 terms the error of G is below 1e-9 for :math:`\theta < 3`.

    Parameters
    ----------
    pump : float or array
        Pump amplitude p over its threshold.
    loss_exponent : float
        L, the field loss of a round trip: amplitudes fall by :math:`e^{-L}` without a pump.

    Returns
    -------
    float64 array, shape (..., 12)
        In the shape of `pump`, and a new axis.
    """
    p_l = np.asarray(pump, np.float64)[..., None] * loss_exponent
    return (1 - p_l / _ODD) / _FACTORIALS


class GainTable(NamedTuple):
    r"""What the pumps make of the crystal, by round trip.

    Attributes
    ----------
    series : array, shape (k, 12)
        `gain_series`.
    pump_series : array, shape (k, 8)
        Of :math:`-\partial_{pL}G^{-1}`, in the same powers.
    pump_exponent : array, shape (k,)
        pL.
    """

    series: NDArray[Any]
    pump_series: NDArray[Any]
    pump_exponent: NDArray[Any]


def gain_table(pumps: NDArray[np.float64], loss_exponent: float, dtype: Any) -> GainTable:
    """Return the table of `pumps` (k,)."""
    series, exponent = gain_series(pumps, loss_exponent), pumps * loss_exponent
    # theta^2 has the pump in it too: S - 2 pL d(1/G)/d(theta^2)
    order = np.arange(1, PUMP_TERMS + 1)
    falls = 2 * exponent[:, None] * order * series[:, order]
    pump_series = 1 / (_ODD * _FACTORIALS)[:PUMP_TERMS] - falls
    return GainTable(*(part.astype(dtype) for part in (series, pump_series, exponent)))


@inlined
def short_polynomial(theta_squared: float, series: tuple[float, ...]) -> float:
    r"""Return :math:`\sum_k a_k\theta^{2k}` for eight coefficients."""
    total = series[7]
    total = total * theta_squared + series[6]
    total = total * theta_squared + series[5]
    total = total * theta_squared + series[4]
    total = total * theta_squared + series[3]
    total = total * theta_squared + series[2]
    total = total * theta_squared + series[1]
    return total * theta_squared + series[0]


@inlined
def polynomial_and_slope(theta_squared: float, series: tuple[float, ...]) -> tuple[Any, Any]:
    r"""Return a sum :math:`\sum_k a_k\theta^{2k}` of twelve terms, and its slope.

    The slope is that in :math:`\theta^2`, by Horner's rule, twice; it leaves out the highest
    four powers, 2e-7 of it at :math:`\theta = 3`.
    """
    total = series[11]
    total = total * theta_squared + series[10]
    total = total * theta_squared + series[9]
    total = total * theta_squared + series[8]
    total = total * theta_squared + series[7]
    slope = total
    total = total * theta_squared + series[6]
    slope = slope * theta_squared + total
    total = total * theta_squared + series[5]
    slope = slope * theta_squared + total
    total = total * theta_squared + series[4]
    slope = slope * theta_squared + total
    total = total * theta_squared + series[3]
    slope = slope * theta_squared + total
    total = total * theta_squared + series[2]
    slope = slope * theta_squared + total
    total = total * theta_squared + series[1]
    slope = slope * theta_squared + total
    return total * theta_squared + series[0], slope


class Gain(NamedTuple):
    r"""The crystal at one working point.

    Attributes
    ----------
    gain : float
        G.
    slope : float
        :math:`\partial_{\theta^2}G^{-1}` at constant pump.
    pump_slope : float
        :math:`-\partial_{pL}G^{-1}` at constant signal.
    """

    gain: Any
    slope: Any
    pump_slope: Any


@inlined
def crystal_gain(
    theta_squared: float, series: tuple[float, ...], pump_series: tuple[float, ...], one: float
) -> Gain:
    """Return the gain of the series of a `GainTable`; `one` is 1 in the dtype wanted."""
    inverse, slope = polynomial_and_slope(theta_squared, series)
    return Gain(one / inverse, slope, short_polynomial(theta_squared, pump_series))


@inlined
def amplified_variance(variance: float, signal: float, g: Gain) -> float:
    r"""Return the variance of X after the crystal, linearized about the mean.

    .. math:: \sigma \to \Big(\frac{\partial E_s^{out}}{\partial E_s}\Big)^2\sigma
              + \Big(\frac{\partial E_s^{out}}{\partial E_p}\Big)^2\sigma_p, \qquad \sigma_p = 1

    A photon of the pump has twice the energy of one of the signal. In amplitudes that conserve
    :math:`E_s^2 + E_p^2` its vacuum of 1/2 is 1. `signal` is :math:`(\kappa lE_s)^2` before the
    crystal: a weak one adds just :math:`(\kappa lE_s)^2`.
    """
    squared = g.gain * g.gain
    kept = g.gain - (signal + signal) * squared * g.slope
    mixed = squared * g.pump_slope
    return kept * kept * variance + signal * mixed * mixed


@inlined
def eight_of(row: NDArray[Any]) -> Any:
    """Return the coefficients of `short_polynomial` as scalars."""
    return row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7]


@inlined
def twelve_of(row: NDArray[Any]) -> Any:
    """Return the coefficients of `polynomial_and_slope` as scalars."""
    return (*eight_of(row), row[8], row[9], row[10], row[11])


# of cosh(theta) and sinh(theta) / theta in powers of theta^2
COSH_SERIES = tuple(1 / math.factorial(2 * k) for k in range(GAIN_TERMS))
SINH_SERIES = tuple(1 / math.factorial(2 * k + 1) for k in range(GAIN_TERMS))


@inlined
def pumped_gain(
    theta_squared: float,
    pump_exponent: float,
    cosh: tuple[float, ...],
    sinh: tuple[float, ...],
    one: float,
) -> Gain:
    r"""Return the gain where each pulse has its own pump.

    .. math:: G^{-1} = C - pL\,S, \qquad \partial_{\theta^2}C = \tfrac12S

    `pump_exponent` is pL; `cosh` and `sinh`, those of `LoopErrors`, are the series of C and S.
    """
    s, s_slope = polynomial_and_slope(theta_squared, sinh)
    half = one / (one + one)
    slope = half * s - pump_exponent * s_slope
    inverse = polynomial_and_slope(theta_squared, cosh)[0] - pump_exponent * s
    return Gain(one / inverse, slope, s - (pump_exponent + pump_exponent) * slope)
