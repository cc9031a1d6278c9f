"""Training: recipes, runs that can be interrupted, checkpoints, reports, and what they cost."""

from qnn_train.training.checkpoint import Checkpoint
from qnn_train.training.descent import Cost, Examples
from qnn_train.training.image_problem import ProximalProblem
from qnn_train.training.methods import METHODS, Method, TrainingStep, train
from qnn_train.training.qcbo import Preparation, prepare
from qnn_train.training.recipe import PRESETS, ProximalRecipe, Recipe, default_preset, preset
from qnn_train.training.report import History, Outcome, RunReport
from qnn_train.training.run import TrainingRun, problem_of, run_recipe

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
