"""Round trips of a measurement-feedback machine with all that `Imperfections` lists."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emulator.converters import to_code
from emulator.dynamics.kernel import inlined, kernel
from emulator.dynamics.round_trip import GAIN_TERMS, LoopConstants, even_polynomial, measured
from emulator.imperfections import INJECTION, JITTER, PUMP
from emulator.noise import NoiseKey, fill_normal_pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.imperfections import Disorder

__all__ = [
    "COSH_SERIES",
    "SINH_SERIES",
    "LoopErrors",
    "advance_imperfect_pulses",
    "pumped_gain",
    "timing_overlap",
]

# of cosh(theta) and sinh(theta) / theta in powers of theta^2
COSH_SERIES = tuple(1 / math.factorial(2 * k) for k in range(GAIN_TERMS))
SINH_SERIES = tuple(1 / math.factorial(2 * k + 1) for k in range(GAIN_TERMS))


class LoopErrors(NamedTuple):
    """Further scalars of `advance_imperfect_pulses`.

    All are of the state's dtype, but `accumulator_top`, which has that of the product.
    """

    accumulator_top: Any
    injection_noise: Any
    timing_jitter: Any
    pump_exponent: Any
    pump_noise: Any
    detector_offset: Any
    leakage: Any


@inlined
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


@inlined
def timing_overlap(delay: float) -> float:
    r"""Return the overlap :math:`2^{-\tau^2}` of the fields of two equal Gaussian pulses.

    `delay` is :math:`\tau`, in full widths at half maximum of the intensity.
    """
    return 2.0 ** (-delay * delay)


@kernel
def fill_noises(
    key: NoiseKey,
    round_trip: int,
    pair: int,
    first_run: int,
    errors: LoopErrors,
    rows: NDArray[Any],
) -> None:
    """Fill `rows` (6, runs), two of injection, of pump and of timing, for a pair of pulses.

    Rows of what is off are left alone. It is a call of its own, since inlined into the kernel it
    would double the time that compilation takes.
    """
    if errors.injection_noise != 0:
        fill_normal_pair(key, INJECTION | round_trip, pair, first_run, rows[0], rows[1])
    if errors.pump_noise != 0:
        fill_normal_pair(key, PUMP | round_trip, pair, first_run, rows[2], rows[3])
    if errors.timing_jitter != 0:
        fill_normal_pair(key, JITTER | round_trip, pair, first_run, rows[4], rows[5])


@inlined
def fill_drive(
    drive: NDArray[Any],
    products: NDArray[Any],
    injection_scale: Any,
    noise: NDArray[Any],
    jitter: NDArray[Any],
    c: LoopConstants,
    errors: LoopErrors,
) -> None:
    """Fill `drive` (runs,) with what is injected into a pulse, in codes of the DAC.

    Static gain and phase, which come from elsewhere, are left out.
    """
    for r in range(len(drive)):
        total = min(max(products[r], -errors.accumulator_top), errors.accumulator_top)
        drive[r] = to_code(total * injection_scale, c.dac_top, c.dac_rounds)
    for r in range(len(drive)):
        drive[r] *= c.one + errors.injection_noise * noise[r]
    if errors.timing_jitter != 0:
        for r in range(len(drive)):
            drive[r] *= timing_overlap(errors.timing_jitter * jitter[r])


@kernel
def advance_imperfect_pulses(
    mean: NDArray[Any],
    variance: NDArray[Any],
    product: NDArray[Any],
    codes: NDArray[Any],
    injection_scale: Any,
    key: NoiseKey,
    round_trip: int,
    first_run: int,
    projection: NDArray[Any],
    cosh: tuple[float, ...],
    sinh: tuple[float, ...],
    c: LoopConstants,
    errors: LoopErrors,
    disorder: Disorder,
) -> None:
    """Make one round trip of every pulse, with all that `Imperfections` lists.

    Arrays as in `advance_pulses`; `projection` (runs,) is the cosine of the phase error. Takes 1.5
    to 2.5 times as long as `advance_pulses` with the product, n = 550, 64 runs.
    """
    runs = mean.shape[1]
    drive, raw = np.empty(runs, mean.dtype), np.empty(runs, mean.dtype)
    before = np.zeros(runs, mean.dtype)
    noises = np.zeros((6, runs), mean.dtype)
    for pair in range(len(mean) // 2):
        fill_normal_pair(key, round_trip, pair, first_run, codes[2 * pair], codes[2 * pair + 1])
        fill_noises(key, round_trip, pair, first_run, errors, noises)
        for side in range(2):
            i = 2 * pair + side
            means, variances, products, records = mean[i], variance[i], product[i], codes[i]
            if disorder.is_dead[i]:
                means[:], records[:], before[:] = 0, 0, 0
                continue
            noise, jitter = noises[side], noises[4 + side]
            fill_drive(drive, products, injection_scale, noise, jitter, c, errors)
            step, pump_noise = c.dac_step * disorder.injection_gain[i], noises[2 + side]
            pump_exponent = errors.pump_exponent * disorder.pump_scale[i]
            for r in range(runs):
                mu = means[r] + step * drive[r] * projection[r]
                pumped = pump_exponent * (c.one + errors.pump_noise * pump_noise[r])
                theta_squared = pumped * pumped + c.theta_from_mean * mu * mu
                gain = pumped_gain(theta_squared, pumped, cosh, sinh, c.one)
                means[r], variances[r], raw[r] = measured(
                    gain * mu, gain * gain * variances[r], mean.dtype.type(records[r]), c
                )
            detector_gain = disorder.detector_gain[i]
            for r in range(runs):
                record = detector_gain * raw[r]
                total = record + errors.leakage * before[r] + errors.detector_offset
                before[r] = record
                records[r] = to_code(total * c.adc_scale, c.adc_top, c.adc_rounds)
