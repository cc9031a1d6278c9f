"""A coherent Ising machine made of equations."""

from emulator.algorithms import (
    ballistic_bifurcation,
    chaotic_amplitude_control,
    chaotic_feedback_control,
    discrete_bifurcation,
    heterogeneity_correction,
    separated_feedback_control,
)
from emulator.converters import Converter
from emulator.dynamics import (
    AmplitudeHeterogeneityCorrection,
    BestSeen,
    ChaoticAmplitudeControl,
    ChaoticFeedbackControl,
    Dynamics,
    MeanField,
    MeasurementFeedback,
    PositiveP,
    SeparatedFeedbackControl,
    SimulatedBifurcation,
    TruncatedWigner,
)
from emulator.machine import EmulatedCim
from emulator.observables import SuccessProbability, squeezing_db, time_to_solution
from emulator.optics import FibreCavity, HomodyneDetector
from emulator.presets import mean_field, measurement_feedback, measurement_feedback_550

__all__ = [
    "AmplitudeHeterogeneityCorrection",
    "BestSeen",
    "ChaoticAmplitudeControl",
    "ChaoticFeedbackControl",
    "Converter",
    "Dynamics",
    "EmulatedCim",
    "FibreCavity",
    "HomodyneDetector",
    "MeanField",
    "MeasurementFeedback",
    "PositiveP",
    "SeparatedFeedbackControl",
    "SimulatedBifurcation",
    "SuccessProbability",
    "TruncatedWigner",
    "ballistic_bifurcation",
    "chaotic_amplitude_control",
    "chaotic_feedback_control",
    "discrete_bifurcation",
    "heterogeneity_correction",
    "mean_field",
    "measurement_feedback",
    "measurement_feedback_550",
    "separated_feedback_control",
    "squeezing_db",
    "time_to_solution",
]
