"""Quantized networks for any table of numbers, with the conventions of scikit-learn."""

from qnn_train.data.features import FeatureGrid
from qnn_train.estimator.classifier import QuantizedNetworkClassifier
from qnn_train.estimator.regressor import QuantizedNetworkRegressor
from qnn_train.estimator.summary import LayerSummary, NetworkSummary, Progress, TieReport
from qnn_train.model.integer import IntegerClassifier, IntegerRegressor
from qnn_train.model.onnx import count_disagreements, load_onnx, save_onnx
from qnn_train.training.descent import SweepResult

__all__ = [
    "FeatureGrid",
    "IntegerClassifier",
    "IntegerRegressor",
    "LayerSummary",
    "NetworkSummary",
    "Progress",
    "QuantizedNetworkClassifier",
    "QuantizedNetworkRegressor",
    "SweepResult",
    "TieReport",
    "count_disagreements",
    "load_onnx",
    "save_onnx",
]
