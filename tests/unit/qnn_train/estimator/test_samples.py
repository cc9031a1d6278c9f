"""Equal samples are one that counts more; the order of the caller does not matter."""

from __future__ import annotations

import numpy as np
import pytest

from qnn_train.estimator.samples import Samples, checked_weights

X = np.array([[1.0, 0.0], [2.0, 1.0], [1.0, -0.0], [3.0, 3.0]])
Y = np.array(["a", "b", "a", "b"])


def test_equal_samples_are_put_together_and_those_without_weight_left_out():
    merged = Samples.of(X, Y, np.array([1.0, 2.0, 4.0, 0.0]))
    assert dict(zip(merged.answers, merged.weights, strict=True)) == {"a": 5.0, "b": 2.0}


def test_weights_that_are_all_alike_are_none():
    assert Samples.of(X[1:], Y[1:], np.full(3, 7.0)).weights is None


def test_the_order_of_samples_does_not_matter():
    one, other = Samples.of(X, Y, None), Samples.of(X[::-1], Y[::-1], None)
    assert np.array_equal(one.features, other.features)
    assert np.array_equal(one.weights, other.weights)


def test_weights_that_count_nothing_are_refused():
    with pytest.raises(ValueError, match="zero"):
        checked_weights(np.zeros(4), X)
