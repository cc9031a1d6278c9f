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
from emulator.dynamics.crystal import (
    GainTable,
    amplified_variance,
    crystal_gain,
    pumped_gain,
    row_of,
)
from emulator.dynamics.stability import measure_modes, slow_modes
from emulator.kernel import inlined, kernel, kernel_part
from emulator.noise import Draw, at, fill_normal_pair
from emulator.products.coupling import multiply_rows, pack_codes
from emulator.products.packing import BLOCK_ROWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.converters import Coder
    from emulator.disorder import Disorder
    from emulator.dynamics.stability import LoopFilter
    from emulator.products.coupling import CouplingOperand

__all__ = [
    "LoopConstants",
    "PulseArrays",
    "PulseErrors",
    "PulseRows",
    "advance_chunk",
    "advance_imperfect_pulses",
]


class LoopConstants(NamedTuple):
    r"""Scalars of the kernels, all of the state's dtype (else float32 would turn float64).

    Attributes
    ----------
    tap : float
        :math:`R\\eta_d`, of a power; `field_tap` is its root.
    vacuum_record : float
        V of a vacuum.
    kick : float
        :math:`\\sqrt{R\\eta_d(1 - R)}`.
    """

    theta_from_mean: float
    most_signal: float
    field_transmission: float
    transmission: float
    one: float
    vacuum: float
    tap: float
    field_tap: float
    vacuum_record: float
    field_passed: float
    passed: float
    kick: float
    adc_scale: float
    adc: Coder
    dac_step: float
    dac: Coder


