"""Training: recipes, runs that can be interrupted, checkpoints, reports, and what they cost."""

from qnn_train.training.checkpoint import Checkpoint
from qnn_train.training.descent import Cost, Examples
from qnn_train.training.methods import METHODS, Method
from qnn_train.training.presets import PRESETS, default_preset, preset
from qnn_train.training.problem import Preparation, ProximalProblem, prepare, problem_of
from qnn_train.training.qcbo import TrainingStep, train
from qnn_train.training.recipe import ProximalRecipe, Recipe
from qnn_train.training.report import History, Outcome, RunReport
from qnn_train.training.run import TrainingRun, run_recipe

__all__ = [
    "METHODS",
    "PRESETS",
    "Checkpoint",
    "Cost",
    "Examples",
    "History",
    "Method",
    "Outcome",
    "Preparation",
    "ProximalProblem",
    "ProximalRecipe",
    "Recipe",
    "RunReport",
    "TrainingRun",
    "TrainingStep",
    "default_preset",
    "prepare",
    "preset",
    "problem_of",
    "run_recipe",
    "train",
]
