"""What the estimators reach by default where a line fails."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import make_circles, make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from qnn_train import QuantizedNetworkClassifier


def xor(seed):
    X = np.random.default_rng(seed).uniform(-1, 1, (600, 2))
    return X, X.prod(axis=1) > 0


def circles(seed):
    return make_circles(600, noise=0.1, factor=0.5, random_state=seed)


def moons(seed):
    return make_moons(600, noise=0.2, random_state=seed)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("draw", "floor"), [(xor, 0.88), (circles, 0.85), (moons, 0.86)])
def test_what_is_not_linear_is_learned_by_default(draw, floor):
    ours, lines = [], []
    for seed in (7, 8):
        X, others, y, answers = train_test_split(*draw(seed), test_size=0.4, random_state=seed)
        network = QuantizedNetworkClassifier(random_state=seed).fit(X, y)
        ours.append(network.score(others, answers))
        lines.append(LogisticRegression().fit(X, y).score(others, answers))
    assert np.mean(ours) >= max(floor, np.mean(lines)), (ours, lines)
