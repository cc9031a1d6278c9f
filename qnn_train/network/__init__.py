"""Quantized networks: codes of their parameters, exact forward pass, reachable ranges."""

from qnn_train.network.architecture import Architecture, Layer, majority_network, threshold_unit
from qnn_train.network.codes import ParameterCode, bias_code, weight_code
from qnn_train.network.intervals import Grid, SignWord, propagate
from qnn_train.network.network import QuantizedNetwork

__all__ = [
    "Architecture",
    "Grid",
    "Layer",
    "ParameterCode",
    "QuantizedNetwork",
    "SignWord",
    "bias_code",
    "majority_network",
    "propagate",
    "threshold_unit",
    "weight_code",
]
