"""A coherent Ising machine made of equations."""

from emulator.converters import Converter
from emulator.dynamics import Dynamics, MeanField, MeasurementFeedback
from emulator.machine import EmulatedCim
from emulator.presets import mean_field, measurement_feedback, measurement_feedback_550

__all__ = [
    "Converter",
    "Dynamics",
    "EmulatedCim",
    "MeanField",
    "MeasurementFeedback",
    "mean_field",
    "measurement_feedback",
    "measurement_feedback_550",
]
