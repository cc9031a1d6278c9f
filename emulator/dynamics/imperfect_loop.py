"""A feedback loop with imperfections: modulators, pulses and detector, round trip by round trip.

Noise is drawn by calls of their own, and only what is on: each place where a kernel draws noise
takes 2.5 s to compile.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy  # not scipy.special: it takes 0.2 s, and machines without such errors do not need it

from emulator.converters import to_code
from emulator.disorder import Disorder
from emulator.drift import CommonDrift
from emulator.dynamics.crystal import COSH_SERIES, MOST_PUMP, SINH_SERIES
from emulator.dynamics.round_trip import PulseErrors, PulseRows, advance_imperfect_pulses
from emulator.dynamics.stability import measure_modes, slow_modes
from emulator.imperfections import INJECTION, JITTER, OUTAGE, PUMP, SLIP
from emulator.kernel import inlined, kernel
from emulator.noise import Draw, fill_normals
from emulator.products.packing import aligned_zeros

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.converters import Coder, Converter
    from emulator.dynamics.base import JobInputs
    from emulator.dynamics.round_trip import LoopConstants, PulseArrays
    from emulator.imperfections import Imperfections

__all__ = [
    "DetectionErrors",
    "ImperfectLoop",
    "InjectionErrors",
    "NoiseRows",
    "detect",
    "detection_errors",
    "inject",
    "injection_errors",
    "timing_overlap",
]

# of 3 sqrt(3) / 2 (x - x^3), which ends at 1 between 0 and 1
_S_SHAPE = 1.5 * math.sqrt(3.0)


class InjectionErrors(NamedTuple):
    """Scalars of `inject`, of the state's dtype, but the first two, which have the product's."""

    scale: float
    accumulator_top: float
    dac: Coder
    one: float
    swing_per_code: float
    noise: float
    jitter: float
    spill: float


class DetectionErrors(NamedTuple):
    """Scalars of `detect`, of the state's dtype."""

    scale: float
    adc: Coder
    one: float
    half: float
    offset: float
    leakage: float
    bend: float


class NoiseRows(NamedTuple):
    """Normals by pulse and run; empty where the imperfection is off."""

    injection: NDArray[Any]
    jitter: NDArray[Any]
    pump: NDArray[Any]
    outage: NDArray[Any]
    slip: NDArray[Any]


@inlined
def timing_overlap(delay: float) -> float:
    r"""Return the overlap :math:`2^{-\tau^2}` of the fields of two equal Gaussian pulses.

    `delay` is :math:`\tau`, in full widths at half maximum of the intensity.
    """
    return 2.0 ** (-delay * delay)


@kernel
def inject(
    products: NDArray[Any],
    drive: NDArray[Any],
    noise: NoiseRows,
    gain: NDArray[Any],
    common_gain: NDArray[Any],
    e: InjectionErrors,
) -> None:
    """Fill `drive` (n, runs) with what is injected into pulses, in codes of the DAC.

    `gain` (n,) and `common_gain` (runs,) are factors.
    """
    before = np.zeros_like(common_gain)
    for i in range(len(drive)):
        row, product = drive[i], products[i]
        for r in range(len(row)):
            total = min(max(product[r], -e.accumulator_top), e.accumulator_top)
            row[r] = to_code(total * e.scale, e.dac)
        if e.swing_per_code != 0:
            for r in range(len(row)):
                row[r] = math.sin(row[r] * e.swing_per_code) / e.swing_per_code
        if e.noise != 0:
            for r in range(len(row)):
                row[r] *= e.one + e.noise * noise.injection[i, r]
        if e.jitter != 0:
            for r in range(len(row)):
                row[r] *= timing_overlap(e.jitter * noise.jitter[i, r])
        for r in range(len(row)):
            injected = gain[i] * common_gain[r] * row[r]
            row[r] = injected + e.spill * before[r]
            before[r] = injected


@inlined
def moved_code(
    value: float, code: float, transitions: NDArray[Any], c: Coder, half: float
) -> float:
    """Return the code of `value`, next to `code`, where transitions are off by these steps."""
    place = int((code + c.top) * c.inverse_step)
    if value < code + c.step * (transitions[place] - half):
        return max(code - c.step, -c.top)
    if value > code + c.step * (transitions[place + 1] + half):
        return min(code + c.step, c.top)
    return code


@kernel
def detect(
    signal: NDArray[Any], codes: NDArray[Any], disorder: Disorder, e: DetectionErrors
) -> None:
    """Turn records (n, runs) into codes of the ADC."""
    before = np.zeros_like(signal[0])
    transitions = disorder.transitions
    for i in range(len(signal)):
        row, records, gain = signal[i], codes[i], disorder.detector_gain[i]
        for r in range(len(row)):
            record = gain * row[r]
            row[r] = (record + e.leakage * before[r] + e.offset) * e.scale
            before[r] = record
        if e.bend != 0:
            for r in range(len(row)):
                x = min(max(row[r] / e.adc.top, -e.one), e.one)
                row[r] += e.bend * (x - x * x * x)
        for r in range(len(row)):
            records[r] = to_code(row[r], e.adc)
        if len(transitions):
            for r in range(len(row)):
                code = row.dtype.type(records[r])
                records[r] = moved_code(row[r], code, transitions, e.adc, e.half)


