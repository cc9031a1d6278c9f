"""Machines people know, as factories without arguments: the entry points of `open_device`."""

from __future__ import annotations

from cim_hal import Capabilities
from emulator.converters import Converter
from emulator.dynamics import MeanField, MeasurementFeedback
from emulator.machine import EmulatedCim

__all__ = ["mean_field", "measurement_feedback", "measurement_feedback_550"]


def measurement_feedback() -> EmulatedCim:
    """Return the default machine: measurement feedback with room for 20 000 spins."""
    capabilities = Capabilities(
        name="emulator",
        description="Measurement-feedback CIM, pulse by pulse, emulated.",
        max_spins=20_000,
        coupling_bits=16,
        round_trip_s=5e-6,
        reports_amplitudes=True,
        reproducible=True,
        default_pump=(0.0, 1.1),
        default_round_trips=1000,
    )
    return EmulatedCim(MeasurementFeedback(), capabilities=capabilities)


def measurement_feedback_550() -> EmulatedCim:
    """Return a 550-spin machine with 8-bit couplings and 8-bit converters."""
    capabilities = Capabilities(
        name="emulator-550",
        description="550-spin measurement-feedback CIM with 8-bit couplings, emulated.",
        max_spins=550,
        coupling_bits=8,
        round_trip_s=5.5e-6,
        reports_amplitudes=True,
        reproducible=True,
        default_pump=(0.0, 1.1),
        default_round_trips=1000,
    )
    dac = Converter(full_scale=0.3, bits=8)
    return EmulatedCim(MeasurementFeedback(dac=dac), capabilities=capabilities)


def mean_field() -> EmulatedCim:
    """Return an ideal machine: real couplings, a field, no quantum noise."""
    capabilities = Capabilities(
        name="emulator-mean-field",
        description="Mean field of a CIM with ideal couplings, emulated.",
        max_spins=20_000,
        coupling_bits=None,
        has_field=True,
        reports_amplitudes=True,
        reproducible=True,
        default_pump=(0.0, 2.0),
        default_round_trips=1000,
    )
    return EmulatedCim(MeanField(), capabilities=capabilities)