@inlined
def measured(
    mean: float, variance: float, inverse: float, noise: float, c: LoopConstants
) -> tuple[Any, Any, Any]:
    r"""Return mean, variance and record of a pulse after crystal, loss and measurement.

    .. math::
        \mu &\to \sqrt\eta\,\mu, \qquad \sigma \to \eta\sigma + (1 - \eta)/2 \\
        m &= \sqrt{R\eta_d}\,\mu + \sqrt V w, \qquad
            V = R\eta_d\sigma + (1 - R\eta_d)/2 + \sigma_{el}^2 \\
        \mu &\to \sqrt{1-R}\,\mu + \sqrt{R\eta_d(1-R)}\,\frac{\sigma - 1/2}{\sqrt V}\,w \\
        \sigma &\to (1-R)\sigma + \frac R2 - R\eta_d(1-R)\frac{(\sigma - 1/2)^2}{V}

    with w, `noise`, a standard normal. `mean` is that before the crystal, `inverse` its q = 1/G,
    and `variance` :math:`q^4\sigma` behind it: with the factors of q there is one division, which
    takes as long as all other arithmetic of a few pulses. Vacuum stays vacuum to the last bit.
    """
    q2 = inverse * inverse
    q4 = q2 * q2
    surplus = c.transmission * (variance - c.vacuum * q4)  # q^4 (sigma - 1/2)
    squared = c.tap * surplus + c.vacuum_record * q4  # q^4 V
    root = math.sqrt(squared)
    share = c.one / (q2 * root)
    width, excess = squared * share, surplus * share  # sqrt(V), (sigma - 1/2) / sqrt(V)
    mu = c.field_transmission * mean * (inverse * root * share)
    kick = c.kick * excess
    return (
        c.field_passed * mu + kick * noise,
        c.vacuum + (c.passed * excess * width - kick * kick),
        c.field_tap * mu + width * noise,
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


class PulseRows(NamedTuple):
    """Some pulses, shape (n, runs), n even: products are read, codes are written."""

    mean: NDArray[Any]
    variance: NDArray[Any]
    product: NDArray[Any]
    codes: NDArray[Any]


@kernel
def advance_chunk(
    operand: CouplingOperand,
    arrays: PulseArrays,
    gains: GainTable,
    slowed: LoopFilter,
    injection_scale: Any,
    draw: Draw,
    c: LoopConstants,
) -> None:
    """Make as many round trips as `gains` has rows.

    The product is needed a few rows at a time only, which stay in the fastest cache.
    """
    n_spins, n_pulses, slots = arrays.n_spins, len(arrays.mean), len(arrays.codes)
    for step in range(len(gains.series)):
        now = at(draw, draw.round_trip + step)
        # the slot about to be overwritten is `delay` + 1 round trips old, and taken before
        codes = arrays.codes[now.round_trip % slots]
        pack_codes(operand, codes[:n_spins], arrays.workspace)
        measure_modes(slowed, codes)
        series, exponent = row_of(gains.series, step), gains.pump_exponent[step]
        for first in range(0, n_pulses, BLOCK_ROWS):
            end = min(first + BLOCK_ROWS, n_pulses)
            product = arrays.product[: end - first]
            n_coupled = min(end, n_spins) - first
            multiply_rows(operand, arrays.workspace, first, product[:n_coupled])
            product[n_coupled:] = 0
            slow_modes(slowed, first, product[:n_coupled])
            rows = PulseRows(
                arrays.mean[first:end], arrays.variance[first:end], product, codes[first:end]
            )
            advance_pulses(rows, injection_scale, now, first // 2, series, exponent, c)


@kernel_part
def advance_pulses(
    rows: PulseRows,
    injection_scale: Any,
    draw: Draw,
    first_pair: int,
    series: tuple[Any, ...],
    exponent: Any,
    c: LoopConstants,
) -> None:
    r"""Make one round trip of some pulses: injection, gains, loss, measurement, ADC.

    `series` is a row of a `GainTable`, `exponent` its pL. The noise of the record passes through
    the codes, so that the inner loop has four arrays and vectorizes.
    What comes in another dtype takes that of the state first: float64 products, which 16-bit
    couplings need, would make all arithmetic float64 (255 instead of 358 us, n = 550, 64 runs).
    """
    dtype, codes = rows.mean.dtype, rows.codes
    theta_from_pump = exponent * exponent
    drive = np.empty(rows.mean.shape[1], dtype)
    for pair in range(len(rows.mean) // 2):
        fill_normal_pair(draw, first_pair + pair, codes[2 * pair], codes[2 * pair + 1])
        for i in range(2 * pair, 2 * pair + 2):
            means, variances, products, records = (
                rows.mean[i],
                rows.variance[i],
                rows.product[i],
                codes[i],
            )
            for r in range(len(products)):
                drive[r] = to_code(products[r] * injection_scale, c.dac)
            for r in range(len(means)):
                mu = means[r] + c.dac_step * drive[r]
                signal = min(c.theta_from_mean * mu * mu, c.most_signal)
                g = crystal_gain(theta_from_pump + signal, series)
                sigma = amplified_variance(variances[r], signal, g)
                noise = dtype.type(records[r])
                means[r], variances[r], record = measured(mu, sigma, g.inverse, noise, c)
                records[r] = record * c.adc_scale
            for r in range(len(records)):
                records[r] = to_code(records[r], c.adc)


class PulseErrors(NamedTuple):
    """Further scalars of `advance_imperfect_pulses`, of the state's dtype.

    `outage` is the normal below which a pulse has no pump; `most_pump` is `MOST_PUMP`; `cosh` and
    `sinh` are `COSH_SERIES` and `SINH_SERIES`.
    """

    pump_exponent: float
    most_pump: float
    pump_noise: float
    outage: float
    cosh: tuple[Any, ...]
    sinh: tuple[Any, ...]


@inlined
def disturb_pump(
    pumped: NDArray[Any],
    i: int,
    pump_noise: NDArray[Any],
    outage: NDArray[Any],
    errors: PulseErrors,
    one: Any,
) -> None:
    """Apply noise and outages to the pump (runs,) of pulse i, within what the series hold for."""
    if len(pump_noise):
        for r in range(len(pumped)):
            pumped[r] *= one + errors.pump_noise * pump_noise[i, r]
    if len(outage):
        for r in range(len(pumped)):
            if outage[i, r] < errors.outage:
                pumped[r] = 0
    for r in range(len(pumped)):
        pumped[r] = min(max(pumped[r], -errors.most_pump), errors.most_pump)


@kernel
def advance_imperfect_pulses(
    rows: PulseRows,
    pump_noise: NDArray[Any],
    outage: NDArray[Any],
    common_pump: NDArray[Any],
    c: LoopConstants,
    errors: PulseErrors,
    disorder: Disorder,
) -> None:
    """Make one round trip of every pulse, given its drive in place of the product.

    `rows.codes` hold the noise of the records, which take the place of the drive; `common_pump`
    (runs,) are factors, the others normals by pulse and run, or empty. The round trip takes 1.5 to
    2.5 times as long as an ideal one, n = 550, 64 runs.
    """
    mean, variance, signal, noise = rows
    pumped = np.empty(mean.shape[1], mean.dtype)
    for i in range(len(mean)):
        means, variances, drive = mean[i], variance[i], signal[i]
        if disorder.is_dead[i]:  # and without a pump: vacuum, whose record is shot noise
            for r in range(len(means)):
                means[r], drive[r] = 0, 0
        for r in range(len(means)):
            pumped[r] = errors.pump_exponent * disorder.pump_scale[i] * common_pump[r]
        disturb_pump(pumped, i, pump_noise, outage, errors, c.one)
        for r in range(len(means)):
            mu = means[r] + c.dac_step * drive[r]
            light, p_l = min(c.theta_from_mean * mu * mu, c.most_signal), pumped[r]
            g = pumped_gain(p_l * p_l + light, p_l, errors.cosh, errors.sinh, c.vacuum)
            sigma = amplified_variance(variances[r], light, g)
            means[r], variances[r], drive[r] = measured(
                mu, sigma, g.inverse, mean.dtype.type(noise[i, r]), c
            )
