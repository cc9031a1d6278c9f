"""The pulses of a block of runs of a measurement-feedback machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from emulator.dynamics.base import JobInputs, state_dtype
from emulator.dynamics.chunks import ChunkedBlock
from emulator.dynamics.pulse import COSH_SERIES, SINH_SERIES, gain_series
from emulator.dynamics.round_trip import (
    GainTable,
    LoopErrors,
    PulseArrays,
    advance_chunk,
    advance_imperfect_pulses,
)
from emulator.imperfections import Disorder, PhaseWalk
from emulator.products.packing import BLOCK_ROWS, aligned_zeros, padded_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.dynamics.measurement_feedback import MeasurementFeedback

__all__ = ["PulseTrain"]


class PulseTrain(ChunkedBlock):
    """A block of runs of a measurement-feedback machine.

    Attributes
    ----------
    phase : PhaseWalk or None
        Of the injection; None where nothing is wrong in the loop.
    """

    def __init__(
        self, dynamics: MeasurementFeedback, inputs: JobInputs, first_run: int, n_runs: int
    ) -> None:
        coupling, dtype = inputs.coupling, state_dtype(dynamics.precision)
        shape = inputs.n_spins + inputs.n_spins % 2, padded_runs(n_runs)
        super().__init__(shape[0] * shape[1])
        self._arrays = PulseArrays(
            mean=aligned_zeros(shape, dtype),
            variance=aligned_zeros(shape, dtype),
            codes=np.zeros((dynamics.delay + 1, *shape), coupling.operand.code_dtype),
            workspace=coupling.operand.workspace(n_runs),
            product=aligned_zeros((BLOCK_ROWS, shape[1]), coupling.dtype),
            n_spins=inputs.n_spins,
        )
        self._arrays.variance[:] = 0.5
        self._inputs, self._dynamics = inputs, dynamics
        self._first_run, self._n_runs = first_run, n_runs
        self._constants = dynamics.constants()
        self._injection_scale = coupling.dtype.type(dynamics.injection_scale(coupling.unit))
        self._scalar = dtype.type
        self._round_trip = 0
        self.phase: PhaseWalk | None = None
        if not dynamics.imperfections.is_ideal:
            imperfections = dynamics.imperfections
            self.phase = PhaseWalk(imperfections, inputs.key, first_run=first_run, n_runs=shape[1])
            self._disorder = Disorder.of(imperfections, inputs.n_spins, dtype)
            self._product = aligned_zeros(shape, coupling.dtype)
            self._cosh = tuple(np.array(COSH_SERIES, dtype))
            self._sinh = tuple(np.array(SINH_SERIES, dtype))

    @property
    def mean(self) -> NDArray[Any]:
        """Of X, given all records so far (n or n + 1, runs).

        An odd machine has one pulse more, coupled to none.
        """
        self.catch_up()
        return self._arrays.mean[:, : self._n_runs]

    @property
    def variance(self) -> NDArray[Any]:
        """Of X, given all records so far, as `mean`."""
        self.catch_up()
        return self._arrays.variance[:, : self._n_runs]

    @property
    def codes(self) -> NDArray[Any]:
        """The last records in ADC codes, a ring over `delay` + 1 round trips: (slots, n, runs)."""
        self.catch_up()
        return self._arrays.codes[..., : self._n_runs]

    @property
    def latest_codes(self) -> NDArray[Any]:
        """Codes of the last round trip."""
        codes = self.codes
        return codes[(self._round_trip - 1) % len(codes)]

    def amplitudes(self) -> NDArray[Any]:
        """Return the means of X, what the records say, in units of `MeasurementFeedback.unit`."""
        return self.mean[: self._inputs.n_spins] / self._scalar(self._dynamics.unit)

    def notes(self, n_runs: int) -> dict[str, float | str]:
        """Return what went wrong: clipped records, phase errors, locks, dead pulses."""
        n_spins, top = self._inputs.n_spins, self._constants.adc_top
        clipped = np.abs(self.latest_codes[:n_spins, :n_runs]) >= top
        notes: dict[str, float | str] = {"largest_clipped_share": float(clipped.mean(axis=0).max())}
        if self.phase is None:
            return notes
        if self._dynamics.imperfections.has_phase:
            notes["largest_phase_error_rad"] = float(self.phase.largest[:n_runs].max())
            notes["relocks"] = self.phase.relocks
        n_dead = int(np.count_nonzero(self._disorder.is_dead[:n_spins]))
        return notes | ({"dead_pulses": n_dead} if n_dead else {})

    def _advance_through(self, pumps: NDArray[np.float64]) -> None:
        if self.phase is None:
            self._advance_ideal(pumps)
        else:
            for pump in pumps:
                self._advance_imperfect(float(pump), self.phase)

    def _advance_ideal(self, pumps: NDArray[np.float64]) -> None:
        loss = self._dynamics.loss_exponent
        series = np.array([gain_series(pump, loss) for pump in pumps.tolist()], self._scalar)
        advance_chunk(
            self._inputs.coupling.operand,
            self._arrays,
            GainTable(series, ((pumps * loss) ** 2).astype(self._scalar)),
            self._injection_scale,
            self._inputs.key,
            self._round_trip,
            self._first_run,
            self._constants,
        )
        self._round_trip += len(pumps)

    def _advance_imperfect(self, pump: float, phase: PhaseWalk) -> None:
        arrays, n_spins = self._arrays, self._inputs.n_spins
        # the slot about to be overwritten is `delay` + 1 round trips old
        codes = arrays.codes[self._round_trip % len(arrays.codes)]
        self._inputs.coupling.multiply(codes[:n_spins], self._product[:n_spins])
        phase.advance(self._round_trip)
        advance_imperfect_pulses(
            arrays.mean,
            arrays.variance,
            self._product,
            codes,
            self._injection_scale,
            self._inputs.key,
            self._round_trip,
            self._first_run,
            phase.projection().astype(self._scalar),
            self._cosh,
            self._sinh,
            self._constants,
            self._errors(pump),
            self._disorder,
        )
        self._round_trip += 1

    def _errors(self, pump: float) -> LoopErrors:
        dynamics, options = self._dynamics, self._dynamics.imperfections
        elapsed = self._round_trip / max(self._inputs.round_trips - 1, 1)
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
