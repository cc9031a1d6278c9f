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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cim_hal import Capabilities
from emulator.converters import ADC_SETTINGS, DAC_SETTINGS, Coder, Converter, ranged, to_code
from emulator.dynamics import shared_options as shared
from emulator.dynamics.base import Block, JobInputs, Precision, SteppedDynamics
from emulator.dynamics.records import ReadOut, read_out, recorded_amplitudes
from emulator.dynamics.stability import LinearLimit
from emulator.kernel import inlined, kernel
from emulator.machine import EmulatedCim, entry_point
from emulator.noise import Draw, fill_normal_pair
from emulator.options import NON_NEGATIVE, POSITIVE, documented, option

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "GaussianFeedback",
    "GaussianPulses",
    "evolved_excess",
    "evolved_mean",
    "gaussian_feedback",
]

# The recommended schedule: a slow ramp through threshold, all but frozen at its end.
PUMP = (0.0, 1.1)
ROUND_TRIPS = 2000
# a, b, c of tanh(z) / z = (1 + a z^2) / (1 + b z^2 + c z^4), Lambert's fourth convergent.
LAMBERT_A, LAMBERT_B, LAMBERT_C = 2 / 21, 3 / 7, 1 / 105


class MeasureConstants(NamedTuple):
    """Scalars of `measure_pulses`, all of the state's dtype."""

    noise: float
    adc_scale: float
    adc: Coder


class MoveConstants(NamedTuple):
    """Scalars of `move_pulses`, all of the state's dtype."""

    one: float
    vacuum: float
    three: float
    lambert_a: float
    lambert_b: float
    lambert_c: float
    time_step: float
    pump: float
    net_gain: float
    depletion: float
    information: float
    kick: float
    dac_step: float
    dac: Coder


@inlined
def evolved_mean(mean: float, drive: float, depletion: float, c: MoveConstants) -> float:
    r"""Return the mean after a step without its noise; `depletion` is :math:`g^2X^2/2`.

    Euler, linearly implicit in the cubic term alone, as in `mean_field`: no coupling is strong
    enough to make it diverge.
    """
    slope = (c.net_gain - depletion) * mean + drive
    return mean + c.time_step * slope / (c.one + c.three * c.time_step * depletion)


@inlined
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
    above = c.time_step * (c.one + c.lambert_a * square)
    below = c.one + square * (c.lambert_b + c.lambert_c * square)
    change = above * (u + v * excess)
    return (below * excess + change) / (below + above * (c.information * excess - v))


