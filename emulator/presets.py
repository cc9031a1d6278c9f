"""Machines as factories without arguments: the entry points that `open_device` finds by name.

Physical parameters were chosen by measurement, on MAX-CUT (G1, G22), spin glasses (SK100, 550
spins of 8 bits) and sums of squared linear equalities with slack bits, whose couplings differ
a thousandfold: best and mean energy of 64 runs. Round trips take as long as a pulse train of
`max_spins` would on the machine emulated, not on the computer that emulates.
"""

from __future__ import annotations

from cim_hal import Capabilities
from emulator.converters import Converter
from emulator.dynamics import MeanField, MeasurementFeedback
from emulator.machine import EmulatedCim

__all__ = ["mean_field", "measurement_feedback", "measurement_feedback_550"]

# A slow ramp through threshold; all but frozen at its end.
PUMP = (0.0, 1.1)
ROUND_TRIPS = 2000
# Assumed pulse rates: those of the 2000-spin and the 100-spin machine of 2016
# (doi:10.1126/science.aah4243, doi:10.1126/science.aah5178).
FAST_PULSES_HZ = 1e9
SLOW_PULSES_HZ = 1e8


def measurement_feedback() -> EmulatedCim:
    """Return the default machine: measurement feedback, 16-bit couplings, up to 20 000 spins.

    The ADC has 8 bits, the DAC 12. Ask for fewer bits of coupling when lowering a model to see
    what a coarser machine would do.
    """
    capabilities = Capabilities(
        name="emulator",
        description="Measurement-feedback CIM, emulated pulse by pulse; 16-bit couplings.",
        max_spins=20_000,
        coupling_bits=16,
        round_trip_s=20_000 / FAST_PULSES_HZ,
        reports_amplitudes=True,
        reproducible=True,
        default_pump=PUMP,
        default_round_trips=ROUND_TRIPS,
    )
    return EmulatedCim(MeasurementFeedback(), capabilities=capabilities)


def measurement_feedback_550() -> EmulatedCim:
    """Return a machine of 550 spins with 8-bit couplings, ADC and DAC.

    Size and precision class of QBoson's 550-spin machine, whose software rounds couplings to
    8 bits (``kaiwu`` SDK, ``PrecisionReducer(optimizer, 8)``). Its optics are not published:
    they are taken to be those of the default machine.
    """
    capabilities = Capabilities(
        name="emulator-550",
        description="550-spin measurement-feedback CIM, emulated pulse by pulse; all of 8 bits.",
        max_spins=550,
        coupling_bits=8,
        round_trip_s=550 / SLOW_PULSES_HZ,
        reports_amplitudes=True,
        reproducible=True,
        default_pump=PUMP,
        default_round_trips=ROUND_TRIPS,
    )
    eight_bits = MeasurementFeedback(dac=Converter(full_scale=0.2, bits=8))
    return EmulatedCim(eight_bits, capabilities=capabilities)


def mean_field() -> EmulatedCim:
    """Return an ideal machine: real couplings and a field, no detector, no converters.

    Feedback and drive saturate as in the default machine: with linear feedback, spins of strong
    couplings outshine the others, and constraints are solved badly.
    """
    capabilities = Capabilities(
        name="emulator-mean-field",
        description="Mean field of a CIM with real couplings and a field, emulated.",
        max_spins=20_000,
        coupling_bits=None,
        has_field=True,
        reports_amplitudes=True,
        reproducible=True,
        default_pump=PUMP,
        default_round_trips=ROUND_TRIPS,
    )
    saturating = MeanField(
        coupling_gain=0.75,
        time_step=0.25,
        feedback_limit=0.12,
        drive_limit=0.2,
        field_amplitude=0.12,
        noise=0.02,
    )
    return EmulatedCim(saturating, capabilities=capabilities)
