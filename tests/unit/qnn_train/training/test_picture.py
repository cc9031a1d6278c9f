"""Pictures of a training."""

from __future__ import annotations

import pytest

from cim_hal import open_device
from qnn_train import Recipe, load_digits, prepare
from qnn_train.training import TrainingRun
from qnn_train.training.picture import draw
from tests.support.descending import Descending

PAIR = load_digits().pair(3, 6)


@pytest.mark.parametrize("method", ["qcgd", "random"])
def test_the_picture_is_a_png_even_without_infeasibilities(method, tmp_path):
    recipe = Recipe(train_samples=6, grid=2, iterations=2, n_runs=8, method=method)
    with open_device(Descending()) as session:
        run = TrainingRun(prepare(recipe, PAIR), session)
        assert len(list(run)) == 2
    draw(run.outcome().report, tmp_path / "training.png")
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")