def injection_errors(
    options: Imperfections, dac: Converter, coder: Coder, *, scale: float
) -> InjectionErrors:
    """Return the scalars of `inject`; `scale` turns a product into codes of the DAC."""
    has_end = dac.rounds or math.isfinite(dac.full_scale)
    swing = options.modulator_swing_rad / (dac.scale * dac.full_scale) if has_end else 0.0
    return InjectionErrors(
        scale=scale,
        accumulator_top=options.accumulator_top,
        dac=coder,
        one=1.0,
        swing_per_code=swing,
        noise=options.injection_noise,
        jitter=options.timing_jitter,
        spill=options.injection_spill,
    )


def detection_errors(options: Imperfections, coder: Coder, *, scale: float) -> DetectionErrors:
    """Return the scalars of `detect`; `scale` turns a record into codes of the ADC."""
    bend = options.adc_inl * _S_SHAPE * coder.top if math.isfinite(coder.top) else 0.0
    return DetectionErrors(
        scale=scale,
        adc=coder,
        one=1.0,
        half=0.5,
        offset=options.detector_offset,
        leakage=options.leakage,
        bend=bend,
    )


class ImperfectLoop:
    """What is wrong with a block of pulses of a `MeasurementFeedback`: makes its round trips.

    Attributes
    ----------
    drift : CommonDrift
    disorder : Disorder
    """

    def __init__(
        self,
        dynamics: Any,
        inputs: JobInputs,
        *,
        first_run: int,
        shape: tuple[int, int],
    ) -> None:
        options, (adc, dac) = dynamics.imperfections, dynamics.converters
        dtype, coupling = dynamics.dtype, inputs.coupling
        size = {"first_run": first_run, "n_runs": shape[1], "round_trips": inputs.round_trips}
        self.drift = CommonDrift(options, inputs.key, **size)
        self.disorder = Disorder.of(
            options, inputs.n_spins, dtype, n_codes=adc.n_codes, job=inputs.key
        )
        self._dynamics, self._inputs = dynamics, inputs
        self._product = aligned_zeros(shape, coupling.dtype)
        self._signal = aligned_zeros(shape, dtype)
        self._rows = {
            stream: aligned_zeros(shape if amount else (0, 0), np.float32)
            for stream, amount in _amounts(options).items()
        }
        self._slowed = dynamics.loop_filter(inputs, shape[1])
        scale = dynamics.injection_scale(coupling.unit)
        injection = injection_errors(options, dac, dac.coder, scale=scale)
        in_product = coupling.dtype.type
        self._injection = dynamics.scalars(injection)._replace(
            scale=in_product(scale), accumulator_top=in_product(options.accumulator_top)
        )
        detection = detection_errors(options, adc.coder, scale=dynamics.constants().adc_scale)
        self._detection = dynamics.scalars(detection)
        self._pulses = dynamics.scalars(_pulse_errors(options))

    def advance(
        self, arrays: PulseArrays, codes: NDArray[Any], pump: float, draw: Draw, c: LoopConstants
    ) -> None:
        """Make a round trip: read the `codes` (n, runs) of an earlier one, and overwrite them."""
        n_spins, dtype = self._inputs.n_spins, self._dynamics.dtype
        self._inputs.coupling.multiply(codes[:n_spins], self._product[:n_spins])
        measure_modes(self._slowed, codes)
        slow_modes(self._slowed, 0, self._product[:n_spins])
        gain, pump_factor = self.drift.advance(draw.round_trip)
        noise = self._noise(draw)
        if noise.slip.size:
            slips = noise.slip < scipy.special.ndtri(self._dynamics.imperfections.pulse_slip_rate)
            np.negative(arrays.mean, out=arrays.mean, where=slips)
        modulators, common_gain = self.disorder.injection_gain, gain.astype(dtype)
        inject(self._product, self._signal, noise, modulators, common_gain, self._injection)
        fill_normals(draw, codes)
        advance_imperfect_pulses(
            PulseRows(arrays.mean, arrays.variance, self._signal, codes),
            noise.pump,
            noise.outage,
            pump_factor.astype(dtype),
            c,
            self._pulses._replace(pump_exponent=dtype.type(pump * self._dynamics.loss_exponent)),
            self.disorder,
        )
        detect(self._signal, codes, self.disorder, self._detection)

    def notes(self, n_spins: int, n_runs: int) -> dict[str, float | str]:
        """Return what went wrong: phase errors, locks, dead pulses."""
        return {**self.drift.phase.notes(n_runs), **self.disorder.notes(n_spins)}

    def _noise(self, draw: Draw) -> NoiseRows:
        every = self._dynamics.imperfections.intermittent_round_trips
        for stream, rows in self._rows.items():
            age = draw.round_trip % every if stream == OUTAGE else 0
            if rows.size and age == 0:
                fill_normals(draw._replace(round_trip=stream | draw.round_trip), rows)
        return NoiseRows(*self._rows.values())


def _pulse_errors(options: Imperfections) -> PulseErrors:
    """Return the scalars of `advance_imperfect_pulses`, without a pump."""
    return PulseErrors(
        pump_exponent=0.0,
        most_pump=MOST_PUMP,
        pump_noise=options.pump_noise,
        outage=float(scipy.special.ndtri(options.intermittent_fraction)),
        cosh=COSH_SERIES,
        sinh=SINH_SERIES,
    )


def _amounts(options: Imperfections) -> dict[int, float]:
    """Return the imperfections that need noise by pulse, by the streams of `NoiseRows`."""
    return {
        INJECTION: options.injection_noise,
        JITTER: options.timing_jitter,
        PUMP: options.pump_noise,
        OUTAGE: options.intermittent_fraction,
        SLIP: options.pulse_slip_rate,
    }
