"""Round trips of all pulses of a measurement-feedback machine, compiled.

There are two kernels: one without imperfections, which makes a chunk of round trips in a call,
and one with all of them. Both call the equations of `pulse` by name.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from emulator.converters import to_code
from emulator.dynamics.pulse import (
    attenuated_variance,
    crystal_gain,
    measured_mean,
    measured_variance,
    pumped_gain,
    record_variance,
    timing_overlap,
)
from emulator.imperfections.streams import INJECTION, JITTER, PUMP
from emulator.noise import NoiseKey, fill_normal_pair
from emulator.products.avx512 import prefer_wide_vectors
from emulator.products.operand import multiply_rows, pack_codes
from emulator.products.packing import BLOCK_ROWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.imperfections import Disorder
    from emulator.products.operand import CouplingOperand

__all__ = [
    "GainTable",
    "LoopConstants",
    "LoopErrors",
    "PulseArrays",
    "advance_chunk",
    "advance_imperfect_pulses",
]


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


@njit(inline="always")
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
    """What a pump makes of the gains: `pulse.gain_series` and the square of pL, by round trip."""

    series: NDArray[Any]
    theta_from_pump: NDArray[Any]


@njit(inline="always")
def as_tuple(row: NDArray[Any]) -> Any:
    """Return the coefficients of `pulse.even_polynomial` as scalars."""
    low = row[0], row[1], row[2], row[3], row[4], row[5]
    return (*low, row[6], row[7], row[8], row[9], row[10], row[11])


@njit(cache=True, nogil=True)
def advance_chunk(  # noqa: PLR0917  a kernel takes arrays
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


@njit(cache=True, nogil=True, error_model="numpy")
def advance_pulses(  # noqa: PLR0917  a kernel takes arrays
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
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
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


@njit(cache=True, nogil=True)
def fill_noises(  # noqa: PLR0917  called from a kernel
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
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
    if errors.injection_noise != 0:
        fill_normal_pair(key, INJECTION | round_trip, pair, first_run, rows[0], rows[1])
    if errors.pump_noise != 0:
        fill_normal_pair(key, PUMP | round_trip, pair, first_run, rows[2], rows[3])
    if errors.timing_jitter != 0:
        fill_normal_pair(key, JITTER | round_trip, pair, first_run, rows[4], rows[5])


@njit(inline="always")
def fill_drive(  # noqa: PLR0917  part of a kernel
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


@njit(cache=True, nogil=True, error_model="numpy")
def advance_imperfect_pulses(  # noqa: PLR0917  a kernel takes arrays
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
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
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
