"""Whole runs on a machine that is exact or that only guesses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cim_hal import CapabilityError, open_device
from qnn_train import Recipe, TrainingError, load_digits, prepare, run_recipe
from qnn_train.program import ProgramSize
from qnn_train.training import METHODS, TrainingRun
from tests.support.descending import Descending

PAIR = load_digits().pair(3, 6)


def outcome(seed: int = 0, **changes):
    recipe = Recipe(train_samples=6, grid=2, hidden=3, seed=seed, **changes)
    with open_device(Descending()) as session:
        return run_recipe(prepare(recipe, PAIR), session, iterations=4, n_runs=8)


def test_numbers_of_calls_and_runs_are_those_of_the_recipe_or_given():
    given = outcome(1).report
    with open_device(Descending()) as session:
        recipe = Recipe(train_samples=6, grid=2, hidden=3, seed=1, iterations=4, n_runs=8)
        assert run_recipe(prepare(recipe, PAIR), session).report.history == given.history


def test_the_same_seed_gives_the_same_result():
    first, second, other = outcome(1).report, outcome(1).report, outcome(2).report
    assert first.history == second.history
    assert first.test_accuracy == second.test_accuracy
    assert first.history != other.history


@pytest.mark.parametrize(
    "changes",
    [
        {"score": "subset"},
        {"hidden": 0, "weights": "ternary"},
        {"readout": "trained"},
        {"weights": "2bit", "bias_bits": 0},
    ],
)
def test_every_kind_of_network_trains_better_than_a_coin(changes):
    recipe = Recipe(**{"train_samples": 6, "grid": 2, **changes})
    with open_device(Descending()) as session:
        report = run_recipe(prepare(recipe, PAIR), session, iterations=4, n_runs=8).report
    chance = 4 * np.sqrt(0.25 / report.n_test)
    assert report.test_accuracy > 0.5 + chance


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_within_its_calls_and_reports_them(method):
    recipe = Recipe(train_samples=6, grid=2, iterations=4, n_runs=8, method=method, batch=2)
    with open_device(Descending(max_spins=80)) as session:
        run = TrainingRun(prepare(recipe, PAIR), session)
        steps = list(run)
    report = run.outcome().report
    each = 1 if METHODS[method].batch is None else 3
    assert report.oracle_calls == steps[-1].iterate.calls == each * len(steps)
    assert 4 <= report.oracle_calls < 4 + each
    assert report.method == method
    assert (report.batch is None) == (each == 1)
    json.loads(report.to_json(), parse_constant=pytest.fail)


def test_parts_fit_where_the_whole_does_not_and_may_be_packed():
    recipe = Recipe(iterations=2, n_runs=4, method="qph", pack=True)
    preparation = prepare(recipe, PAIR)
    small = Descending(max_spins=300).describe()
    preparation.check_fits(small, batch=5)
    largest = ProgramSize.of(preparation.task.largest_part(5)).spins
    assert preparation.spins_of(5) == largest < preparation.spins == preparation.spins_of(None)
    with pytest.raises(CapabilityError, match="--batch 9 fits"):
        preparation.check_fits(Descending(max_spins=200).describe(), batch=10)
    with open_device(Descending(max_spins=300)) as session:
        first = next(iter(TrainingRun(preparation, session)))
    assert first.iterate.calls == 2  # of four parts, two share a task


def test_an_unknown_method_is_refused_with_those_there_are():
    with open_device(Descending()) as session, pytest.raises(TrainingError, match="qcgd, q-fw"):
        TrainingRun(prepare(Recipe(method="magic"), PAIR), session)


def test_scores_on_the_subset_use_nothing_else():
    preparation = prepare(Recipe(train_samples=6, grid=2, score="subset"), PAIR)
    cells = preparation.chosen.images.reshape(6, 2, 4, 2, 4).mean(axis=(2, 4)).reshape(6, 4)
    np.testing.assert_array_equal(preparation.features.thresholds, np.median(cells, axis=0))
    run = outcome(score="subset").report
    assert run.history.accuracy[-1] == run.subset_accuracy
