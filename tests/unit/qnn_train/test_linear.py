"""Integer weights of a linear fit against trying all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from qnn_train import AssemblyError, ExhaustiveOracle, weight_code
from qnn_train.linear import fit_linear
from qnn_train.solve import RandomOracle

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(20, 3)), RNG.normal(size=20)


@pytest.mark.parametrize(("code", "values"), [("binary", (-1, 1)), ("ternary", (-1, 0, 1))])
def test_an_exact_oracle_finds_the_best_of_all_weights(code, values):
    found = fit_linear(X, Y, scale=0.5, weights=weight_code(code), oracle=ExhaustiveOracle())
    tried = {
        weights: np.sum((0.5 * X @ np.array(weights) - Y) ** 2)
        for weights in itertools.product(values, repeat=3)
    }
    assert tuple(found.weights) == min(tried, key=tried.__getitem__)
    assert found.objective == pytest.approx(min(tried.values()), rel=1e-12)


def test_the_objective_is_that_of_the_weights_and_more_calls_are_no_worse():
    few, many = (
        fit_linear(
            X, Y, scale=0.5, weights=weight_code("4bit"), oracle=RandomOracle(2, seed=0), calls=n
        )
        for n in (1, 20)
    )
    assert few.objective == pytest.approx(np.sum((0.5 * X @ few.weights - Y) ** 2), rel=1e-12)
    assert many.objective <= few.objective


def test_shapes_that_differ_are_refused():
    with pytest.raises(AssemblyError):
        fit_linear(X, Y[1:], scale=1.0, weights=weight_code("binary"), oracle=ExhaustiveOracle())
