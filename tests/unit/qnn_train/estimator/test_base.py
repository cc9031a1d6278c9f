"""What both estimators share: clones, sessions, pools, callbacks, checkpoints."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from quick_estimators import classifier
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cim_hal import DevicePool, open_device
from qnn_train.errors import AssemblyError, CheckpointError


def test_it_lives_in_pipelines_and_searches(pair):
    search = GridSearchCV(
        make_pipeline(StandardScaler(), classifier(sweeps=2)),
        {"quantizednetworkclassifier__hidden": [0, 2]},
        cv=2,
    )
    search.fit(*pair)
    assert search.best_score_ > 0.7
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    assert np.array_equal(again.predict(pair[0]), search.predict(pair[0]))


def test_a_clone_repeats_the_fit_bit_for_bit(pair):
    first = classifier().fit(*pair)
    second = clone(first).fit(*pair)
    for one, other in zip(first.found_, second.found_, strict=True):
        assert np.array_equal(one.network.to_bits(), other.network.to_bits())


def test_an_open_session_is_used_and_left_open(pair):
    with open_device("emulator-dsb") as session:
        by_session = classifier().set_params(device=session).fit(*pair)
        by_name = classifier().fit(*pair)
        assert session.capabilities.name
    assert np.array_equal(by_session.decision_function(pair[0]), by_name.decision_function(pair[0]))


@pytest.mark.slow  # starts two processes
def test_a_pool_of_machines_gives_the_same_network_to_a_clone_too(pair):
    alone = classifier().fit(*pair)
    with DevicePool.local("emulator-dsb", machines=2) as pool:
        together = classifier().set_params(device=pool).fit(*pair)
        copy = clone(together)
        assert copy.device is pool
        again = copy.fit(*pair)
    for trained in (together, again):
        assert np.array_equal(trained.decision_function(pair[0]), alone.decision_function(pair[0]))


def test_callbacks_see_each_sweep_and_can_stop(pair):
    told = []

    def stop_at_two(progress):
        told.append(progress)
        return progress.sweep == 2

    trained = classifier(callbacks=[stop_at_two]).fit(*pair)
    assert [each.sweep for each in told] == [1, 2]
    assert told == trained.history_
    assert told[-1].calls == trained.calls_
    assert told[-1].validation_score is None
    assert trained.score(*pair) in {each.train_score for each in told}


def test_early_stopping_judges_on_samples_kept_apart(pair):
    options = {"early_stopping": True, "validation_fraction": 0.2, "patience": 2, "tolerance": 0.0}
    trained = classifier(**options, sweeps=40).fit(*pair)
    objectives = [each.objective for each in trained.history_]
    annealed = 12
    assert len(objectives) == max(int(np.argmin(objectives)) + 1, annealed) + 2 < 40
    assert all(each.validation_score is not None for each in trained.history_)


def test_a_stopped_training_goes_on_bit_for_bit(pair, tmp_path):
    whole = classifier(block_spins=20).fit(*pair)
    path = tmp_path / "there.npz"
    options = {"block_spins": 20, "checkpoint": path}
    classifier(**options, callbacks=[lambda told: told.sweep == 2]).fit(*pair)
    again = classifier(**options).fit(*pair)
    assert again.history_ == whole.history_
    for one, other in zip(again.found_, whole.found_, strict=True):
        assert np.array_equal(one.network.to_bits(), other.network.to_bits())
    with pytest.raises(CheckpointError, match="other samples"):
        classifier(**options).fit(pair[0] + 1e6 * np.eye(100, 4), pair[1])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CheckpointError, match="cannot read"):
        classifier(**options).fit(*pair)


def test_each_start_ends_by_patience_and_the_best_of_all_counts(pair):
    one, three = (classifier(sweeps=60, starts=n, patience=1).fit(*pair) for n in (1, 3))
    first = len(one.history_)
    assert three.history_[:first] != three.history_[first:][:first]
    assert first < len(three.history_) < 180
    assert three.history_[-1].best_objective <= one.history_[-1].best_objective
    assert [told.objective for told in three.history_][:first] == [
        told.objective for told in one.history_
    ]


def test_neither_order_nor_repetition_of_samples_matters_beside_their_weights(pair):
    X, y = pair
    rng = np.random.default_rng(3)
    weights = rng.integers(0, 3, len(X))
    rows = rng.permutation(np.repeat(np.arange(len(X)), weights))
    weighted = classifier().fit(X, y, sample_weight=weights)
    repeated = classifier().fit(X[rows], y[rows])
    assert np.array_equal(weighted.decision_function(X), repeated.decision_function(X))


def test_a_class_that_counts_more_is_answered_more_often(pair):
    X, y = pair
    plain = classifier().fit(X, y)
    tilted = classifier(class_weight={"versicolor": 50.0, "virginica": 1.0}).fit(X, y)
    assert np.sum(tilted.predict(X) == "versicolor") > np.sum(plain.predict(X) == "versicolor")
    of_one = np.where(y == "versicolor", 50.0, 1.0)
    same = classifier().fit(X, y, sample_weight=of_one)
    assert np.array_equal(tilted.decision_function(X), same.decision_function(X))


def test_verbose_tells_of_each_sweep(pair, capsys):
    classifier(verbose=True).fit(*pair)
    assert capsys.readouterr().out.count("Progress(sweep=") == 4


@pytest.mark.parametrize(
    "change", [{"activation": "magic"}, {"vote": 0}, {"weights": "heavy"}, {"sweeps": 0}]
)
def test_a_parameter_out_of_range_is_refused_by_fit(pair, change):
    with pytest.raises(AssemblyError):
        classifier(**change).fit(*pair)
