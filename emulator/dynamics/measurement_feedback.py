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
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from emulator.avx512 import prefer_wide_vectors
from emulator.converters import Converter, to_code
from emulator.dynamics.base import Block, Dynamics, Precision, Wiring, state_dtype
from emulator.dynamics.pulse import (
    attenuated_variance,
    crystal_gain,
    gain_series,
    measured_mean,
    measured_variance,
    record_variance,
)
from emulator.noise import NoiseKey, fill_normal_pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LoopConstants", "MeasurementFeedback", "PulseTrain", "advance_pulses"]


class LoopConstants(NamedTuple):
    """Scalars of `advance_pulses`, all of the state's dtype (else float32 would turn float64)."""

    theta_from_pump: Any
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


@njit(cache=True, nogil=True, error_model="numpy")
def advance_pulses(  # noqa: PLR0917  a kernel takes arrays
    mean: NDArray[Any],
    variance: NDArray[Any],
    product: NDArray[Any],
    codes: NDArray[Any],
    injection_scale: Any,
    key: NoiseKey,
    round_trip: int,
    first_run: int,
    series: tuple[float, ...],
    c: LoopConstants,
) -> None:
    """Make one round trip of every pulse: injection, crystal, loss, measurement, ADC.

    All arrays have shape (n, runs), n even. `product` is read, `codes` is written; the noise of
    the record passes through `codes`, so that the inner loop has four arrays and vectorizes.
    What comes in another dtype takes that of the state first: float64 products, which 16-bit
    couplings need, would make all arithmetic float64 (255 instead of 358 us, n = 550, 64 runs).
    """
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
    drive = np.empty(mean.shape[1], mean.dtype)
    for pair in range(len(mean) // 2):
        fill_normal_pair(key, round_trip, pair, first_run, codes[2 * pair], codes[2 * pair + 1])
        for i in range(2 * pair, 2 * pair + 2):
            means, variances, products, records = mean[i], variance[i], product[i], codes[i]
            for r in range(len(products)):
                drive[r] = to_code(products[r] * injection_scale, c.dac_top, c.dac_rounds)
            for r in range(len(means)):
                mu = means[r] + c.dac_step * drive[r]
                theta_squared = c.theta_from_pump + c.theta_from_mean * mu * mu
                gain = crystal_gain(theta_squared, series, c.one)
                mu = c.field_transmission * (gain * mu)
                amplified = gain * gain * variances[r]
                sigma = attenuated_variance(amplified, c.transmission, c.vacuum)
                width = math.sqrt(record_variance(sigma, c.tap, c.floor))
                noise = mean.dtype.type(records[r])
                record = c.field_tap * mu + width * noise
                excess = (sigma - c.vacuum) / width
                means[r] = measured_mean(mu, excess * noise, c.field_passed, c.kick)
                passed = attenuated_variance(sigma, c.passed, c.vacuum)
                variances[r] = measured_variance(passed, excess, c.kick_squared)
                records[r] = to_code(record * c.adc_scale, c.adc_top, c.adc_rounds)


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

    def start(self, wiring: Wiring, *, first_run: int, n_runs: int) -> PulseTrain:
        """Return a block of runs in vacuum."""
        return PulseTrain(self, wiring, first_run, n_runs)

    def injection_scale(self, coupling_unit: float) -> float:
        """Return the DAC codes per unit of the product of couplings and ADC codes."""
        return self.coupling_gain * coupling_unit / self.adc.scale * self.dac.scale

    def constants(self) -> LoopConstants:
        """Return the scalars of the compiled loop, at zero pump."""
        out, tap = self.outcoupling, self.outcoupling * self.detector_efficiency
        scalars = {
            "theta_from_pump": 0.0,
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


class PulseTrain(Block):
    """A block of runs of a measurement-feedback machine.

    Attributes
    ----------
    mean, variance : array, shape (n or n + 1, runs)
        Of X, given all records so far. An odd machine has one pulse more, coupled to none.
    codes : list of array, same shape
        The last records in ADC codes, a ring over `delay` + 1 round trips.
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

    @property
    def latest_codes(self) -> NDArray[Any]:
        """Codes of the last round trip."""
        return self.codes[(self._round_trip - 1) % len(self.codes)]

    def advance(self, pump: float) -> None:
        """Make one round trip."""
        n_spins, loss = self._wiring.n_spins, self._dynamics.loss_exponent
        # the slot before the one about to be overwritten is `delay` + 1 round trips old
        injected = self.codes[(self._round_trip - len(self.codes)) % len(self.codes)]
        self._wiring.coupling.multiply(injected[:n_spins], self._product[:n_spins])
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
        self._round_trip += 1

    def amplitudes(self) -> NDArray[Any]:
        """Return the means of X, what the records say, in units of `MeasurementFeedback.unit`."""
        return self.mean[: self._wiring.n_spins] / self._scalar(self._dynamics.unit)
