"""Training on all images: recipes, runs that can be interrupted, and what they cost."""

from qnn_train.scale.checkpoint import Checkpoint
from qnn_train.scale.cost import Cost
from qnn_train.scale.presets import PRESETS, default_preset, preset
from qnn_train.scale.problem import Examples, ScaleProblem
from qnn_train.scale.recipe import ProximalRecipe
from qnn_train.scale.report import Curve, ScaleReport
from qnn_train.scale.run import ScaleOutcome, ScaleRun

__all__ = [
    "PRESETS",
    "Checkpoint",
    "Cost",
    "Curve",
    "Examples",
    "ProximalRecipe",
    "ScaleOutcome",
    "ScaleProblem",
    "ScaleReport",
    "ScaleRun",
    "default_preset",
    "preset",
]
