"""Quantized networks for any table of numbers, with the conventions of scikit-learn."""

from qnn_train.data.grid import FeatureGrid
from qnn_train.estimator.classifier import QuantizedNetworkClassifier
from qnn_train.estimator.descent import Found, Progress
from qnn_train.estimator.integer_regressor import IntegerRegressor
from qnn_train.estimator.integers import IntegerClassifier
from qnn_train.estimator.onnx_file import count_disagreements, save_onnx
from qnn_train.estimator.regressor import QuantizedNetworkRegressor
from qnn_train.estimator.summary import LayerSummary, NetworkSummary
from qnn_train.estimator.ties import TieReport

__all__ = [
    "FeatureGrid",
    "Found",
    "IntegerClassifier",
    "IntegerRegressor",
    "LayerSummary",
    "NetworkSummary",
    "Progress",
    "QuantizedNetworkClassifier",
    "QuantizedNetworkRegressor",
    "TieReport",
    "count_disagreements",
    "save_onnx",
]
