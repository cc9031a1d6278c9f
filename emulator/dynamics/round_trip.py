r"""Round trips of the pulses of a measurement-feedback machine: equations and kernels.

A pulse is Gaussian: mean :math:`\mu` and variances :math:`\sigma` of X, :math:`\pi` of P, with
:math:`X = (a + a^\dagger)/\sqrt2`, so that vacuum has variance 1/2. The equations are functions
of one scalar each; the kernel, which makes a chunk of round trips in a call, calls them by name.

References
----------
Ng et al., arXiv:2103.05629. Yamamura, Aihara, Yamamoto, Phys. Rev. A 96, 053834 (2017).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emulator.converters import to_code
from emulator.dynamics.kernel import inlined, kernel
from emulator.noise import NoiseKey, fill_normal_pair
from emulator.products.operand import multiply_rows, pack_codes
from emulator.products.packing import BLOCK_ROWS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from emulator.products.operand import CouplingOperand

__all__ = [
    "GAIN_TERMS",
    "GainTable",
    "LoopConstants",
    "PulseArrays",
    "advance_chunk",
    "attenuated_variance",
    "crystal_gain",
    "even_polynomial",
    "gain_series",
    "measured",
    "measured_mean",
    "measured_variance",
    "record_variance",
]


GAIN_TERMS = 12
# of 1 / G: 2k + 1 and (2k)!
_ODD = np.arange(1.0, 2 * GAIN_TERMS, 2)
_FACTORIALS = np.array([float(math.factorial(2 * k)) for k in range(GAIN_TERMS)])


def gain_series(pump: ArrayLike, loss_exponent: float) -> NDArray[np.float64]:
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


@inlined
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


@inlined
def crystal_gain(theta_squared: float, series: tuple[float, ...], one: float) -> float:
    """Return the field gain G of `gain_series`; `one` is 1 in the dtype wanted."""
    return one / even_polynomial(theta_squared, series)


@inlined
def attenuated_variance(variance: float, transmission: float, vacuum: float) -> float:
    r"""Return :math:`\eta\sigma + (1 - \eta)/2`, the variance after a loss; `vacuum` is 1/2.

    Written so that vacuum stays vacuum to the last bit.
    """
    return vacuum + transmission * (variance - vacuum)


@inlined
def record_variance(variance: float, tap: float, floor: float) -> float:
    r"""Return :math:`V = R\eta_d\sigma + (1 - R\eta_d)/2 + \sigma_{el}^2` of a homodyne record.

    `tap` is :math:`R\eta_d`, `floor` the part that does not depend on the pulse.
    """
    return tap * variance + floor


@inlined
def measured_mean(mean: float, kick: float, transmitted: float, gain: float) -> float:
    r"""Return the mean of X after the out-coupler, given the record.

    .. math:: \mu \to \sqrt{1-R}\,\mu + \sqrt{R\eta_d(1-R)}\,\frac{\sigma - 1/2}{\sqrt V}\,w

    `kick` is :math:`(\sigma - 1/2)w/\sqrt V`, with w the standard normal of the record
    :math:`m = \sqrt{R\eta_d}\,\mu + \sqrt V w`.
    """
    return transmitted * mean + gain * kick


@inlined
def measured_variance(attenuated: float, excess: float, gain_squared: float) -> float:
    r"""Return the variance of X after the out-coupler, given the record.

    .. math:: \sigma \to (1-R)\sigma + \frac R2 - R\eta_d(1-R)\frac{(\sigma - 1/2)^2}{V}

    `attenuated` is the first two terms, `excess` is :math:`(\sigma - 1/2)/\sqrt V`.
    """
    return attenuated - gain_squared * excess * excess


class LoopConstants(NamedTuple):
    """Scalars of the kernels, all of the state's dtype (else float32 would turn float64)."""

    theta_from_mean: Any
    field_transmission: Any
    transmission: Any
    one: Any
    vacuum: Any
    tap: Any
    field_tap: Any
    floor: Any
    field_passed: Any
    passed: Any
    kick: Any
    kick_squared: Any
    adc_scale: Any
    adc_top: Any
    adc_rounds: bool
    dac_top: Any
    dac_step: Any
    dac_rounds: bool


@inlined
def measured(mean: float, variance: float, noise: float, c: LoopConstants) -> tuple[Any, Any, Any]:
    """Return mean, variance and record of an amplified pulse after loss and measurement."""
    mu = c.field_transmission * mean
    sigma = attenuated_variance(variance, c.transmission, c.vacuum)
    width = math.sqrt(record_variance(sigma, c.tap, c.floor))
    record = c.field_tap * mu + width * noise
    excess = (sigma - c.vacuum) / width
    passed = attenuated_variance(sigma, c.passed, c.vacuum)
    return (
        measured_mean(mu, excess * noise, c.field_passed, c.kick),
        measured_variance(passed, excess, c.kick_squared),
        record,
    )


