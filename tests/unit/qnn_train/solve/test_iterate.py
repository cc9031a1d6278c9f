"""States of solvers as arrays."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from cim_hal import open_device
from qnn_train import Recipe, load_digits, prepare
from qnn_train.errors import CheckpointError
from qnn_train.training import Checkpoint, TrainingRun
from tests.support.descending import Descending

CALLS = 9


RECIPE = Recipe(train_samples=6, grid=2, iterations=CALLS, n_runs=4, batch=2)


@pytest.fixture(scope="module")
def pair():
    return load_digits().pair(3, 6)


@pytest.fixture(scope="module")
def session():
    with open_device(Descending(max_spins=80)) as session:
        yield session


def training(pair, session, recipe=RECIPE, *, resume=None, **options):
    return TrainingRun(prepare(replace(recipe, **options), pair), session, resume=resume)


def stopped_after(run, steps, path):
    for _ in islice(run, steps):
        pass
    run.checkpoint().save(path)
    return Checkpoint.load(path)


@pytest.mark.parametrize(
    "damage", [{"dual": np.zeros(1)}, {"image": None}, {"step": -1}, {"value": np.float32(0)}]
)
def test_a_state_of_another_problem_is_refused(damage, pair, session, tmp_path):
    there = stopped_after(training(pair, session), 1, tmp_path / "there.npz")
    changed = {f"solver.{name}": array for name, array in damage.items()}
    arrays = {**there.arrays, **changed}
    kept = {name: np.asarray(array) for name, array in arrays.items() if array is not None}
    other = replace(there, arrays=kept)
    with pytest.raises(CheckpointError, match="state"):
        list(training(pair, session, resume=other))
