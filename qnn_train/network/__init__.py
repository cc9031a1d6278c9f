"""Quantized networks: codes, activations, exact forward pass, reachable ranges, words of bits."""

from qnn_train.network.architecture import (
    Architecture,
    Layer,
    layered_network,
    majority_network,
    threshold_unit,
)
from qnn_train.network.codes import (
    ParameterCode,
    bias_code,
    codebook,
    parameter_code,
    range_code,
    weight_code,
)
from qnn_train.network.intervals import Grid, activation_grid, margin_grid, propagate
from qnn_train.network.network import QuantizedNetwork
from qnn_train.network.rounding import rounded
from qnn_train.network.segments import Segment
from qnn_train.network.spline import Spline
from qnn_train.network.words import BitFunction, Word, shortest_word

__all__ = [
    "Architecture",
    "BitFunction",
    "Grid",
    "Layer",
    "ParameterCode",
    "QuantizedNetwork",
    "Segment",
    "Spline",
    "Word",
    "activation_grid",
    "bias_code",
    "codebook",
    "layered_network",
    "majority_network",
    "margin_grid",
    "parameter_code",
    "propagate",
    "range_code",
    "rounded",
    "shortest_word",
    "threshold_unit",
    "weight_code",
]