class PulseArrays(NamedTuple):
    """Arrays of a block of pulses.

    Attributes
    ----------
    mean, variance : array, shape (n or n + 1, runs)
        An even number of pulses, runs in sixteens.
    codes : array, shape (slots, n or n + 1, runs)
        Records in ADC codes, a ring over round trips.
    workspace, product
        What the coupling product needs, and `BLOCK_ROWS` rows of it.
    n_spins : int
    """

    mean: NDArray[Any]
    variance: NDArray[Any]
    codes: NDArray[Any]
    workspace: Any
    product: NDArray[Any]
    n_spins: int


class GainTable(NamedTuple):
    """What a pump makes of the gains: `gain_series` and the square of pL, by round trip."""

    series: NDArray[Any]
    theta_from_pump: NDArray[Any]


@inlined
def as_tuple(row: NDArray[Any]) -> Any:
    """Return the coefficients of `even_polynomial` as scalars."""
    low = row[0], row[1], row[2], row[3], row[4], row[5]
    return (*low, row[6], row[7], row[8], row[9], row[10], row[11])


@kernel
def advance_chunk(
    operand: CouplingOperand,
    arrays: PulseArrays,
    gains: GainTable,
    injection_scale: Any,
    key: NoiseKey,
    first_round_trip: int,
    first_run: int,
    c: LoopConstants,
) -> None:
    """Make as many round trips as `crystal` tells pumps for.

    The product is needed a few rows at a time only, which stay in the fastest cache.
    """
    n_spins, n_pulses, slots = arrays.n_spins, len(arrays.mean), len(arrays.codes)
    for step in range(len(gains.series)):
        round_trip = first_round_trip + step
        # the slot about to be overwritten is `delay` + 1 round trips old, and taken before
        codes = arrays.codes[round_trip % slots]
        pack_codes(operand, codes[:n_spins], arrays.workspace)
        series = as_tuple(gains.series[step])
        for first in range(0, n_pulses, BLOCK_ROWS):
            end = min(first + BLOCK_ROWS, n_pulses)
            product = arrays.product[: end - first]
            n_coupled = min(end, n_spins) - first
            multiply_rows(operand, arrays.workspace, first, product[:n_coupled])
            product[n_coupled:] = 0
            advance_pulses(
                arrays.mean[first:end],
                arrays.variance[first:end],
                product,
                codes[first:end],
                injection_scale,
                key,
                round_trip,
                first // 2,
                first_run,
                series,
                gains.theta_from_pump[step],
                c,
            )


@kernel
def advance_pulses(
    mean: NDArray[Any],
    variance: NDArray[Any],
    product: NDArray[Any],
    codes: NDArray[Any],
    injection_scale: Any,
    key: NoiseKey,
    round_trip: int,
    first_pair: int,
    first_run: int,
    series: tuple[float, ...],
    theta_from_pump: Any,
    c: LoopConstants,
) -> None:
    """Make one round trip of some pulses: injection, gains, loss, measurement, ADC.

    All arrays have shape (n, runs), n even. `product` is read, `codes` is written; the noise of
    the record passes through `codes`, so that the inner loop has four arrays and vectorizes.
    What comes in another dtype takes that of the state first: float64 products, which 16-bit
    couplings need, would make all arithmetic float64 (255 instead of 358 us, n = 550, 64 runs).
    """
    drive = np.empty(mean.shape[1], mean.dtype)
    for pair in range(len(mean) // 2):
        one, two = codes[2 * pair], codes[2 * pair + 1]
        fill_normal_pair(key, round_trip, first_pair + pair, first_run, one, two)
        for i in range(2 * pair, 2 * pair + 2):
            means, variances, products, records = mean[i], variance[i], product[i], codes[i]
            for r in range(len(products)):
                drive[r] = to_code(products[r] * injection_scale, c.dac_top, c.dac_rounds)
            for r in range(len(means)):
                mu = means[r] + c.dac_step * drive[r]
                theta_squared = theta_from_pump + c.theta_from_mean * mu * mu
                gain = crystal_gain(theta_squared, series, c.one)
                noise = mean.dtype.type(records[r])
                means[r], variances[r], record = measured(
                    gain * mu, gain * gain * variances[r], noise, c
                )
                records[r] = to_code(record * c.adc_scale, c.adc_top, c.adc_rounds)
