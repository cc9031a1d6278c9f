"""The methods by name."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from qnn_train import (
    ExhaustiveOracle,
    Scorer,
    SquaredLoss,
    Task,
    TrainingError,
    threshold_unit,
    train,
    weight_code,
)
from qnn_train.training.methods import METHODS


def logical_and() -> Task:
    unit = threshold_unit(2, weights=weight_code("binary"), bias_bits=1)
    return Task(unit, [[-1, -1], [-1, 1], [1, -1], [1, 1]], [-1, -1, -1, 1], SquaredLoss(1))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_logical_and_and_counts_its_calls(name):
    task = logical_and()
    oracle = ExhaustiveOracle(n_samples=4)
    steps = list(
        islice(train(task, oracle, Scorer(task.inputs, task.labels), method=METHODS[name]), 6)
    )
    assert steps[-1].best.accuracy == 1.0
    assert [step.iterate.step for step in steps] == [1, 2, 3, 4, 5, 6]
    assert (np.diff([step.iterate.calls for step in steps]) >= 1).all()
    assert METHODS[name].about


def test_parts_need_a_task():
    task = logical_and()
    with pytest.raises(TrainingError, match="no parts"):
        METHODS["qph"].start(task.assembly, ExhaustiveOracle())
