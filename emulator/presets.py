"""Machines that people know, as data: the entry points that `open_device` finds by name.

Round trips take as long as on the machine emulated, not on the computer that emulates. What is
published of real machines is little: sizes, mostly. Optics, electronics and imperfections are
assumed, and a record says so. Those of the default machine were chosen by measurement, on MAX-CUT
(G1, G22), spin glasses (SK100, 550 spins of 8 bits) and sums of squared linear equalities with
slack bits, whose couplings differ a thousandfold: best and mean energy of 64 runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cim_hal import Capabilities
from cim_hal.text import counted
from emulator.converters import Converter
from emulator.dynamics.mean_field import MeanField
from emulator.dynamics.measurement_feedback import MeasurementFeedback
from emulator.imperfections import Imperfections
from emulator.machine import EmulatedCim, entry_point
from emulator.optics import FibreCavity, HomodyneDetector

if TYPE_CHECKING:
    from emulator.dynamics.base import Dynamics

__all__ = [
    "BENCH",
    "PRESETS",
    "Preset",
    "mean_field",
    "measurement_feedback",
    "measurement_feedback_100",
    "measurement_feedback_100k",
    "measurement_feedback_550",
    "measurement_feedback_1000",
    "measurement_feedback_2000",
    "measurement_feedback_ideal",
]

# What a record says of a machine: each is published, or else assumed.
NUMBERS = (
    "max_spins",
    "coupling_bits",
    "pulses",
    "pulse_rate_hz",
    "fibre_length_m",
    "round_trips",
    "dynamics",
)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A machine by name, with the sources of its numbers.

    Parameters
    ----------
    name : str
        Of the machine and of its entry point.
    description : str
        One sentence for people.
    max_spins : int
        Pulses that serve as spins.
    coupling_bits : int or None
        Bits of a coupling, sign included; None for real couplings.
    dynamics : Dynamics
        Its physics, imperfections included.
    pulses : int or None
        In the cavity, those included that are no spins; None where there is no cavity.
    pulse_rate_hz : float or None
        Repetition rate in hertz.
    cavity : FibreCavity or None
        The fibre that holds the pulses, where a machine is known to have one.
    pump : tuple of float
        Knots of the recommended pump schedule, in thresholds.
    round_trips : int
        Recommended length of a run.
    fits_gain : bool
        Whether the gain is strengthened where the spectrum of a model demands it. It pays where
        converters are fine: 8 bits of DAC, and imperfections, lose by it.
    weakens_penalties : bool
        Whether jobs that read the best of a run get a weaker penalty, as with `EmulatedCim`. Of
        fewer than 16 bits too little of the objective is left beside the penalty.
    sources : tuple of str
        Publications and manuals.
    published : tuple of str
        Which of ``NUMBERS`` are in a source, as far as we have checked. All else is assumed.

    Raises
    ------
    ValueError
        More spins than pulses, or a number that a machine does not have.
    """

    name: str
    description: str
    max_spins: int
    coupling_bits: int | None
    dynamics: Dynamics
    pulses: int | None = None
    pulse_rate_hz: float | None = None
    cavity: FibreCavity | None = None
    pump: tuple[float, ...] = (0.0, 1.1)
    round_trips: int = 2000
    fits_gain: bool = False
    weakens_penalties: bool = False
    sources: tuple[str, ...] = ()
    published: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pulses is not None and self.pulses < self.max_spins:
            raise ValueError(
                f"{self.name}: {counted(self.max_spins, 'spin')}, but "
                f"{counted(self.pulses, 'pulse')}"
            )
        unknown = set(self.published) - set(NUMBERS)
        if unknown:
            raise ValueError(f"{self.name}: no machine has {', '.join(sorted(unknown))}")

    @property
    def round_trip_s(self) -> float | None:
        """Time of a round trip in seconds: the fibre is trimmed to hold whole pulses."""
        if self.pulses is None or self.pulse_rate_hz is None:
            return None
        return self.pulses / self.pulse_rate_hz

    @property
    def assumed(self) -> tuple[str, ...]:
        """Which of ``NUMBERS`` are assumed."""
        return tuple(name for name in NUMBERS if name not in self.published)

    def machine(self) -> EmulatedCim:
        """Return the machine."""
        capabilities = Capabilities(
            name=self.name,
            description=self.description,
            max_spins=self.max_spins,
            coupling_bits=self.coupling_bits,
            has_field=self.dynamics.has_field,
            round_trip_s=self.round_trip_s,
            reports_amplitudes=True,
            reproducible=True,
            default_pump=self.pump,
            default_round_trips=self.round_trips,
            properties={
                "pulses": self.pulses,
                "pulse_rate_hz": self.pulse_rate_hz,
                "fibre_length_m": None if self.cavity is None else self.cavity.length_m,
                "sources": "; ".join(self.sources),
                "published": ", ".join(self.published),
                "assumed": ", ".join(self.assumed),
            },
            units={"pulses": "pulses", "pulse_rate_hz": "Hz", "fibre_length_m": "m"},
        )
        return EmulatedCim(
            self.dynamics,
            capabilities=capabilities,
            fits_gain=self.fits_gain,
            weakens_penalties=self.weakens_penalties,
        )


