"""Physics of machines: one file per model."""

from emulator.dynamics.base import Block, Dynamics, Precision, Wiring
from emulator.dynamics.mean_field import MeanField
from emulator.dynamics.measurement_feedback import MeasurementFeedback

__all__ = ["Block", "Dynamics", "MeanField", "MeasurementFeedback", "Precision", "Wiring"]
