"""Algorithms that grew out of coherent Ising machines, as machines without arguments.

They take real couplings and a field, and are read out at the best configuration a run has seen.
"""

from __future__ import annotations

from cim_hal import Capabilities
from emulator.dynamics import (
    AmplitudeHeterogeneityCorrection,
    BestSeen,
    ChaoticAmplitudeControl,
    ChaoticFeedbackControl,
    Dynamics,
    NoisyMeanFieldAnnealing,
    SeparatedFeedbackControl,
    SimCim,
    SimulatedBifurcation,
)
from emulator.dynamics.simcim import tanh_ramp
from emulator.machine import EmulatedCim

__all__ = [
    "ballistic_bifurcation",
    "chaotic_amplitude_control",
    "chaotic_feedback_control",
    "discrete_bifurcation",
    "heterogeneity_correction",
    "noisy_mean_field_annealing",
    "separated_feedback_control",
    "simcim",
]

# From no pump to the threshold of a lone oscillator.
RAMP = (0.0, 1.0)
HIGHEST_PUMP = 4.0
# From infinite temperature to a sixth of the critical one of a spin glass.
COOLING = (0.0, 6.0)
COLDEST = 20.0
ROUND_TRIPS = 2000
# Discrete bifurcation goes on finding better for longer than the others: on K2000 the best of 128
# runs is 33279 after 1000 round trips and 33335 after 10 000.
DISCRETE_ROUND_TRIPS = 10_000
MAX_ROUND_TRIPS = 1_000_000


def chaotic_amplitude_control() -> EmulatedCim:
    """Return CAC: `ChaoticAmplitudeControl` as it is by default."""
    return _algorithm("cac", "Chaotic amplitude control", ChaoticAmplitudeControl())


def chaotic_feedback_control() -> EmulatedCim:
    """Return CFC: `ChaoticFeedbackControl` as it is by default."""
    return _algorithm("cfc", "Chaotic feedback control", ChaoticFeedbackControl())


def separated_feedback_control() -> EmulatedCim:
    """Return SFC: `SeparatedFeedbackControl` as it is by default."""
    return _algorithm("sfc", "Separated feedback control", SeparatedFeedbackControl())


def heterogeneity_correction() -> EmulatedCim:
    """Return AHC: `AmplitudeHeterogeneityCorrection` at constant pump."""
    dynamics = AmplitudeHeterogeneityCorrection()
    return _algorithm("ahc", "Amplitude-heterogeneity correction", dynamics, pump=(0.2,))


def ballistic_bifurcation() -> EmulatedCim:
    """Return bSB: `SimulatedBifurcation` with walls, at longer steps than dSB likes."""
    dynamics = SimulatedBifurcation(variant="ballistic", stability=0.75)
    return _algorithm("bsb", "Ballistic simulated bifurcation", dynamics)


def discrete_bifurcation() -> EmulatedCim:
    """Return dSB: `SimulatedBifurcation` with walls and signs fed back."""
    dynamics = SimulatedBifurcation(variant="discrete")
    title = "Discrete simulated bifurcation"
    return _algorithm("dsb", title, dynamics, round_trips=DISCRETE_ROUND_TRIPS)


def simcim() -> EmulatedCim:
    """Return SimCIM: `SimCim` under a pump that rises as a hyperbolic tangent."""
    return _algorithm("simcim", "SimCIM", SimCim(), pump=tanh_ramp())


def noisy_mean_field_annealing() -> EmulatedCim:
    """Return NMFA: `NoisyMeanFieldAnnealing`, whose pump is an inverse temperature."""
    dynamics = NoisyMeanFieldAnnealing()
    title = "Noisy mean-field annealing"
    return _algorithm("nmfa", title, dynamics, pump=COOLING, highest_pump=COLDEST)


def _algorithm(
    name: str,
    title: str,
    dynamics: Dynamics,
    *,
    pump: tuple[float, ...] = RAMP,
    highest_pump: float = HIGHEST_PUMP,
    round_trips: int = ROUND_TRIPS,
) -> EmulatedCim:
    capabilities = Capabilities(
        name=f"emulator-{name}",
        description=f"{title}, with real couplings and a field; the best a run has seen.",
        max_spins=20_000,
        coupling_bits=None,
        has_field=True,
        max_round_trips=MAX_ROUND_TRIPS,
        pump_range=(0.0, highest_pump),
        reports_amplitudes=True,
        reproducible=True,
        default_pump=pump,
        default_round_trips=round_trips,
    )
    return EmulatedCim(BestSeen(dynamics=dynamics), capabilities=capabilities)
