r"""One pulse through one round trip: the equations, as functions of one scalar each.

A pulse is Gaussian: mean :math:`\mu` and variances :math:`\sigma` of X, :math:`\pi` of P, with
:math:`X = (a + a^\dagger)/\sqrt2`, so that vacuum has variance 1/2. The functions serve the
compiled kernels, the tests and, on arrays, anyone.

References
----------
Ng et al., arXiv:2103.05629. Yamamura, Aihara, Yamamoto, Phys. Rev. A 96, 053834 (2017).
"""

from __future__ import annotations

import math

from numba import njit

__all__ = [
    "COSH_SERIES",
    "GAIN_TERMS",
    "SINH_SERIES",
    "attenuated_variance",
    "crystal_gain",
    "even_polynomial",
    "gain_series",
    "measured_mean",
    "measured_variance",
    "pumped_gain",
    "record_variance",
    "timing_overlap",
]

GAIN_TERMS = 12
# of cosh(theta) and sinh(theta) / theta in powers of theta^2
COSH_SERIES = tuple(1 / math.factorial(2 * k) for k in range(GAIN_TERMS))
SINH_SERIES = tuple(1 / math.factorial(2 * k + 1) for k in range(GAIN_TERMS))


def gain_series(pump: float, loss_exponent: float) -> tuple[float, ...]:
    r"""Return the coefficients of :math:`1/G` in powers of :math:`\theta^2`.

    Coupled waves :math:`E_s' = \kappa E_p E_s,\ E_p' = -\kappa E_s^2` over a crystal of length
    l conserve :math:`E_s^2 + E_p^2` and are solved by

    .. math:: G^{-1} = \cosh\theta - \frac{pL}{\theta}\sinh\theta
              = \sum_k \Big(1 - \frac{pL}{2k + 1}\Big)\frac{\theta^{2k}}{(2k)!}

    with :math:`\theta = \kappa l\sqrt{E_p^2 + E_s^2}` and :math:`pL = \kappa l E_p`. A weak signal
    has gain :math:`e^{pL}`; a strong one depletes the pump. Even powers alone appear, so the
    kernel needs no root. With 12 terms the error of G is below 1e-9 for :math:`\theta < 3`.

    Parameters
    ----------
    pump : float
        Pump amplitude p over its threshold.
    loss_exponent : float
        L, the field loss of a round trip: amplitudes fall by :math:`e^{-L}` without a pump.
    """
    p_l = pump * loss_exponent
    return tuple((1 - p_l / (2 * k + 1)) / math.factorial(2 * k) for k in range(GAIN_TERMS))


@njit(inline="always")
def even_polynomial(theta_squared: float, series: tuple[float, ...]) -> float:
    r"""Return :math:`\sum_k a_k\theta^{2k}` for the coefficients `series`."""
    total = series[11]
    total = total * theta_squared + series[10]
    total = total * theta_squared + series[9]
    total = total * theta_squared + series[8]
    total = total * theta_squared + series[7]
    total = total * theta_squared + series[6]
    total = total * theta_squared + series[5]
    total = total * theta_squared + series[4]
    total = total * theta_squared + series[3]
    total = total * theta_squared + series[2]
    total = total * theta_squared + series[1]
    return total * theta_squared + series[0]


@njit(inline="always")
def crystal_gain(theta_squared: float, series: tuple[float, ...], one: float) -> float:
    """Return the field gain G of `gain_series`; `one` is 1 in the dtype wanted."""
    return one / even_polynomial(theta_squared, series)


@njit(inline="always")
def pumped_gain(
    theta_squared: float,
    pump_exponent: float,
    cosh: tuple[float, ...],
    sinh: tuple[float, ...],
    one: float,
) -> float:
    """Return the G of `gain_series` where each pulse has its own pump.

    `pump_exponent` is pL; `cosh` and `sinh` are `COSH_SERIES` and `SINH_SERIES`.
    """
    falls = pump_exponent * even_polynomial(theta_squared, sinh)
    return one / (even_polynomial(theta_squared, cosh) - falls)


@njit(inline="always")
def timing_overlap(delay: float) -> float:
    r"""Return the overlap :math:`2^{-\tau^2}` of the fields of two equal Gaussian pulses.

    `delay` is :math:`\tau`, in full widths at half maximum of the intensity.
    """
    return 2.0 ** (-delay * delay)


@njit(inline="always")
def attenuated_variance(variance: float, transmission: float, vacuum: float) -> float:
    r"""Return :math:`\eta\sigma + (1 - \eta)/2`, the variance after a loss; `vacuum` is 1/2.

    Written so that vacuum stays vacuum to the last bit.
    """
    return vacuum + transmission * (variance - vacuum)


@njit(inline="always")
def record_variance(variance: float, tap: float, floor: float) -> float:
    r"""Return :math:`V = R\eta_d\sigma + (1 - R\eta_d)/2 + \sigma_{el}^2` of a homodyne record.

    `tap` is :math:`R\eta_d`, `floor` the part that does not depend on the pulse.
    """
    return tap * variance + floor


@njit(inline="always")
def measured_mean(mean: float, kick: float, transmitted: float, gain: float) -> float:
    r"""Return the mean of X after the out-coupler, given the record.

    .. math:: \mu \to \sqrt{1-R}\,\mu + \sqrt{R\eta_d(1-R)}\,\frac{\sigma - 1/2}{\sqrt V}\,w

    `kick` is :math:`(\sigma - 1/2)w/\sqrt V`, with w the standard normal of the record
    :math:`m = \sqrt{R\eta_d}\,\mu + \sqrt V w`.
    """
    return transmitted * mean + gain * kick


@njit(inline="always")
def measured_variance(attenuated: float, excess: float, gain_squared: float) -> float:
    r"""Return the variance of X after the out-coupler, given the record.

    .. math:: \sigma \to (1-R)\sigma + \frac R2 - R\eta_d(1-R)\frac{(\sigma - 1/2)^2}{V}

    `attenuated` is the first two terms, `excess` is :math:`(\sigma - 1/2)/\sqrt V`.
    """
    return attenuated - gain_squared * excess * excess
