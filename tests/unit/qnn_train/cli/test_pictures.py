"""Pictures are written whatever the numbers are: many classes, a constant, one split."""

from __future__ import annotations

import numpy as np

from qnn_train.cli.pictures import draw_classes, draw_comparison, draw_numbers
from qnn_train.evaluation import ClassScores, mean_interval


def test_extreme_numbers_make_pictures(tmp_path):
    answers = np.arange(40).repeat(2)
    scores = ClassScores.of(answers, np.arange(40), np.full((80, 40), 1 / 40), np.zeros(80, int))
    draw_classes(scores, "40 classes", tmp_path / "a.png")
    draw_numbers(np.ones(3), np.ones(3), "constant", tmp_path / "b.png")
    rows = [("one", [0.5], mean_interval([0.5])), ("two", [0.1, 0.9], mean_interval([0.1, 0.9]))]
    draw_comparison(rows, "accuracy", "one split", tmp_path / "c.svg")
    assert all((tmp_path / name).stat().st_size > 0 for name in ("a.png", "b.png", "c.svg"))
