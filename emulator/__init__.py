"""A coherent Ising machine made of equations.

Names are imported on first use: a machine does without the dynamics of others.
"""

from typing import TYPE_CHECKING, Any

from cim_hal.late_imports import imported

if TYPE_CHECKING:
    from emulator.converters import Converter
    from emulator.dynamics.amplitude_control import (
        AmplitudeHeterogeneityCorrection,
        ChaoticAmplitudeControl,
        chaotic_amplitude_control,
        heterogeneity_correction,
    )
    from emulator.dynamics.base import Dynamics
    from emulator.dynamics.best_seen import BestSeen
    from emulator.dynamics.bifurcation import (
        SimulatedBifurcation,
        ballistic_bifurcation,
        discrete_bifurcation,
    )
    from emulator.dynamics.feedback_control import (
        ChaoticFeedbackControl,
        SeparatedFeedbackControl,
        chaotic_feedback_control,
        separated_feedback_control,
    )
    from emulator.dynamics.gaussian import GaussianFeedback, gaussian_feedback
    from emulator.dynamics.mean_field import MeanField
    from emulator.dynamics.measurement_feedback import MeasurementFeedback
    from emulator.dynamics.nmfa import NoisyMeanFieldAnnealing, noisy_mean_field_annealing
    from emulator.dynamics.positive_p import PositiveP
    from emulator.dynamics.simcim import SimCim, simcim
    from emulator.dynamics.wigner import TruncatedWigner
    from emulator.imperfections import Imperfections
    from emulator.integrators import (
        EulerMaruyama,
        Heun,
        LinearlyImplicitEuler,
        RungeKutta4,
        StrangSplitting,
    )
    from emulator.machine import EmulatedCim
    from emulator.observables import (
        SuccessProbability,
        amplitude_histogram,
        energy_progress,
        heterogeneity,
        time_to_solution,
    )
    from emulator.optics import FibreCavity, HomodyneDetector
    from emulator.presets import Preset, mean_field, measurement_feedback, measurement_feedback_550
    from emulator.recording import TraceFile
    from emulator.squeezing import noise_spectrum, squeezing_db, squeezing_spectrum

__all__ = [
    "AmplitudeHeterogeneityCorrection",
    "BestSeen",
    "ChaoticAmplitudeControl",
    "ChaoticFeedbackControl",
    "Converter",
    "Dynamics",
    "EmulatedCim",
    "EulerMaruyama",
    "FibreCavity",
    "GaussianFeedback",
    "Heun",
    "HomodyneDetector",
    "Imperfections",
    "LinearlyImplicitEuler",
    "MeanField",
    "MeasurementFeedback",
    "NoisyMeanFieldAnnealing",
    "PositiveP",
    "Preset",
    "RungeKutta4",
    "SeparatedFeedbackControl",
    "SimCim",
    "SimulatedBifurcation",
    "StrangSplitting",
    "SuccessProbability",
    "TraceFile",
    "TruncatedWigner",
    "amplitude_histogram",
    "ballistic_bifurcation",
    "chaotic_amplitude_control",
    "chaotic_feedback_control",
    "discrete_bifurcation",
    "energy_progress",
    "gaussian_feedback",
    "heterogeneity",
    "heterogeneity_correction",
    "mean_field",
    "measurement_feedback",
    "measurement_feedback_550",
    "noise_spectrum",
    "noisy_mean_field_annealing",
    "separated_feedback_control",
    "simcim",
    "squeezing_db",
    "squeezing_spectrum",
    "time_to_solution",
]

_MODULES = (
    "converters",
    "dynamics.amplitude_control",
    "dynamics.base",
    "dynamics.best_seen",
    "dynamics.bifurcation",
    "dynamics.feedback_control",
    "dynamics.gaussian",
    "dynamics.mean_field",
    "dynamics.measurement_feedback",
    "dynamics.nmfa",
    "dynamics.positive_p",
    "dynamics.simcim",
    "dynamics.wigner",
    "imperfections",
    "integrators",
    "machine",
    "observables",
    "optics",
    "presets",
    "recording",
    "squeezing",
)


def __getattr__(name: str) -> Any:
    """Import an exported name."""
    return imported(__name__, name, __all__, _MODULES)


def __dir__() -> list[str]:
    return __all__