# What a careful laboratory is left with. All values are assumed; docs/explanation/imperfections
# says what each does.
BENCH = Imperfections(
    injection_gain_error=0.02,
    injection_noise=0.01,
    injection_phase_rad=0.05,
    phase_drift_rad=0.003,
    relock_round_trips=100,
    relock_residual_rad=0.02,
    timing_jitter=0.05,
    pump_error=0.01,
    pump_noise=0.005,
    pump_depletion=0.01,
    threshold_drift=0.01,
    detector_gain_error=0.01,
    detector_offset=0.1,
    leakage=0.01,
)

_ADC, _DAC = Converter(full_scale=0.12, bits=8), Converter(full_scale=0.2, bits=12)
# An 8-bit converter with 7 effective bits: its noise is LSB sqrt((4^(8 - 7) - 1) / 12).
_ADC_NOISE_LSB = 0.5
# Only the efficiency of the detector matters, since the noise of its ADC exceeds its own.
_DETECTOR = HomodyneDetector(quantum_efficiency=0.9, visibility=0.95, shot_noise_v=1.0)


def _bench(
    cavity: FibreCavity, *, spins: int, pulses: int, coupling_gain: float
) -> MeasurementFeedback:
    ideal = cavity.measurement_feedback(_DETECTOR, adc=_ADC, dac=_DAC)
    record_per_lsb = math.sqrt(2 * cavity.outcoupling * ideal.detector_efficiency) / _ADC.scale
    return replace(
        ideal,
        coupling_gain=coupling_gain,
        electronic_noise=_ADC_NOISE_LSB * record_per_lsb * cavity.saturation,
        imperfections=replace(BENCH, reference_pulses=pulses - spins, train_pulses=pulses),
    )


_RING_100 = FibreCavity(
    length_m=320.0, pulse_rate_hz=1e8, loss_db=5.0, outcoupling=0.1, threshold_w=1e-3
)
_RING_2000 = FibreCavity(
    length_m=1000.0, pulse_rate_hz=1e9, loss_db=5.0, outcoupling=0.1, threshold_w=0.02
)
_RING_100K = FibreCavity(
    length_m=5000.0, pulse_rate_hz=5e9, loss_db=6.0, outcoupling=0.1, threshold_w=0.1
)

# Says that large machines with FPGAs had binary or ternary couplings, and not which.
_TERNARY = "Aonishi et al., arXiv:2406.05377 (abstract): large machines had 1 or 2 bits, unnamed"

# Of machines whose optics nobody knows: a gain at which each of ten spin glasses of 100 is solved
# and G1 and G22 are cut better, and so few photons that their noise leads out of small models with
# fields (48 QUBOs of 8 to 16 variables: two missed; with a saturation of 300, eleven).
_OPTICS: dict[str, Any] = {"coupling_gain": 0.7, "saturation": 25.0}