@kernel
def measure_pulses(
    mean: NDArray[Any], noise: NDArray[Any], codes: NDArray[Any], draw: Draw, c: MeasureConstants
) -> None:
    """Draw the noise of a step and write its records, as ADC codes; shapes (n, runs), n even."""
    for pair in range(len(mean) // 2):
        fill_normal_pair(draw, pair, noise[2 * pair], noise[2 * pair + 1])
        for i in range(2 * pair, 2 * pair + 2):
            means, normals, records = mean[i], noise[i], codes[i]
            for r in range(len(means)):
                record = means[r] + c.noise * normals[r]
                records[r] = to_code(record * c.adc_scale, c.adc)


@kernel
def move_pulses(
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

    `field` (n,) and `field_amplitude` (runs,) are of the dtype of `product`; the drive takes that
    of the state, as in `round_trip`. A named tuple of these arrays would cost 4 us a call.
    """
    drive = np.empty(mean.shape[1], mean.dtype)
    for i in range(len(product)):
        means, variances, normals = mean[i], variance[i], noise[i]
        products, h = product[i], field[i]
        for r in range(len(products)):
            volts = (products[r] + h * field_amplitude[r]) * injection_scale
            drive[r] = to_code(volts, c.dac)
        # four arrays: it vectorizes
        for r in range(len(means)):
            mu, excess = means[r], variances[r] - c.vacuum
            depletion = c.depletion * mu * mu
            kick = c.kick * excess * normals[r]
            means[r] = evolved_mean(mu, c.dac_step * drive[r], depletion, c) + kick
            variances[r] = c.vacuum + evolved_excess(excess, depletion, c)


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
        dynamics = dynamics.fitted(inputs)
        dtype, coupling = dynamics.dtype, inputs.coupling
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
            self._field_amplitude += dynamics.field_amplitude * dynamics.converters[0].scale
        self._follows_records = dynamics.field_amplitude is None and bool(coupling.field.any())
        self._injection_scale = coupling.dtype.type(dynamics.injection_scale(coupling.unit))
        self._inputs, self._dynamics = inputs, dynamics
        self._draw = Draw(inputs.key, 0, first_run)

    def advance(self, pump: float) -> None:
        """Make one step: measure, multiply, move."""
        dynamics, n_spins = self._dynamics, self._inputs.n_spins
        strength = dynamics.strength(self._draw.round_trip / self._inputs.round_trips)
        measured = dynamics.measure_constants(strength)
        measure_pulses(self.mean, self._noise, self.codes, self._draw, measured)
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
            dynamics.move_constants(pump, strength),
        )
        self._draw = self._draw.after(1)

    def amplitudes(self) -> NDArray[Any]:
        """Return the last records, or the means of X in units of `GaussianFeedback.unit`."""
        n_spins, dynamics = self._inputs.n_spins, self._dynamics
        if dynamics.read_out == "conditional_mean":
            return self.mean[:n_spins] / self.mean.dtype.type(dynamics.unit)
        records = recorded_amplitudes(
            self.codes[:n_spins], dynamics.converters[0].scale, self._draw
        )
        return records.astype(dynamics.dtype)


@documented
@dataclass(frozen=True, kw_only=True)
class GaussianFeedback(SteppedDynamics):
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
    coupled row (``CouplingMatrix``).

    Notes
    -----
    The mean takes an Euler-Maruyama step (`evolved_mean`). Its noise does not depend on the
    mean but through :math:`\sigma`, which is smooth, so the strong order is 1 and Itô and
    Stratonovich agree. The variance follows its Riccati equation exactly while the mean stands
    still (`evolved_excess`). The model is for many photons: against the master equation of a lone
    oscillator at threshold it has 6 % too much light where :math:`A_s^2 = 100`.
    """

    coupling_gain: float = shared.coupling_gain(0.5)
    adc: Converter = option(
        Converter(full_scale=math.inf),
        parts=ADC_SETTINGS,
        doc=r"""Converter of the records.
A record in a step has noise of variance :math:`1/4j\eta_ddt`, so the effect of a finite full
scale depends on `time_step`, which then stands for the detector's bandwidth.""",
    )
    dac: Converter = option(
        Converter(full_scale=math.inf), parts=DAC_SETTINGS, doc="Converter of the drives."
    )
    field_amplitude: float | None = shared.field_amplitude()
    measurement_strength: float = option(
        1.0,
        within=POSITIVE,
        low=0.05,
        high=5.0,
        log=True,
        symbol="j_0",
        doc="Loss to the detector, in units of the own.",
    )
    time_step: float = shared.time_step(0.02, low=0.005, high=0.2)
    stability: float = shared.stability(0.5)
    measurement_decay: float = option(
        0.0,
        within=NON_NEGATIVE,
        symbol="d",
        doc=r"""Decay of the measurement over a run of length T, :math:`j = j_0e^{-td/T}`.
The pump keeps counting thresholds.""",
    )
    detector_efficiency: float = shared.detector_efficiency()
    saturation: float = shared.saturation(300.0)
    read_out: ReadOut = read_out()
    precision: Precision = shared.precision()

    block = GaussianPulses

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.converters  # refuses full scales that cannot be chosen

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
    def linear_limit(self) -> LinearLimit:
        """Of the explicit step of the drive, which comes back without a delay."""
        return LinearLimit(self.time_step * self.loss * self.coupling_gain)

    def strength(self, elapsed: float) -> float:
        """Return j when the share `elapsed` of a run is over."""
        return self.measurement_strength * math.exp(-self.measurement_decay * elapsed)

    @property
    def converters(self) -> tuple[Converter, Converter]:
        """ADC and DAC as the machine uses them, reranged where they are to be."""
        information = 4 * self.measurement_strength * self.detector_efficiency
        record = 1 / math.sqrt(information * self.time_step) / self.unit
        return ranged(self.adc, self.dac, record=record, gain=self.coupling_gain)

    def injection_scale(self, coupling_unit: float) -> float:
        """Return the DAC codes per unit of the product of couplings and ADC codes."""
        adc, dac = self.converters
        return self.coupling_gain * coupling_unit / adc.scale * dac.scale

    def measure_constants(self, strength: float) -> MeasureConstants:
        """Return the scalars of a measurement of strength j."""
        information = 4 * strength * self.detector_efficiency
        adc, _ = self.converters
        constants = MeasureConstants(
            noise=1 / math.sqrt(information * self.time_step),
            adc_scale=adc.scale / self.unit,
            adc=adc.coder,
        )
        return self.scalars(constants)

    def move_constants(self, pump: float, strength: float) -> MoveConstants:
        """Return the scalars of a step at `pump` thresholds under a measurement of strength j."""
        information = 4 * strength * self.detector_efficiency
        _, dac = self.converters
        constants = MoveConstants(
            one=1.0,
            vacuum=0.5,
            three=3.0,
            lambert_a=LAMBERT_A,
            lambert_b=LAMBERT_B,
            lambert_c=LAMBERT_C,
            time_step=self.time_step,
            pump=(1 + strength) * pump,
            net_gain=(1 + strength) * (pump - 1),
            depletion=0.5 * self.loss / self.saturation**2,
            information=information,
            kick=math.sqrt(information * self.time_step),
            dac_step=self.loss * self.unit / dac.scale,
            dac=dac.coder,
        )
        return self.scalars(constants)


@entry_point
def gaussian_feedback() -> EmulatedCim:
    """Return measurement feedback in the limit of short round trips, with a field.

    Couplings are real. Feedback and drive saturate as in the default machine (`presets`), but
    nothing is rounded; a spin of the field's own would have the amplitude of full feedback.
    """
    capabilities = Capabilities(
        name="emulator-gaussian",
        description="Feedback in the limit of short round trips: for comparison with theory.",
        max_spins=20_000,
        coupling_bits=None,
        has_field=True,
        reports_amplitudes=True,
        reproducible=True,
        default_pump=PUMP,
        default_round_trips=ROUND_TRIPS,
    )
    saturating = GaussianFeedback(
        coupling_gain=0.75,
        time_step=0.1,
        adc=Converter(full_scale=0.12),
        dac=Converter(full_scale=0.2),
        field_amplitude=0.12,
    )
    return EmulatedCim(saturating, capabilities=capabilities, weakens_penalties=True)
