"""Quantized neural networks, trained with an Ising machine as oracle (arXiv:2506.18240)."""

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
from qnn_train.model_file import TrainedModel
from qnn_train.network import (
    Architecture,
    Layer,
    ParameterCode,
    QuantizedNetwork,
    bias_code,
    majority_network,
    threshold_unit,
    weight_code,
)
from qnn_train.program import Assembly, ProgramSize, Qcbo, assemble, least_squares
from qnn_train.recipe import Preparation, Recipe, prepare
from qnn_train.report import RunReport
from qnn_train.run import Outcome, run_recipe
from qnn_train.solve import (
    Answer,
    ExhaustiveOracle,
    LiftedProblem,
    Oracle,
    Scorer,
    SessionOracle,
    conditional_gradient,
)
from qnn_train.train import TrainingStep, train

__all__ = [
    "Answer",
    "Architecture",
    "Assembly",
    "AssemblyError",
    "DataError",
    "Dataset",
    "ExhaustiveOracle",
    "ImageSet",
    "Layer",
    "LiftedProblem",
    "LinearFit",
    "ModelFileError",
    "Oracle",
    "Outcome",
    "Pair",
    "ParameterCode",
    "PooledSign",
    "Preparation",
    "ProgramSize",
    "Qcbo",
    "QuantizedNetwork",
    "Recipe",
    "RunReport",
    "Scorer",
    "SessionOracle",
    "TrainedModel",
    "TrainingError",
    "TrainingStep",
    "assemble",
    "bias_code",
    "conditional_gradient",
    "fit_linear",
    "least_squares",
    "load_digits",
    "load_fashion_mnist",
    "majority_network",
    "prepare",
    "run_recipe",
    "threshold_unit",
    "train",
    "weight_code",
]
