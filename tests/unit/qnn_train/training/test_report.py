"""Reports count what was done, and histories are rows and columns."""

from __future__ import annotations

import json

import numpy as np

from cim_hal import open_device
from qnn_train import Recipe, load_digits, prepare, run_recipe
from qnn_train.training import TrainingRun
from qnn_train.training.report import History
from tests.support.descending import Descending

PAIR = load_digits().pair(3, 6)


def outcome(seed: int = 0, **changes):
    recipe = Recipe(train_samples=6, grid=2, hidden=3, seed=seed, **changes)
    with open_device(Descending()) as session:
        return run_recipe(prepare(recipe, PAIR), session, iterations=4, n_runs=8)


def test_a_report_counts_what_was_done():
    result = outcome()
    report, model = result.report, result.model
    assert report.oracle_calls == len(report.history.accuracy) == 4
    assert report.candidates <= 4 * 8
    assert report.n_test == len(PAIR.test)
    assert report.coupling_bits == 8
    assert report.device == "descending"
    right = model.predict(PAIR.test.images) == np.where(PAIR.test.labels > 0, 6, 3)
    assert report.test_accuracy == right.mean()
    assert report.history.accuracy == sorted(report.history.accuracy)
    assert report.train_accuracy == report.history.accuracy[-1]
    assert json.loads(report.to_json())["test_accuracy"] == report.test_accuracy


def test_the_history_is_made_once_and_not_at_every_step(monkeypatch):
    made = []
    original = History.of

    def counted(rows):
        made.append(len(rows))
        return original(rows)

    monkeypatch.setattr(History, "of", counted)
    recipe = Recipe(train_samples=6, grid=2, iterations=12, n_runs=2)
    with open_device(Descending()) as session:
        run = TrainingRun(prepare(recipe, PAIR), session)
        rows = run.stepper._rows
        assert len(list(run)) == 12
        assert run.stepper._rows is rows  # appended to, not copied
        assert made == []
        run.outcome()
    assert made == [12]


def test_a_table_of_rows_becomes_columns_and_rows_again():
    rows = outcome().report.history.rows()
    assert History.of(rows).rows() == rows
    assert History.of([]).rows() == []
