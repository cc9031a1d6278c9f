"""Quantized neural networks, trained with an Ising machine as oracle (arXiv:2506.18240)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qnn_train.data import (
    Dataset,
    ImageSet,
    Pair,
    PooledSign,
    load_digits,
    load_fashion_mnist,
)
from qnn_train.errors import AssemblyError, DataError, ModelFileError, TrainingError
from qnn_train.linear import LinearFit, fit_linear
from qnn_train.model.file import TrainedModel
from qnn_train.network import (
    Architecture,
    Layer,
    ParameterCode,
    QuantizedNetwork,
    Spline,
    bias_code,
    codebook,
    layered_network,
    majority_network,
    parameter_code,
    range_code,
    threshold_unit,
    weight_code,
)
from qnn_train.program import (
    Allocation,
    Assembly,
    HingeLoss,
    ProgramSize,
    Qcbo,
    SquaredLoss,
    TabulatedLoss,
    Task,
    ZeroOneLoss,
    allocate_bits,
    assemble,
    count_spins,
    cross_entropy_loss,
    dynamic_range,
    least_squares,
    logistic_loss,
    one_against_rest,
    spins_needed,
)
from qnn_train.solve import (
    Answer,
    ExhaustiveOracle,
    LiftedProblem,
    Oracle,
    Scorer,
    SessionOracle,
    conditional_gradient,
)
from qnn_train.training.methods import Method
from qnn_train.training.qcbo import TrainingStep, train
from qnn_train.training.recipe import Preparation, Recipe, prepare
from qnn_train.training.report import RunReport
from qnn_train.training.run import Outcome, run_recipe

if TYPE_CHECKING:
    from qnn_train.estimator import (
        IntegerClassifier,
        IntegerRegressor,
        LayerSummary,
        NetworkSummary,
        Progress,
        QuantizedNetworkClassifier,
        QuantizedNetworkRegressor,
        TieReport,
        count_disagreements,
    )

__all__ = [
    "Allocation",
    "Answer",
    "Architecture",
    "Assembly",
    "AssemblyError",
    "DataError",
    "Dataset",
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

# scikit-learn takes longer to import than all the rest: 0.9 of 1.9 s.
_ESTIMATOR = frozenset(
    {
        "IntegerClassifier",
        "IntegerRegressor",
        "LayerSummary",
        "NetworkSummary",
        "Progress",
        "QuantizedNetworkClassifier",
        "QuantizedNetworkRegressor",
        "TieReport",
        "count_disagreements",
    }
)


def __getattr__(name: str) -> Any:
    """Import what needs scikit-learn when it is asked for."""
    if name in _ESTIMATOR:
        return getattr(import_module("qnn_train.estimator"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