_RECORDS = (
    Preset(
        name="emulator",
        description="Measurement-feedback CIM, pulse by pulse: what a real machine would do.",
        max_spins=20_000,
        coupling_bits=16,
        fits_gain=True,
        weakens_penalties=True,
        dynamics=MeasurementFeedback(**_OPTICS),
        pulses=20_000,
        pulse_rate_hz=1e9,
    ),
    Preset(
        name="emulator-ideal",
        description="Measurement-feedback CIM of ideal electronics: what the optics alone can do.",
        max_spins=20_000,
        coupling_bits=None,
        # What is left are the optics: shot noise, the delay of a round trip, and single precision,
        # whose rounding is a thousandth of the shot noise of a record. Full scales stay: they make
        # the feedback sign-like, and are no imperfection.
        fits_gain=True,
        weakens_penalties=True,
        dynamics=MeasurementFeedback(
            **_OPTICS,
            adc=Converter(full_scale=_ADC.full_scale),
            dac=Converter(full_scale=_DAC.full_scale),
        ),
        pulses=20_000,
        pulse_rate_hz=1e9,
    ),
    Preset(
        name="emulator-100",
        description="Like the 100-spin feedback CIM of 2016, with assumed imperfections.",
        max_spins=100,
        coupling_bits=8,
        dynamics=_bench(_RING_100, spins=100, pulses=160, coupling_gain=0.4),
        pulses=160,
        pulse_rate_hz=_RING_100.pulse_rate_hz,
        cavity=_RING_100,
        round_trips=1000,
        sources=("McMahon et al., Science 354, 614 (2016), doi:10.1126/science.aah5178",),
        published=("max_spins",),
    ),
    Preset(
        name="emulator-550",
        description="550-spin feedback CIM of today, all of 8 bits: what few bits cost.",
        max_spins=550,
        coupling_bits=8,
        dynamics=MeasurementFeedback(**_OPTICS, dac=Converter(full_scale=_DAC.full_scale, bits=8)),
        pulses=550,
        pulse_rate_hz=1e8,
        sources=("Kaiwu SDK, PrecisionReducer(optimizer, 8), and examples: 550 spins, 8 bits",),
        published=("max_spins", "coupling_bits"),
    ),
    Preset(
        name="emulator-1000",
        description="1000-spin feedback CIM of today, with couplings of 14 bits.",
        max_spins=1000,
        coupling_bits=14,
        fits_gain=True,
        dynamics=MeasurementFeedback(**_OPTICS, dac=Converter(full_scale=_DAC.full_scale, bits=14)),
        pulses=1000,
        pulse_rate_hz=1e8,
        sources=("Kaiwu SDK, newer examples: 1000 spins, 14 bits",),
        published=("max_spins", "coupling_bits"),
    ),
    Preset(
        name="emulator-2000",
        description="Like the 2000-spin feedback CIM of 2016, with assumed imperfections.",
        max_spins=2000,
        coupling_bits=8,
        dynamics=_bench(_RING_2000, spins=2000, pulses=5000, coupling_gain=0.4),
        pulses=5000,
        pulse_rate_hz=_RING_2000.pulse_rate_hz,
        cavity=_RING_2000,
        round_trips=1000,
        sources=("Inagaki et al., Science 354, 603 (2016), doi:10.1126/science.aah4243", _TERNARY),
        published=("max_spins",),
    ),
    # The state of a block of 64 runs takes 0.13 GB, the couplings of a graph of degree 3 2.4 MB,
    # and dense ones of two bits 2.5 GB.
    Preset(
        name="emulator-100k",
        description="Like the CIM of 2021, with assumed imperfections: for the largest models.",
        max_spins=100_512,
        coupling_bits=8,
        dynamics=_bench(_RING_100K, spins=100_512, pulses=_RING_100K.pulses, coupling_gain=0.4),
        pulses=_RING_100K.pulses,
        pulse_rate_hz=_RING_100K.pulse_rate_hz,
        cavity=_RING_100K,
        round_trips=500,
        sources=(
            "Honjo et al., Sci. Adv. 7, eabh0952 (2021), doi:10.1126/sciadv.abh0952",
            _TERNARY,
        ),
        published=("max_spins",),
    ),
    Preset(
        name="emulator-mean-field",
        description="Mean field of a CIM, no detector and no quantum noise: for comparison.",
        max_spins=20_000,
        coupling_bits=None,
        # Saturates as the default machine does: with linear feedback, spins of strong couplings
        # outshine the others, and constraints are solved badly.
        fits_gain=True,
        weakens_penalties=True,
        dynamics=MeanField(
            coupling_gain=0.75,
            time_step=0.25,
            feedback_limit=_ADC.full_scale,
            drive_limit=_DAC.full_scale,
            field_amplitude=_ADC.full_scale,
            noise=0.02,
        ),
    ),
)

PRESETS: Mapping[str, Preset] = MappingProxyType({record.name: record for record in _RECORDS})


# Entry points without a name in Python.
measurement_feedback_ideal = entry_point(PRESETS["emulator-ideal"].machine)
measurement_feedback_100 = entry_point(PRESETS["emulator-100"].machine)
measurement_feedback_1000 = entry_point(PRESETS["emulator-1000"].machine)
measurement_feedback_2000 = entry_point(PRESETS["emulator-2000"].machine)
measurement_feedback_100k = entry_point(PRESETS["emulator-100k"].machine)


@entry_point
def measurement_feedback() -> EmulatedCim:
    """Return the default machine: measurement feedback, 16-bit couplings, up to 20 000 spins.

    The ADC has 8 bits, the DAC 12. Ask for fewer bits of coupling when lowering a model to see
    what a coarser machine would do.
    """
    return PRESETS["emulator"].machine()


@entry_point
def measurement_feedback_550() -> EmulatedCim:
    """Return a machine of 550 spins with 8-bit couplings, ADC and DAC.

    Size and precision class of QBoson's 550-spin machine. Its optics are not published: they are
    taken to be those of the default machine, with nothing wrong.
    """
    return PRESETS["emulator-550"].machine()


@entry_point
def mean_field() -> EmulatedCim:
    """Return a machine without measurement: real couplings and a field, no detector."""
    return PRESETS["emulator-mean-field"].machine()
