r"""A step of pulses that are watched all the time: the equations and their kernels.

The mean X and the variance :math:`\sigma` of a quadrature, vacuum having :math:`\sigma = 1/2`, as
in `gaussian`; the scalar functions serve the kernels, the tests and anyone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from emulator.converters import to_code
from emulator.noise import NoiseKey, fill_normal_pair
from emulator.products.avx512 import prefer_wide_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "LAMBERT",
    "MeasureConstants",
    "MoveConstants",
    "evolved_excess",
    "evolved_mean",
    "measure_pulses",
    "move_pulses",
]

# tanh(z) / z = (1 + a z^2) / (1 + b z^2 + c z^4), the fourth convergent of Lambert's fraction.
LAMBERT = (2 / 21, 3 / 7, 1 / 105)


class MeasureConstants(NamedTuple):
    """Scalars of `measure_pulses`, all of the state's dtype."""

    noise: Any
    adc_scale: Any
    adc_top: Any
    adc_rounds: bool


class MoveConstants(NamedTuple):
    """Scalars of `move_pulses`, all of the state's dtype."""

    one: Any
    vacuum: Any
    three: Any
    fraction: tuple[Any, ...]
    time_step: Any
    pump: Any
    net_gain: Any
    depletion: Any
    information: Any
    kick: Any
    dac_top: Any
    dac_step: Any
    dac_rounds: bool


@njit(inline="always")
def evolved_mean(mean: float, drive: float, depletion: float, c: MoveConstants) -> float:
    r"""Return the mean after a step without its noise; `depletion` is :math:`g^2X^2/2`.

    Euler, linearly implicit in the cubic term alone, as in `mean_field`: no coupling is strong
    enough to make it diverge.
    """
    slope = (c.net_gain - depletion) * mean + drive
    return mean + c.time_step * slope / (c.one + c.three * c.time_step * depletion)


@njit(inline="always")
def evolved_excess(excess: float, depletion: float, c: MoveConstants) -> float:
    r"""Return :math:`e = \sigma - 1/2` after a step at constant `depletion` D, exactly.

    .. math:: \dot e = (r - D) + 2(r - 1 - j - 3D)\,e - 4j\eta_d e^2 = u + 2ve - ke^2
              \;\Rightarrow\; e \to \frac{e + T(ve + u)}{1 + T(ke - v)},\quad
              T = \frac{\tanh z}{z}\,dt,\quad z^2 = (v^2 + ku)\,dt^2

    with :math:`v^2 + ku > 0`. Lambert's fraction stands for the hyperbolic tangent: below 1 for
    every z, so that :math:`\sigma > 0` at any step, and right to 1e-9 for z < 0.3. Vacuum without
    a pump stays vacuum to the last bit.
    """
    v = c.net_gain - c.three * depletion
    u = c.pump - depletion
    square = (v * v + c.information * u) * c.time_step * c.time_step
    above = c.time_step * (c.one + c.fraction[0] * square)
    below = c.one + square * (c.fraction[1] + c.fraction[2] * square)
    change = above * (u + v * excess)
    return (below * excess + change) / (below + above * (c.information * excess - v))


@njit(cache=True, nogil=True, error_model="numpy")
def measure_pulses(  # noqa: PLR0917  a kernel takes arrays
    mean: NDArray[Any],
    noise: NDArray[Any],
    codes: NDArray[Any],
    key: NoiseKey,
    step: int,
    first_run: int,
    c: MeasureConstants,
) -> None:
    """Draw the noise of a step and write its records, as ADC codes; shapes (n, runs), n even."""
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
    for pair in range(len(mean) // 2):
        fill_normal_pair(key, step, pair, first_run, noise[2 * pair], noise[2 * pair + 1])
        for i in range(2 * pair, 2 * pair + 2):
            means, normals, records = mean[i], noise[i], codes[i]
            for r in range(len(means)):
                record = means[r] + c.noise * normals[r]
                records[r] = to_code(record * c.adc_scale, c.adc_top, c.adc_rounds)


@njit(cache=True, nogil=True, error_model="numpy")
def move_pulses(  # noqa: PLR0917  a kernel takes arrays
    mean: NDArray[Any],
    variance: NDArray[Any],
    noise: NDArray[Any],
    product: NDArray[Any],
    field: NDArray[Any],
    field_amplitude: NDArray[Any],
    injection_scale: Any,
    c: MoveConstants,
) -> None:
    """Move every pulse by a step, given its record; shapes (n, runs).

    `field` (n,) and `field_amplitude` (runs,) are of the dtype of `product`; the drive takes
    that of the state, as in `measurement_feedback`.
    """
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
    drive = np.empty(mean.shape[1], mean.dtype)
    for i in range(len(product)):
        means, variances, normals, products, h = (
            mean[i],
            variance[i],
            noise[i],
            product[i],
            field[i],
        )
        for r in range(len(products)):
            volts = (products[r] + h * field_amplitude[r]) * injection_scale
            drive[r] = to_code(volts, c.dac_top, c.dac_rounds)
        # four arrays: it vectorizes
        for r in range(len(means)):
            mu, excess = means[r], variances[r] - c.vacuum
            depletion = c.depletion * mu * mu
            kick = c.kick * excess * normals[r]
            means[r] = evolved_mean(mu, c.dac_step * drive[r], depletion, c) + kick
            variances[r] = c.vacuum + evolved_excess(excess, depletion, c)
