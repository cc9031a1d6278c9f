"""Rows to train on and rows to test on."""

from __future__ import annotations

import numpy as np

from qnn_train.cli.own_data import split_rows
from qnn_train.data.columns import Target


def test_each_class_has_its_share_of_the_rows_and_none_is_used_twice():
    target = Target("y", "classification", np.repeat(["a", "b"], [80, 20]), "text")
    train, test = split_rows(target, 0.25, 3)
    assert sorted([*train, *test]) == list(range(100))
    assert np.count_nonzero(target.answers[test] == "b") == 5
    assert len(split_rows(target, 0.0, 3)[1]) == 0
