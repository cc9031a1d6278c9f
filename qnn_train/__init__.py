"""Quantized neural networks, trained with an Ising machine as oracle (arXiv:2506.18240)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qnn_train.data import Dataset, ImageSet, Pair, PooledSign, load_digits, load_fashion_mnist
    from qnn_train.errors import AssemblyError, DataError, ModelFileError, TrainingError
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
    from qnn_train.linear import LinearFit, fit_linear
    from qnn_train.model.trained import TrainedModel
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
    from qnn_train.training import (
        Method,
        Outcome,
        Preparation,
        Recipe,
        RunReport,
        TrainingStep,
        prepare,
        run_recipe,
        train,
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

# Imported when a name is asked for, in this order: the help of the command needs none of them,
# and scikit-learn, which the last one takes, is as long to import as all the rest.
_SOURCES = (
    "qnn_train.errors",
    "qnn_train.data",
    "qnn_train.network",
    "qnn_train.program",
    "qnn_train.solve",
    "qnn_train.model.trained",
    "qnn_train.training",
    "qnn_train.linear",
    "qnn_train.estimator",
)


def __getattr__(name: str) -> Any:
    """Import an exported name."""
    for source in _SOURCES if name in __all__ else ():
        module = import_module(source)
        if name in module.__all__:
            found = globals()[name] = getattr(module, name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
