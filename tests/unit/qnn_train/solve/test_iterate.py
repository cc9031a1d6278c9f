"""States of solvers as arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from trainings import stopped_after, training

from cim_hal import open_device
from qnn_train.errors import CheckpointError
from tests.support.descending import Descending


@pytest.fixture(scope="module")
def session():
    with open_device(Descending(max_spins=80)) as session:
        yield session


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
