"""Estimators that are fitted in a moment."""

from __future__ import annotations

from qnn_train import QuantizedNetworkClassifier

QUICK = {
    "hidden": 3,
    "sweeps": 4,
    "starts": 1,
    "pretraining": 0,
    "n_runs": 4,
    "ladder": (0.1, 1.0),
    "random_state": 1,
}


def classifier(**changes):
    return QuantizedNetworkClassifier(**(QUICK | changes))
