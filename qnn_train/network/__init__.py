"""Quantized networks: codes, activations, exact forward pass, reachable ranges, bit encodings."""

from qnn_train.network.architecture import (
    Architecture,
    Layer,
    layered_network,
    majority_network,
    threshold_unit,
)
from qnn_train.network.bit_encoding import BitEncoding, BitFunction, shortest_encoding
from qnn_train.network.codes import (
    ParameterCode,
    bias_code,
    codebook,
    parameter_code,
    range_code,
    weight_code,
)
from qnn_train.network.intervals import Grid, activation_grid, margin_grid, propagate
from qnn_train.network.network import QuantizedNetwork, rounded
from qnn_train.network.spline import Segment, Spline

__all__ = [
    "Architecture",
    "BitEncoding",
    "BitFunction",
    "Grid",
    "Layer",
    "ParameterCode",
    "QuantizedNetwork",
    "Segment",
    "Spline",
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
    "shortest_encoding",
    "threshold_unit",
    "weight_code",
]
