"""Physics of machines: one file per model."""

from emulator.dynamics.amplitude_control import ChaoticAmplitudeControl
from emulator.dynamics.base import Block, Dynamics, JobInputs, Precision
from emulator.dynamics.best_seen import BestSeen
from emulator.dynamics.bifurcation import SimulatedBifurcation
from emulator.dynamics.feedback_control import ChaoticFeedbackControl
from emulator.dynamics.gaussian import GaussianFeedback
from emulator.dynamics.heterogeneity import AmplitudeHeterogeneityCorrection
from emulator.dynamics.mean_field import MeanField
from emulator.dynamics.measurement_feedback import MeasurementFeedback
from emulator.dynamics.nmfa import NoisyMeanFieldAnnealing
from emulator.dynamics.positive_p import PositiveP
from emulator.dynamics.separated_feedback import SeparatedFeedbackControl
from emulator.dynamics.simcim import SimCim
from emulator.dynamics.wigner import TruncatedWigner

__all__ = [
    "AmplitudeHeterogeneityCorrection",
    "BestSeen",
    "Block",
    "ChaoticAmplitudeControl",
    "ChaoticFeedbackControl",
    "Dynamics",
    "GaussianFeedback",
    "JobInputs",
    "MeanField",
    "MeasurementFeedback",
    "NoisyMeanFieldAnnealing",
    "PositiveP",
    "Precision",
    "SeparatedFeedbackControl",
    "SimCim",
    "SimulatedBifurcation",
    "TruncatedWigner",
]
