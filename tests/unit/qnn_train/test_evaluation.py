"""Scores and their intervals, against published numbers and exact cases."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import r2_score

from cim_hal.study import Interval, wilson
from qnn_train.errors import AssemblyError
from qnn_train.evaluation import ClassScores, RealScores, generalization_gap, mean_interval


def test_the_gap_is_newcombes_example():
    # 56/70 and 48/80: 0.2, 0.0524 to 0.3339 by method 10 of Newcombe (1998), table II (a)
    gap = generalization_gap(56 / 70, 70, wilson(48 / 80, 80), 80)
    assert (gap.value, gap.low, gap.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_confusion_and_calibration_of_a_table_that_is_counted_by_hand():
    answers = np.array(["a", "a", "b", "b"])
    shares = np.array([[0.95, 0.05], [0.35, 0.65], [0.35, 0.65], [0.05, 0.95]])
    predicted = np.array(["a", "b", "b", "b"])
    found = ClassScores.of(answers, np.array(["a", "b"]), shares, predicted)
    assert found.confusion == ((1, 1), (0, 2))
    assert found.accuracy.value == found.balanced_accuracy.value == 0.75
    assert [each.count for each in found.calibration] == [2, 2]
    assert found.calibration_error == pytest.approx(0.5 * 0.15 + 0.5 * 0.05)


def test_a_label_that_is_no_class_is_refused():
    classes, shares = np.array(["a", "c"]), np.full((2, 2), 0.5)
    right = np.array(["a", "c"])
    for others in (["a", "b"], ["d", "c"]):
        for answers, predicted in ((others, right), (right, others)):
            with pytest.raises(AssemblyError, match="is no class of the model"):
                ClassScores.of(np.array(answers), classes, shares, np.array(predicted))


def test_nothing_is_known_of_r2_where_answers_agree():
    for predicted, value in ((np.ones(9), 1.0), (np.arange(9.0), 0.0)):
        r2 = RealScores.of(np.ones(9), predicted).r2
        assert r2 == Interval(value, -np.inf, np.inf)
        assert r2.value == r2_score(np.ones(9), predicted)


def test_balanced_accuracy_counts_classes_alike():
    answers = np.array([0] * 90 + [1] * 10)
    shares = np.tile([0.9, 0.1], (100, 1))
    found = ClassScores.of(answers, np.array([0, 1]), shares, np.zeros(100, dtype=int))
    assert found.accuracy.value == 0.9
    ten = wilson(0.0, 10)  # the rarer class has nearly all of the width
    assert found.balanced_accuracy.value == 0.5
    assert found.balanced_accuracy.high == pytest.approx(0.5 + ten.high / 2)
    assert 0.47 < found.balanced_accuracy.low < 0.49


def test_the_error_of_a_number_is_known_to_a_factor():
    found = RealScores.of(np.zeros(50), np.random.default_rng(1).normal(size=50)).rmse
    assert found.high / found.value == pytest.approx(found.value / found.low)
    assert found.low < 1 < found.high
    assert RealScores.of(np.zeros(1), np.ones(1)).rmse.high == np.inf


def test_scores_of_numbers():
    answers = np.arange(50.0)
    assert RealScores.of(answers, answers).r2 == Interval(1.0, 1.0, 1.0)
    found = RealScores.of(answers, answers + np.where(answers % 2, 1.0, -1.0))
    assert found.rmse == Interval(1.0, 1.0, 1.0)
    assert found.mean_absolute_error == 1.0
    assert found.r2.low <= found.r2.value <= found.r2.high < 1


def test_the_interval_over_splits_is_students():
    found = mean_interval([1.0, 2.0, 3.0])
    assert (found.value, found.high) == pytest.approx((2.0, 2 + 4.302652729911275 / 3**0.5))
    assert mean_interval([1.0]).high == np.inf
