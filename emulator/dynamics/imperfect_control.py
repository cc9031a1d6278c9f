"""Imperfections of amplitude- and feedback-controlled machines: their options and their loop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # not scipy.special: it takes 0.2 s, and machines without such errors do not need it

from emulator.converters import ADC_SETTINGS, DAC_SETTINGS, Coder, Converter
from emulator.disorder import Disorder
from emulator.drift import CommonDrift
from emulator.dynamics.feedback import local_fields
from emulator.dynamics.imperfect_loop import (
    NoiseRows,
    detect,
    detection_errors,
    inject,
    injection_errors,
)
from emulator.dynamics.records import COINS
from emulator.imperfections import DETECTOR, INJECTION, JITTER, SLIP, Imperfections
from emulator.noise import Draw, fill_normals
from emulator.options import NON_NEGATIVE, option, options_of
from emulator.products.packing import aligned_zeros

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.dynamics.base import JobInputs
    from emulator.dynamics.feedback import FeedbackLoop

__all__ = ["ImperfectControl", "adc", "amplitude_noise", "dac", "detector_noise", "imperfections"]

# The imperfections that have a meaning here: all but those of the pump and of real quadratures.
IMPERFECTIONS = (
    "seed",
    "coupling_error",
    "injection_gain_error",
    "injection_noise",
    "injection_phase_rad",
    "injection_spill",
    "modulator_swing_rad",
    "gain_drift",
    "drift_round_trips",
    "phase_drift_rad",
    "relock_round_trips",
    "relock_residual_rad",
    "phase_slip_rate",
    "job_phase_rad",
    "timing_jitter",
    "job_gain_error",
    "calibration_drift",
    "detector_gain_error",
    "adc_inl",
    "adc_dnl",
    "leakage",
    "pulse_slip_rate",
    "dead_fraction",
)
_CONVERTER = ("full_scale", "bits", "mid_rise")


def amplitude_noise() -> Any:
    """Return the option of the noise of amplitudes, off by default."""
    doc = "Width of the noise of amplitudes, per square root of a lifetime."
    return _off("s", doc, 0.5)


def detector_noise() -> Any:
    """Return the option of the noise of measured amplitudes, off by default."""
    return _off("", "Standard deviation of the noise of a measured amplitude.", 2.0)


def _off(symbol: str, doc: str, high: float) -> Any:
    return option(
        0.0,
        within=NON_NEGATIVE,
        low=0.0,
        high=high,
        is_searched=False,
        symbol=symbol,
        doc=doc,
    )


def adc() -> Any:
    """Return the option of the ADC, none by default."""
    parts = {name: ADC_SETTINGS[name] for name in _CONVERTER}
    doc = "Converter of measured amplitudes; none without bits."
    return option(Converter(full_scale=3.0), parts=parts, doc=doc)


def dac() -> Any:
    """Return the option of the DAC, none by default."""
    parts = {name: DAC_SETTINGS[name] for name in _CONVERTER}
    doc = "Converter of what is injected; none without bits."
    return option(Converter(full_scale=4.0), parts=parts, doc=doc)


def imperfections() -> Any:
    """Return the option of what else is wrong, nothing by default."""
    known = options_of(Imperfections)
    parts = {name: known[name] for name in IMPERFECTIONS}
    return option(Imperfections(), parts=parts, doc="What else is wrong; nothing by default.")


def check_imperfections(dynamics: Any) -> None:
    """Refuse what has no meaning here.

    Raises
    ------
    ValueError
        There is something.
    """
    given, ideal = dynamics.imperfections, Imperfections()
    for name in set(options_of(Imperfections)) - {*IMPERFECTIONS, "dead_pulses"}:
        if getattr(given, name) != getattr(ideal, name):
            raise ValueError(f"imperfections.{name}: this machine has none of that kind")
    if dynamics.adc.reranged or dynamics.dac.reranged:
        raise ValueError("reranged: give a full scale, there is no vacuum to range for")


def _coder(converter: Converter) -> tuple[Coder, float]:
    """Return what `to_code` needs, and codes per unit; nothing is clipped without bits."""
    if converter.rounds:
        return converter.coder, converter.scale
    return converter.coder._replace(top=math.inf), 1.0


class ImperfectControl:
    """What is wrong with a block of a `ControlledDynamics`: feeds back and disturbs amplitudes."""

    def __init__(
        self,
        dynamics: Any,
        inputs: JobInputs,
        *,
        strength: float,
        first_run: int,
        shape: tuple[int, int],
    ) -> None:
        options, dtype, adc = dynamics.imperfections, dynamics.dtype, dynamics.adc
        self._dynamics, self._draw = dynamics, Draw(inputs.key, 0, first_run)
        size = {"first_run": first_run, "n_runs": shape[1], "round_trips": inputs.round_trips}
        self.drift = CommonDrift(options, inputs.key, **size)
        self.disorder = Disorder.of(options, shape[0], dtype, n_codes=adc.n_codes, job=inputs.key)
        self._signal, self._measured = (aligned_zeros(shape, dtype) for _ in range(2))
        even = shape[0] + shape[0] % 2, shape[1]
        self._normals = {
            stream: aligned_zeros(even, np.float32)
            for stream, amount in _amounts(dynamics).items()
            if amount
        }
        # a dead slot reads a coin of its run, too small to be felt
        self._is_dead = self.disorder.is_dead[: shape[0]]
        coins = np.empty(even, np.float32)
        fill_normals(self._draw._replace(round_trip=COINS), coins)
        self._coins = np.copysign(1e-30, coins[: shape[0]][self._is_dead]).astype(dtype)
        coder, scale = _coder(dynamics.dac)
        injection = injection_errors(options, dynamics.dac, coder, scale=strength * scale)
        self._injection = dynamics.scalars(injection)
        coder, scale = _coder(adc)
        self._detection = dynamics.scalars(detection_errors(options, coder, scale=scale))

    def feed_back(self, loop: FeedbackLoop, arrays: Any, round_trip: int) -> None:
        """Write the local fields that are injected into `arrays`, of amplitudes as measured."""
        dynamics, dtype = self._dynamics, self._dynamics.dtype
        self._draw_noise(round_trip)
        gain, _ = self.drift.advance(round_trip)
        self._signal[...] = arrays.x
        if DETECTOR in self._normals:
            self._signal += dtype.type(dynamics.detector_noise) * self._rows(DETECTOR)
        detect(self._signal, self._measured, self.disorder, self._detection)
        self._measured /= self._detection.scale
        local_fields(loop, self._measured, arrays.local_field)
        arrays.local_field[self._is_dead] = 0
        if not self._injection.scale:
            return
        factor = arrays.e if dynamics.error_multiplies else np.ones_like(arrays.e)
        arrays.local_field[...] *= factor
        inject(
            arrays.local_field,
            self._signal,
            NoiseRows(*(self._rows(stream) for stream in (INJECTION, JITTER, 0, 0, 0))),
            self.disorder.injection_gain,
            gain.astype(dtype),
            self._injection,
        )
        per_code = self._injection.scale * factor
        np.divide(self._signal, per_code, out=arrays.local_field, where=per_code > 0)

    def disturb(self, x: NDArray[Any]) -> None:
        """Add noise to amplitudes, turn those that slip, and darken dead ones."""
        dynamics = self._dynamics
        if 0 in self._normals:
            x += x.dtype.type(dynamics.noise * math.sqrt(dynamics.time_step)) * self._rows(0)
        if SLIP in self._normals:
            slips = self._rows(SLIP) < scipy.special.ndtri(dynamics.imperfections.pulse_slip_rate)
            np.negative(x, out=x, where=slips)
        x[self._is_dead] = self._coins

    def notes(self, n_runs: int) -> dict[str, float | str]:
        """Return what went wrong: phase errors, locks, dead pulses."""
        return {
            **self.drift.phase.notes(n_runs),
            **self.disorder.notes(len(self._signal)),
        }

    def _draw_noise(self, round_trip: int) -> None:
        for stream, rows in self._normals.items():
            # the first round trip of stream 0 is the initial state
            fill_normals(self._draw._replace(round_trip=stream | (round_trip + 1)), rows)

    def _rows(self, stream: int) -> NDArray[Any]:
        if stream not in self._normals:
            return np.zeros((0, 0), np.float32)
        return self._normals[stream][: len(self._signal)]


def _amounts(dynamics: Any) -> dict[int, float]:
    """Return what needs noise by amplitude, by stream."""
    options = dynamics.imperfections
    return {
        0: dynamics.noise,
        DETECTOR: dynamics.detector_noise,
        INJECTION: options.injection_noise,
        JITTER: options.timing_jitter,
        SLIP: options.pulse_slip_rate,
    }
