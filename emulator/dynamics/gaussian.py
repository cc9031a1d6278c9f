r"""Continuous measurement and feedback: Gaussian pulses, watched all the time.

References
----------
Kako, Leleu, Inui, Khoyratee, Reifenstein, Yamamoto, arXiv:2005.10895 (the model).
Inui, Yamamoto, arXiv:2009.10328 (its derivation).
Wiseman, Milburn, Phys. Rev. Lett. 70, 548 (1993), doi:10.1103/PhysRevLett.70.548 (feedback of a
homodyne record).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from emulator.converters import Converter
from emulator.dynamics.base import Block, Dynamics, JobInputs, Precision, check_options, state_dtype
from emulator.dynamics.gaussian_step import (
    LAMBERT,
    MeasureConstants,
    MoveConstants,
    measure_pulses,
    move_pulses,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GaussianFeedback", "GaussianPulses"]


@dataclass(frozen=True, kw_only=True)
class GaussianFeedback(Dynamics):
    r"""Parametric oscillators under continuous homodyne detection and feedback.

    The mean X and the variance :math:`\sigma` of the in-phase quadrature of each pulse, given
    all of its record so far (vacuum has :math:`\sigma = 1/2`), in the sense of Itô:

    .. math:: dX_i &= \Big[\big(r - 1 - j - \tfrac{g^2}{2}X_i^2\big)X_i + F_i\Big]dt
              + 2\sqrt{j\eta_d}\,\big(\sigma_i - \tfrac12\big)\,dW_i \\
              \dot\sigma_i &= 2\big(r - 1 - j - \tfrac{3g^2}{2}X_i^2\big)\sigma_i + (1 + j)
              + g^2X_i^2 - 4j\eta_d\big(\sigma_i - \tfrac12\big)^2 \\
              \tilde X_i &= X_i + \frac{1}{\sqrt{4j\eta_d}}\frac{dW_i}{dt}, \qquad
              F_i = (1 + j_0)\sqrt2A_s\;\mathrm{DAC}\Big(\frac{g_c}{|J|}\Big[\sum_j J_{ij}\,
              \mathrm{ADC}\Big(\frac{\tilde X_j}{\sqrt2A_s}\Big) + h_ia\Big]\Big)

    Time is in lifetimes of the field in the cavity without its detector; the same noise drives
    a pulse and its record. The form in the literature, with :math:`\mu = X/\sqrt2`,
    :math:`\sqrt j(\sigma - \frac12)dW` and :math:`-2j(\sigma - \frac12)^2`, is this one at
    :math:`\eta_d = 1/2`; an ideal detector has 1.

    The machine is the limit of `MeasurementFeedback` for short round trips, with the same units:
    the pump rate p counts thresholds of a lone pulse, detector included, so :math:`r = (1 + j)p`
    is the pump rate of the literature; with :math:`g^2 = (1 + j_0)/A_s^2` an amplitude of 1 is
    that of a lone oscillator at p = 2, :math:`X = \sqrt2A_s`; converters see such amplitudes, and
    drives in units of the linear loss. Without them :math:`F_i = \xi(\sum_jJ_{ij}\tilde X_j +
    \sqrt2A_s h_ia)` with :math:`\xi = (1 + j_0)\,g_c/|J|`, and :math:`|J|` is the norm of a weakly
    coupled row (`CouplingMatrix`).

    Parameters
    ----------
    measurement_strength : float
        :math:`j_0`, the loss rate of the field to the detector, in units of the cavity's own.
    measurement_decay : float
        d in :math:`j = j_0e^{-td/T}` over a run of length T; the pump keeps counting thresholds.
    detector_efficiency : float
        :math:`\eta_d`.
    saturation : float
        :math:`A_s`; a lone oscillator at p = 2 holds about :math:`A_s^2` photons.
    adc, dac : Converter
        A record in a step has noise of variance :math:`1/4j\eta_ddt`, so what a finite full scale
        makes of it depends on `time_step`, which then stands for the detector's bandwidth.
    coupling_gain : float
        Dimensionless :math:`g_c`.
    field_amplitude : float or None
        a, the amplitude that a spin of the field's own would have; None for the mean of the
        magnitudes of a step's records, noise included.
    time_step : float
        dt of a round trip.
    precision : {"single", "double"}
        Of the state.

    Raises
    ------
    ValueError
        A parameter out of its range.

    Notes
    -----
    The mean takes an Euler-Maruyama step (`evolved_mean`). Its noise does not depend on the
    mean but through :math:`\sigma`, which is smooth, so the strong order is 1 and Itô and
    Stratonovich agree. The variance follows its Riccati equation exactly while the mean stands
    still (`evolved_excess`). The model is for many photons: against the master equation of a lone
    oscillator at threshold it has 6 % too much light where :math:`A_s^2 = 100`.
    """

    measurement_strength: float = 1.0
    measurement_decay: float = 0.0
    detector_efficiency: float = 1.0
    saturation: float = 300.0
    adc: Converter = field(default=Converter(full_scale=math.inf))
    dac: Converter = field(default=Converter(full_scale=math.inf))
    coupling_gain: float = 0.5
    field_amplitude: float | None = None
    time_step: float = 0.02
    precision: Precision = "single"

    def __post_init__(self) -> None:
        checks = {
            "measurement_strength": 0 < self.measurement_strength < math.inf,
            "measurement_decay": 0 <= self.measurement_decay < math.inf,
            "detector_efficiency": 0 < self.detector_efficiency <= 1,
            "saturation": 0 < self.saturation < math.inf,
            "coupling_gain": 0 <= self.coupling_gain < math.inf,
            "field_amplitude": self.field_amplitude is None or math.isfinite(self.field_amplitude),
            "time_step": 0 < self.time_step < math.inf,
            "precision": self.precision in {"single", "double"},
        }
        check_options(self, checks)

    @property
    def loss(self) -> float:
        r"""Loss rate :math:`1 + j_0` of the field, detector included."""
        return 1 + self.measurement_strength

    @property
    def unit(self) -> float:
        r"""Mean :math:`\sqrt2A_s` of X for an amplitude of 1."""
        return math.sqrt(2.0) * self.saturation

    @property
    def largest_code(self) -> float | None:
        """Largest code of the ADC, None where it does not round."""
        return self.adc.top if self.adc.rounds else None

    @property
    def has_field(self) -> bool:
        """Always: the electronics add it to the feedback."""
        return True

    def start(self, inputs: JobInputs, *, first_run: int, n_runs: int) -> GaussianPulses:
        """Return a block of runs in vacuum."""
        return GaussianPulses(self, inputs, first_run, n_runs)

    def strength(self, elapsed: float) -> float:
        """Return j when the share `elapsed` of a run is over."""
        return self.measurement_strength * math.exp(-self.measurement_decay * elapsed)

    def injection_scale(self, coupling_unit: float) -> float:
        """Return the DAC codes per unit of the product of couplings and ADC codes."""
        return self.coupling_gain * coupling_unit / self.adc.scale * self.dac.scale

    def measure_constants(self, strength: float) -> MeasureConstants:
        """Return the scalars of a measurement of strength j."""
        scalar = state_dtype(self.precision).type
        information = 4 * strength * self.detector_efficiency
        return MeasureConstants(
            noise=scalar(1 / math.sqrt(information * self.time_step)),
            adc_scale=scalar(self.adc.scale / self.unit),
            adc_top=scalar(self.adc.top),
            adc_rounds=self.adc.rounds,
        )

    def move_constants(self, pump: float, strength: float) -> MoveConstants:
        """Return the scalars of a step at `pump` thresholds under a measurement of strength j."""
        information = 4 * strength * self.detector_efficiency
        scalars = {
            "one": 1.0,
            "vacuum": 0.5,
            "three": 3.0,
            "time_step": self.time_step,
            "pump": (1 + strength) * pump,
            "net_gain": (1 + strength) * (pump - 1),
            "depletion": 0.5 * self.loss / self.saturation**2,
            "information": information,
            "kick": math.sqrt(information * self.time_step),
            "dac_top": self.dac.top,
            "dac_step": self.loss * self.unit / self.dac.scale,
        }
        scalar = state_dtype(self.precision).type
        return MoveConstants(
            **{name: scalar(value) for name, value in scalars.items()},
            fraction=tuple(scalar(value) for value in LAMBERT),
            dac_rounds=self.dac.rounds,
        )


class GaussianPulses(Block):
    """A block of runs under continuous measurement and feedback.

    Attributes
    ----------
    mean, variance : array, shape (n or n + 1, runs)
        Of X, given the record so far. An odd machine has one pulse more, coupled to none.
    codes : array, same shape
        Records of the last step in ADC codes.
    """

    def __init__(
        self, dynamics: GaussianFeedback, inputs: JobInputs, first_run: int, n_runs: int
    ) -> None:
        dtype, coupling = state_dtype(dynamics.precision), inputs.coupling
        shape = (inputs.n_spins + inputs.n_spins % 2, n_runs)
        self.mean = np.zeros(shape, dtype)
        self.variance = np.full(shape, 0.5, dtype)
        self.codes = np.zeros(shape, coupling.operand.code_dtype)
        self._noise = np.zeros(shape, dtype)
        self._product = np.zeros(shape, coupling.dtype)
        self._field = np.zeros(shape[0], coupling.dtype)
        self._field[: inputs.n_spins] = coupling.field
        self._field_amplitude = np.zeros(n_runs, coupling.dtype)
        if dynamics.field_amplitude is not None:
            self._field_amplitude += dynamics.field_amplitude * dynamics.adc.scale
        self._follows_records = dynamics.field_amplitude is None and bool(coupling.field.any())
        self._injection_scale = coupling.dtype.type(dynamics.injection_scale(coupling.unit))
        self._inputs, self._dynamics, self._first_run = inputs, dynamics, first_run
        self._step = 0

    def advance(self, pump: float) -> None:
        """Make one step: measure, multiply, move."""
        n_spins, strength = self._inputs.n_spins, self._strength()
        measure_pulses(
            self.mean,
            self._noise,
            self.codes,
            self._inputs.key,
            self._step,
            self._first_run,
            self._dynamics.measure_constants(strength),
        )
        self._inputs.coupling.multiply(self.codes[:n_spins], self._product[:n_spins])
        if self._follows_records:
            np.abs(self.codes[:n_spins]).mean(axis=0, out=self._field_amplitude)
        move_pulses(
            self.mean,
            self.variance,
            self._noise,
            self._product,
            self._field,
            self._field_amplitude,
            self._injection_scale,
            self._dynamics.move_constants(pump, strength),
        )
        self._step += 1

    def amplitudes(self) -> NDArray[Any]:
        """Return the means of X in units of `GaussianFeedback.unit`."""
        scalar = state_dtype(self._dynamics.precision).type
        return self.mean[: self._inputs.n_spins] / scalar(self._dynamics.unit)

    def _strength(self) -> float:
        return self._dynamics.strength(self._step / self._inputs.round_trips)
