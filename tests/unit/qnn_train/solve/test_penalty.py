"""The penalty form and its weight."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import optimum, random_program

from qnn_train import (
    ExhaustiveOracle,
    Qcbo,
    TrainingError,
)
from qnn_train.solve import (
    default_weight,
    penalty_method,
)
from qnn_train.solve.penalty import penalty_gradient

seeds = st.integers(0, 2**32 - 1)


@given(seeds)
@settings(max_examples=25)
def test_the_default_weight_makes_the_penalty_form_exact(seed):
    qcbo = random_program(np.random.default_rng(seed))
    answer = next(penalty_method(qcbo, ExhaustiveOracle()))
    assert answer.infeasibility == pytest.approx(0.0, abs=1e-12)
    assert answer.objective == pytest.approx(optimum(qcbo))


def test_weights_take_turns_and_a_penalty_run_goes_on_where_it_was():
    qcbo = random_program(np.random.default_rng(6))
    steps = list(islice(penalty_method(qcbo, ExhaustiveOracle(), weights=[1.0, 2.0, 4.0]), 5))
    assert [step.state.weight for step in steps] == [1.0, 2.0, 4.0, 1.0, 2.0]
    state = steps[1].state
    again = penalty_method(qcbo, ExhaustiveOracle(), weights=[1.0, 2.0, 4.0], state=state)
    assert next(again).state == steps[2].state
    with pytest.raises(TrainingError, match="positive"):
        next(penalty_method(qcbo, ExhaustiveOracle(), weights=[-1.0]))


@given(seeds)
def test_the_penalty_form_is_the_objective_plus_weighted_violations(seed):
    rng = np.random.default_rng(seed)
    qcbo = random_program(rng)
    x = rng.integers(0, 2, qcbo.n_bits)
    w = np.concatenate([[1], x])
    violated = (qcbo.equalities.residual(x) ** 2).sum() + qcbo.products.penalty(x).sum()
    value = float(qcbo.objective(x)) + 2.5 * violated
    assert w @ penalty_gradient(qcbo, 2.5) @ w == pytest.approx(value, abs=1e-9)


def test_the_default_weight_is_one_more_than_the_range_by_coefficients():
    assert default_weight(Qcbo.from_arrays([[1.0, -2.0], [-2.0, 0.0]], [0.5, -3.0])) == 9.5
