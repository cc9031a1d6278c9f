"""Irises of three kinds, of two, and a classifier of all three."""

from __future__ import annotations

import numpy as np
import pytest
from quick_estimators import classifier
from sklearn.datasets import load_iris


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def pair(iris):
    X, y = iris
    return X[y > 0], np.where(y[y > 0] == 1, "versicolor", "virginica")


@pytest.fixture(scope="module")
def three(iris):
    return classifier(hidden=4, sweeps=6, vote=2).fit(*iris)
