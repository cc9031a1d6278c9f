"""Continuous measurement and feedback as a machine without arguments, found by its name."""

from __future__ import annotations

from cim_hal import Capabilities
from emulator.converters import Converter
from emulator.dynamics.gaussian import GaussianFeedback
from emulator.machine import EmulatedCim

__all__ = ["gaussian_feedback"]

# A slow ramp through threshold; all but frozen at its end.
PUMP = (0.0, 1.1)
ROUND_TRIPS = 2000


def gaussian_feedback() -> EmulatedCim:
    """Return measurement feedback in the limit of short round trips, with a field.

    Couplings are real. Feedback and drive saturate as in the default machine (`presets`), but
    nothing is rounded; a spin of the field's own would have the amplitude of full feedback.
    """
    capabilities = Capabilities(
        name="emulator-gaussian",
        description="Continuous measurement feedback with real couplings and a field, emulated.",
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
    return EmulatedCim(saturating, capabilities=capabilities)
