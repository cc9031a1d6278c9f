"""Quantized neural networks, trained with an Ising machine as oracle (arXiv:2506.18240)."""

# ruff: noqa: F403, F405  type checkers see all names, `__all__` says which are exported
from typing import TYPE_CHECKING, Any

from cim_hal.late_imports import imported

if TYPE_CHECKING:
    from qnn_train.data import *
    from qnn_train.errors import *
    from qnn_train.estimator import *
    from qnn_train.linear import *
    from qnn_train.model.trained import *
    from qnn_train.network import *
    from qnn_train.program import *
    from qnn_train.solve import *
    from qnn_train.training import *

__all__ = [
    "Allocation",
    "AnnealingOracle",
    "Answer",
    "Architecture",
    "Assembly",
    "AssemblyError",
    "DataError",
    "Dataset",
    "DescentOracle",
    "ExactOracle",
    "ExhaustiveOracle",
    "HingeLoss",
    "ImageSet",
    "IntegerClassifier",
    "IntegerRegressor",
    "Layer",
    "LayerSummary",
    "LiftedProblem",
    "LinearFit",
    "Method",
    "ModelFileError",
    "NetworkSummary",
    "Oracle",
    "Outcome",
    "Pair",
    "ParameterCode",
    "PolishedOracle",
    "PooledSign",
    "Preparation",
    "ProgramSize",
    "Progress",
    "Qcbo",
    "QuantizedNetwork",
    "QuantizedNetworkClassifier",
    "QuantizedNetworkRegressor",
    "Recipe",
    "RunReport",
    "Scorer",
    "SessionOracle",
    "Spline",
    "SquaredLoss",
    "TabulatedLoss",
    "Task",
    "TieReport",
    "TrainedModel",
    "TrainingError",
    "TrainingStep",
    "ZeroOneLoss",
    "allocate_bits",
    "assemble",
    "bias_code",
    "codebook",
    "conditional_gradient",
    "count_disagreements",
    "count_spins",
    "cross_entropy_loss",
    "dynamic_range",
    "fit_linear",
    "layered_network",
    "least_squares",
    "load_digits",
    "load_fashion_mnist",
    "logistic_loss",
    "majority_network",
    "one_against_rest",
    "parameter_code",
    "prepare",
    "range_code",
    "run_recipe",
    "spins_needed",
    "threshold_unit",
    "train",
    "weight_code",
]

# Imported when a name is asked for, in this order: the help of the command needs none of them,
# and scikit-learn, which `estimator` takes, is as long to import as all the rest.
_PACKAGES = (
    *("errors", "data", "network", "program", "solve", "model.trained", "training", "linear"),
    "estimator",
)


def __getattr__(name: str) -> Any:
    """Import an exported name."""
    return imported(__name__, name, __all__, _PACKAGES)


def __dir__() -> list[str]:
    return __all__
