r"""A measurement-feedback machine, pulse by pulse.

References
----------
McMahon et al., Science 354, 614 (2016), doi:10.1126/science.aah5178.
Inagaki et al., Science 354, 603 (2016), doi:10.1126/science.aah4243.
Ng et al., arXiv:2103.05629 (Gaussian model of measurement and feedback).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.text import counted
from emulator.converters import ADC_SETTINGS, DAC_SETTINGS, Converter, ranged
from emulator.disorder import disturbed
from emulator.dynamics import shared_options as shared
from emulator.dynamics.base import ChunkedBlock, Dynamics, JobInputs, Precision
from emulator.dynamics.crystal import MOST_PUMP, MOST_SIGNAL, gain_table
from emulator.dynamics.imperfect_loop import ImperfectLoop
from emulator.dynamics.records import ReadOut, read_out, recorded_amplitudes
from emulator.dynamics.round_trip import LoopConstants, PulseArrays, advance_chunk
from emulator.dynamics.stability import LinearLimit, LoopFilter
from emulator.imperfections import Imperfections
from emulator.noise import Draw
from emulator.options import (
    NON_NEGATIVE,
    POSITIVE_OR_INFINITE,
    POSITIVE_SHARE,
    Interval,
    documented,
    option,
    setting_options,
)
from emulator.products.packing import BLOCK_ROWS, aligned_zeros, padded_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.products.coupling import CouplingMatrix

__all__ = ["MeasurementFeedback", "PulseTrain"]


class PulseTrain(ChunkedBlock):
    """A block of runs of a measurement-feedback machine.

    Raises
    ------
    ValueError
        More spins than the train has slots.
    """

    def __init__(
        self, dynamics: MeasurementFeedback, inputs: JobInputs, first_run: int, n_runs: int
    ) -> None:
        slots = dynamics.imperfections.max_spins
        if slots is not None and inputs.n_spins > slots:
            raise ValueError(
                f"{counted(inputs.n_spins, 'spin')} for {counted(slots, 'slot')} of a train"
            )
        coupling, dtype = inputs.coupling, dynamics.dtype
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
        self._draw, self._n_runs = Draw(inputs.key, 0, first_run), n_runs
        self._constants = dynamics.constants()
        self._slowed = dynamics.loop_filter(inputs, shape[1])
        self._injection_scale = coupling.dtype.type(dynamics.injection_scale(coupling.unit))
        self._scalar = dtype.type
        self._errors: ImperfectLoop | None = None
        if not dynamics.imperfections.is_ideal:
            self._errors = ImperfectLoop(dynamics, inputs, first_run=first_run, shape=shape)

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
        return codes[(self._draw.round_trip - 1) % len(codes)]

    def amplitudes(self) -> NDArray[Any]:
        """Return the last records, or the means of X in units of `MeasurementFeedback.unit`."""
        n_spins, dynamics = self._inputs.n_spins, self._dynamics
        if dynamics.read_out == "conditional_mean":
            return self.mean[:n_spins] / self._scalar(dynamics.unit)
        codes, (adc, _) = self.latest_codes[:n_spins], dynamics.converters
        return recorded_amplitudes(codes, adc.scale, self._draw).astype(self._scalar)

    def notes(self, n_runs: int) -> dict[str, float | str]:
        """Return what went wrong: records clipped or silent, phase errors, locks, dead pulses."""
        n_spins = self._inputs.n_spins
        notes = self._converter_notes(np.abs(self.latest_codes[:n_spins, :n_runs]))
        return notes if self._errors is None else notes | self._errors.notes(n_spins, n_runs)

    def _converter_notes(self, magnitudes: NDArray[Any]) -> dict[str, float | str]:
        """Return the shares of records that the ADC clips and silences, of the worst run."""
        adc, _ = self._dynamics.converters
        clipped = magnitudes >= adc.top
        notes: dict[str, float | str] = {"largest_clipped_share": float(clipped.mean(axis=0).max())}
        if adc.has_dead_zone:
            silent = float((magnitudes == 0).mean(axis=0).max())
            half_step = 0.5 / adc.scale / self._dynamics.vacuum_record
            notes["largest_dead_zone_share"] = silent
            notes["vacuum_dead_zone_share"] = math.erf(half_step / math.sqrt(2))
        return notes

    def _advance_through(self, pumps: NDArray[np.float64]) -> None:
        if self._errors is None:
            self._advance_ideal(pumps)
            return
        for pump in pumps:
            # the slot about to be overwritten is `delay` + 1 round trips old
            codes = self._arrays.codes[self._draw.round_trip % len(self._arrays.codes)]
            self._errors.advance(self._arrays, codes, float(pump), self._draw, self._constants)
            self._draw = self._draw.after(1)

    def _advance_ideal(self, pumps: NDArray[np.float64]) -> None:
        advance_chunk(
            self._inputs.coupling.operand,
            self._arrays,
            gain_table(pumps, self._dynamics.loss_exponent, self._scalar),
            self._slowed,
            self._injection_scale,
            self._draw,
            self._constants,
        )
        self._draw = self._draw.after(len(pumps))


@documented
@dataclass(frozen=True, kw_only=True)
class MeasurementFeedback(Dynamics):
    r"""Degenerate parametric oscillators coupled by homodyne detection and injection.

    One round trip of pulse i, with mean :math:`\mu` and variance :math:`\sigma` of X:

    1. injection :math:`\mu \to \mu + f_i`, with :math:`f_i` from `delay` round trips ago;
    2. crystal :math:`\mu \to G\mu` (``crystal.gain_series``); the variance is that of the crystal
       linearized about the mean, the pump's vacuum included (``crystal.amplified_variance``);
    3. loss :math:`\mu \to \sqrt\eta\mu,\ \sigma \to \eta\sigma + (1 - \eta)/2`;
    4. out-coupling of a share R to a homodyne detector, whose record m is drawn and conditions
       :math:`\mu` and :math:`\sigma` (``round_trip.measured``);
    5. ADC to codes; integer product with J; DAC; the field :math:`f_i` to be injected:

    .. math:: f_i = \sqrt2 A_s L\;\mathrm{DAC}\Big(\frac{g}{|J|}\sum_j J_{ij}\,
              \mathrm{ADC}\Big(\frac{m_j}{\sqrt{2 R\eta_d}\,A_s}\Big)\Big),
              \qquad L = -\tfrac12\ln\eta(1 - R)

    Converters thus see amplitudes in units of a lone oscillator's at twice threshold, and a
    drive in units of the linear loss: the mean obeys
    :math:`\dot x_i = (p - 1 - x_i^2)x_i + \mathrm{DAC}(\cdot)` in the limit of small L, and
    :math:`|J|` is the norm of a weakly coupled row (``CouplingMatrix``). A full scale of the ADC
    well below 1 makes the feedback sign-like once oscillators are bright, which takes away the
    heterogeneity of amplitudes, the main source of wrong minima; a full scale of the DAC keeps
    strongly coupled spins from dragging the rest. What is read is the last record, after its ADC.
    """

    coupling_gain: float = shared.coupling_gain(0.75)
    adc: Converter = option(
        Converter(full_scale=0.12, bits=8), parts=ADC_SETTINGS, doc="Converter of the records."
    )
    dac: Converter = option(
        Converter(full_scale=0.2, bits=12), parts=DAC_SETTINGS, doc="Converter of the drives."
    )
    electronic_noise: float = option(
        0.0,
        within=NON_NEGATIVE,
        low=0.0,
        high=100.0,
        symbol=r"\sigma_{el}",
        is_searched=False,
        unit="quadrature X",
        doc=r"""Noise of a record; vacuum has 0.71.
