r"""A measurement-feedback machine, pulse by pulse.

References
----------
McMahon et al., Science 354, 614 (2016), doi:10.1126/science.aah5178.
Inagaki et al., Science 354, 603 (2016), doi:10.1126/science.aah4243.
Ng et al., arXiv:2103.05629 (Gaussian model of measurement and feedback).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emulator.converters import Converter
from emulator.dynamics.base import Dynamics, JobInputs, Precision, state_dtype
from emulator.dynamics.pulse_train import PulseTrain
from emulator.dynamics.round_trip import LoopConstants
from emulator.imperfections import Imperfections, disturbed

if TYPE_CHECKING:
    from emulator.products.coupling import CouplingMatrix

__all__ = ["MeasurementFeedback"]


@dataclass(frozen=True, kw_only=True)
class MeasurementFeedback(Dynamics):
    r"""Degenerate parametric oscillators coupled by homodyne detection and injection.

    One round trip of pulse i, with mean :math:`\mu` and variance :math:`\sigma` of X:

    1. injection :math:`\mu \to \mu + f_i`, with :math:`f_i` from `delay` round trips ago;
    2. crystal :math:`\mu \to G\mu,\ \sigma \to G^2\sigma` (`pulse.gain_series`);
    3. loss :math:`\mu \to \sqrt\eta\mu,\ \sigma \to \eta\sigma + (1 - \eta)/2`;
    4. out-coupling of a share R to a homodyne detector, whose record m is drawn and conditions
       :math:`\mu` and :math:`\sigma` (`pulse.measured_mean`, `pulse.measured_variance`);
    5. ADC to codes; integer product with J; DAC; the field :math:`f_i` to be injected:

    .. math:: f_i = \sqrt2 A_s L\;\mathrm{DAC}\Big(\frac{g}{|J|}\sum_j J_{ij}\,
              \mathrm{ADC}\Big(\frac{m_j}{\sqrt{2 R\eta_d}\,A_s}\Big)\Big),
              \qquad L = -\tfrac12\ln\eta(1 - R)

    Converters thus see amplitudes in units of a lone oscillator's at twice threshold, and a
    drive in units of the linear loss: the mean obeys
    :math:`\dot x_i = (p - 1 - x_i^2)x_i + \mathrm{DAC}(\cdot)` in the limit of small L, and
    :math:`|J|` is the norm of a weakly coupled row (`CouplingMatrix`). A full scale of the ADC
    well below 1 makes the feedback sign-like once oscillators are bright, which takes away the
    heterogeneity of amplitudes, the main source of wrong minima; a full scale of the DAC keeps
    strongly coupled spins from dragging the rest.

    Parameters
    ----------
    transmission : float
        Power transmission :math:`\eta` of a round trip, out-coupler aside.
    outcoupling : float
        Power R sent to the detector.
    detector_efficiency : float
        :math:`\eta_d`.
    electronic_noise : float
        Standard deviation :math:`\sigma_{el}` added to a record; vacuum has :math:`\sqrt{1/2}`.
    saturation : float
        :math:`A_s`; a lone oscillator at p = 2 holds about :math:`A_s^2` photons.
    adc, dac : Converter
    coupling_gain : float
        Dimensionless g.
    delay : int
        Round trips between a measurement and its injection. With 0 all pulses are measured
        before any is injected, within the same round trip; fibre machines have 1 or more.
    imperfections : Imperfections
        What else is wrong with the machine; nothing by default.
    precision : {"single", "double"}
        Of the state.

    Notes
    -----
    The injection coupler is weak: it changes no variance. P is not followed: its mean is zero,
    and nothing observable depends on its variance.

    Raises
    ------
    ValueError
        A parameter out of its range.
    """

    transmission: float = 0.75
    outcoupling: float = 0.2
    detector_efficiency: float = 1.0
    electronic_noise: float = 0.0
    saturation: float = 300.0
    adc: Converter = field(default=Converter(full_scale=0.12, bits=8))
    dac: Converter = field(default=Converter(full_scale=0.2, bits=12))
    coupling_gain: float = 0.75
    delay: int = 1
    imperfections: Imperfections = field(default=Imperfections())
    precision: Precision = "single"

    def __post_init__(self) -> None:
        checks = {
            "transmission": 0 < self.transmission <= 1,
            "outcoupling": 0 < self.outcoupling < 1,
            "detector_efficiency": 0 < self.detector_efficiency <= 1,
            "electronic_noise": 0 <= self.electronic_noise < math.inf,
            "saturation": 0 < self.saturation < math.inf,
            "coupling_gain": 0 <= self.coupling_gain < math.inf,
            "delay": self.delay >= 0,
            "precision": self.precision in {"single", "double"},
        }
        if self.imperfections.accumulator_bits is not None and not self.adc.rounds:
            raise ValueError("accumulator_bits: an accumulator holds integers, give the ADC bits")
        wrong = [name for name, is_right in checks.items() if not is_right]
        if wrong:
            raise ValueError(f"{wrong[0]} = {getattr(self, wrong[0])} is out of range")

    @property
    def loss_exponent(self) -> float:
        r"""Field loss :math:`L = -\frac12\ln\eta(1 - R)` of a round trip."""
        return -0.5 * math.log(self.transmission * (1 - self.outcoupling))

    @property
    def unit(self) -> float:
        r"""Mean :math:`\sqrt2 A_s` of X for a coherent amplitude of 1."""
        return math.sqrt(2.0) * self.saturation

    @property
    def largest_code(self) -> float | None:
        """Largest code of the ADC, None where it does not round."""
        return self.adc.top if self.adc.rounds else None

    @property
    def has_field(self) -> bool:
        """Never: hardware of this kind applies couplings only."""
        return False

    def perturb(self, coupling: CouplingMatrix) -> CouplingMatrix:
        """Return the couplings with the static errors of this machine, where it has any."""
        if not self.imperfections.coupling_error:
            return coupling
        return disturbed(coupling, self.imperfections, state_dtype(self.precision))

    def start(self, inputs: JobInputs, *, first_run: int, n_runs: int) -> PulseTrain:
        """Return a block of runs in vacuum.

        Raises
        ------
        ValueError
            More spins than the train has slots.
        """
        slots = self.imperfections.max_spins
        if slots is not None and inputs.n_spins > slots:
            raise ValueError(f"{inputs.n_spins} spins do not fit a train with {slots} slots left")
        return PulseTrain(self, inputs, first_run, n_runs)

    def injection_scale(self, coupling_unit: float) -> float:
        """Return the DAC codes per unit of the product of couplings and ADC codes."""
        return self.coupling_gain * coupling_unit / self.adc.scale * self.dac.scale

    def constants(self) -> LoopConstants:
        """Return the scalars of the compiled loop."""
        out, tap = self.outcoupling, self.outcoupling * self.detector_efficiency
        scalars = {
            "theta_from_mean": self.loss_exponent / self.saturation**2,
            "field_transmission": math.sqrt(self.transmission),
            "transmission": self.transmission,
            "one": 1.0,
            "vacuum": 0.5,
            "tap": tap,
            "field_tap": math.sqrt(tap),
            "floor": 0.5 * (1 - tap) + self.electronic_noise**2,
            "field_passed": math.sqrt(1 - out),
            "passed": 1 - out,
            "kick": math.sqrt(tap * (1 - out)),
            "kick_squared": tap * (1 - out),
            "adc_scale": self.adc.scale / (math.sqrt(tap) * self.unit),
            "adc_top": self.adc.top,
            "dac_top": self.dac.top,
            "dac_step": self.loss_exponent * self.unit / self.dac.scale,
        }
        scalar = state_dtype(self.precision).type
        return LoopConstants(
            **{name: scalar(value) for name, value in scalars.items()},
            adc_rounds=self.adc.rounds,
            dac_rounds=self.dac.rounds,
        )
