"""Quantized networks for any table of numbers, with the conventions of scikit-learn."""

from qnn_train.data.grid import FeatureGrid
from qnn_train.estimator.classifier import QuantizedNetworkClassifier
from qnn_train.estimator.descent import Progress, SweepResult
from qnn_train.estimator.regressor import QuantizedNetworkRegressor
from qnn_train.estimator.summary import LayerSummary, NetworkSummary
from qnn_train.estimator.ties import TieReport
from qnn_train.model.integer_classifier import IntegerClassifier
from qnn_train.model.integer_regressor import IntegerRegressor
from qnn_train.model.onnx import count_disagreements, save_onnx

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
    "save_onnx",
]
