"""Training: recipes, runs that can be interrupted, checkpoints, reports, and what they cost."""

from qnn_train.training.cost import Cost
from qnn_train.training.presets import PRESETS, default_preset, preset
from qnn_train.training.proximal import ProximalOutcome, ProximalRun
from qnn_train.training.proximal_checkpoint import Checkpoint
from qnn_train.training.proximal_problem import Examples, ProximalProblem
from qnn_train.training.proximal_recipe import ProximalRecipe
from qnn_train.training.proximal_report import Curve, ProximalReport

__all__ = [
    "PRESETS",
    "Checkpoint",
    "Cost",
    "Curve",
    "Examples",
    "ProximalOutcome",
    "ProximalProblem",
    "ProximalRecipe",
    "ProximalReport",
    "ProximalRun",
    "default_preset",
    "preset",
]