Standard deviation, where vacuum has :math:`\sqrt{1/2}`.""",
    )
    transmission: float = option(
        0.75,
        within=POSITIVE_SHARE,
        low=0.1,
        high=1.0,
        is_searched=False,
        symbol=r"\eta",
        doc="Power transmission of a round trip, out-coupler aside.",
    )
    outcoupling: float = option(
        0.2,
        within=Interval(0, 1, includes_low=False, includes_high=False),
        low=0.01,
        high=0.9,
        is_searched=False,
        symbol="R",
        doc="Power sent to the detector.",
    )
    detector_efficiency: float = shared.detector_efficiency()
    saturation: float = shared.saturation(300.0)
    delay: int = option(
        1,
        within=NON_NEGATIVE,
        low=0,
        high=16,
        is_searched=False,
        unit="round trips",
        doc="""Round trips between a measurement and its injection.
With 0 all pulses are measured before any is injected, within the same round trip; fibre machines
have 1 or more.""",
    )
    stability: float = option(
        0.5,
        within=POSITIVE_OR_INFINITE,
        low=0.05,
        high=100.0,
        log=True,
        doc=r"""Share of the linear limit that is fed back at once.
The rest of a mode that exceeds it, and stands out of the spectrum, comes slowly
(``emulator.dynamics.stability``). Infinite, or as large as no model needs, to feed back all at
once.""",
    )
    imperfections: Imperfections = option(
        Imperfections(),
        parts=setting_options(Imperfections),
        doc="What else is wrong with the machine; nothing by default.",
    )
    read_out: ReadOut = read_out()
    precision: Precision = shared.precision()

    has_field = False  # hardware of this kind applies couplings only
    block = PulseTrain

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.imperfections.accumulator_bits is not None and not self.adc.rounds:
            raise ValueError("accumulator_bits: an accumulator holds integers, give the ADC bits")
        _ = self.converters  # refuses full scales that cannot be chosen

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
    def linear_limit(self) -> LinearLimit:
        r"""Of the loop within the range of its converters: :math:`k = Lg/\sqrt{1 - R}`.

        A record tells of a pulse before the out-coupler took its share.
        """
        passed = math.sqrt(1 - self.outcoupling)
        return LinearLimit(self.loss_exponent * self.coupling_gain / passed, self.delay)

    @property
    def largest_pump(self) -> float:
        """Where the series of the crystal end, for this loss."""
        return MOST_PUMP / self.loss_exponent if self.loss_exponent else math.inf

    def loop_filter(self, inputs: JobInputs, n_runs: int) -> LoopFilter:
        """Return what slows the strongest modes of a model, and leaves others as they are."""
        unit, modes = inputs.coupling.unit, inputs.extreme_modes
        vectors = modes.vectors.astype(inputs.coupling.operand.code_dtype, copy=False)
        modes = modes._replace(vectors=vectors)
        return LoopFilter.of(modes, self.linear_limit, unit, self.stability, n_runs)

    def choices(self, inputs: JobInputs) -> dict[str, float | str]:
        """Return a limit that is exceeded, and how many modes are slowed, to which share."""
        slowed = self.loop_filter(inputs, 0)
        told = super().choices(inputs)
        if slowed.n_modes:
            told |= {"slowed_modes": slowed.n_modes, "fed_back_at_once": slowed.direct}
        return told

    @property
    def converters(self) -> tuple[Converter, Converter]:
        """ADC and DAC as the machine uses them, reranged where they are to be."""
        record = self.vacuum_record
        return ranged(self.adc, self.dac, record=record, gain=self.coupling_gain)

    @property
    def vacuum_record(self) -> float:
        """Standard deviation of the record of a vacuum, in units of the ADC."""
        tap = self.outcoupling * self.detector_efficiency
        return math.sqrt((0.5 + self.electronic_noise**2) / tap) / self.unit

    def perturb(self, coupling: CouplingMatrix) -> CouplingMatrix:
        """Return the couplings with the static errors of this machine, where it has any."""
        return disturbed(coupling, self.imperfections, self.dtype)

    def injection_scale(self, coupling_unit: float) -> float:
        """Return the DAC codes per unit of the product of couplings and ADC codes."""
        adc, dac = self.converters
        return self.coupling_gain * coupling_unit / adc.scale * dac.scale

    def constants(self) -> LoopConstants:
        """Return the scalars of the compiled loop."""
        # a local oscillator out of phase is a loss of the detector, which nobody calibrates away
        cosine = math.cos(self.imperfections.detector_phase_rad)
        out, expected = self.outcoupling, self.outcoupling * self.detector_efficiency
        tap = expected * cosine**2
        adc, dac = self.converters
        constants = LoopConstants(
            theta_from_mean=self.loss_exponent / self.saturation**2,
            most_signal=MOST_SIGNAL,
            field_transmission=math.sqrt(self.transmission),
            transmission=self.transmission,
            one=1.0,
            vacuum=0.5,
            tap=tap,
            field_tap=math.sqrt(expected) * cosine,
            vacuum_record=0.5 + self.electronic_noise**2,
            field_passed=math.sqrt(1 - out),
            passed=1 - out,
            kick=math.sqrt(expected * (1 - out)) * cosine,
            adc_scale=adc.scale / (math.sqrt(expected) * self.unit),
            adc=adc.coder,
            dac_step=self.loss_exponent * self.unit / dac.scale,
            dac=dac.coder,
        )
        return self.scalars(constants)
