"""The pulses of a block of runs of a measurement-feedback machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from emulator.dynamics.base import Block, Wiring, state_dtype
from emulator.dynamics.pulse import COSH_SERIES, SINH_SERIES, gain_series
from emulator.dynamics.round_trip import LoopErrors, advance_imperfect_pulses, advance_pulses
from emulator.imperfections import Disorder, PhaseWalk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.dynamics.measurement_feedback import MeasurementFeedback

__all__ = ["PulseTrain"]


class PulseTrain(Block):
    """A block of runs of a measurement-feedback machine.

    Attributes
    ----------
    mean, variance : array, shape (n or n + 1, runs)
        Of X, given all records so far. An odd machine has one pulse more, coupled to none.
    codes : list of array, same shape
        The last records in ADC codes, a ring over `delay` + 1 round trips.
    phase : PhaseWalk or None
        Of the injection; None where nothing is wrong in the loop.
    """

    def __init__(
        self, dynamics: MeasurementFeedback, wiring: Wiring, first_run: int, n_runs: int
    ) -> None:
        dtype = state_dtype(dynamics.precision)
        shape = (wiring.n_spins + wiring.n_spins % 2, n_runs)
        self.mean = np.zeros(shape, dtype)
        self.variance = np.full(shape, 0.5, dtype)
        self.codes = [
            np.zeros(shape, wiring.coupling.code_dtype) for _ in range(dynamics.delay + 1)
        ]
        self._product = np.zeros(shape, wiring.coupling.dtype)
        self._wiring, self._dynamics, self._first_run = wiring, dynamics, first_run
        self._constants = dynamics.constants()
        scale = dynamics.injection_scale(wiring.coupling.unit)
        self._injection_scale = wiring.coupling.dtype.type(scale)
        self._scalar = dtype.type
        self._round_trip = 0
        self.phase: PhaseWalk | None = None
        if not dynamics.imperfections.is_ideal:
            imperfections = dynamics.imperfections
            self.phase = PhaseWalk(imperfections, wiring.key, first_run=first_run, n_runs=n_runs)
            self._disorder = Disorder.of(imperfections, wiring.n_spins, dtype)
            self._cosh = tuple(np.array(COSH_SERIES, dtype))
            self._sinh = tuple(np.array(SINH_SERIES, dtype))

    @property
    def latest_codes(self) -> NDArray[Any]:
        """Codes of the last round trip."""
        return self.codes[(self._round_trip - 1) % len(self.codes)]

    def advance(self, pump: float) -> None:
        """Make one round trip."""
        n_spins = self._wiring.n_spins
        # the slot before the one about to be overwritten is `delay` + 1 round trips old
        injected = self.codes[(self._round_trip - len(self.codes)) % len(self.codes)]
        self._wiring.coupling.multiply(injected[:n_spins], self._product[:n_spins])
        if self.phase is None:
            self._advance_ideal(pump)
        else:
            self._advance_imperfect(pump, self.phase)
        self._round_trip += 1

    def amplitudes(self) -> NDArray[Any]:
        """Return the means of X, what the records say, in units of `MeasurementFeedback.unit`."""
        return self.mean[: self._wiring.n_spins] / self._scalar(self._dynamics.unit)

    def notes(self, n_runs: int) -> dict[str, float | str]:
        """Return what went wrong: clipped records, phase errors, locks, dead pulses."""
        n_spins, top = self._wiring.n_spins, self._constants.adc_top
        clipped = np.abs(self.latest_codes[:n_spins, :n_runs]) >= top
        notes: dict[str, float | str] = {"largest_clipped_share": float(clipped.mean(axis=0).max())}
        if self.phase is None:
            return notes
        if self._dynamics.imperfections.has_phase:
            notes["largest_phase_error_rad"] = float(self.phase.largest[:n_runs].max())
            notes["relocks"] = self.phase.relocks
        n_dead = int(np.count_nonzero(self._disorder.is_dead[:n_spins]))
        return notes | ({"dead_pulses": n_dead} if n_dead else {})

    def _advance_ideal(self, pump: float) -> None:
        loss = self._dynamics.loss_exponent
        advance_pulses(
            self.mean,
            self.variance,
            self._product,
            self.codes[self._round_trip % len(self.codes)],
            self._injection_scale,
            self._wiring.key,
            self._round_trip,
            self._first_run,
            tuple(np.array(gain_series(pump, loss), self._scalar)),
            self._constants._replace(theta_from_pump=self._scalar((pump * loss) ** 2)),
        )

    def _advance_imperfect(self, pump: float, phase: PhaseWalk) -> None:
        phase.advance(self._round_trip)
        advance_imperfect_pulses(
            self.mean,
            self.variance,
            self._product,
            self.codes[self._round_trip % len(self.codes)],
            self._injection_scale,
            self._wiring.key,
            self._round_trip,
            self._first_run,
            phase.projection().astype(self._scalar),
            self._cosh,
            self._sinh,
            self._constants,
            self._errors(pump),
            self._disorder,
        )

    def _errors(self, pump: float) -> LoopErrors:
        dynamics, options = self._dynamics, self._dynamics.imperfections
        elapsed = self._round_trip / max(self._wiring.round_trips - 1, 1)
        threshold = 1 + options.threshold_drift * elapsed
        scalars = {
            "injection_noise": options.injection_noise,
            "timing_jitter": options.timing_jitter,
            "pump_exponent": pump * dynamics.loss_exponent / threshold,
            "pump_noise": options.pump_noise,
            "detector_offset": options.detector_offset,
            "leakage": options.leakage,
        }
        return LoopErrors(
            accumulator_top=self._product.dtype.type(options.accumulator_top),
            **{name: self._scalar(value) for name, value in scalars.items()},
        )
