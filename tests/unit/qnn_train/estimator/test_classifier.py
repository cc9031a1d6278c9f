"""The estimator: scikit-learn's own checks, exactness of files, stopping, resuming, counting."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from cim_hal import DevicePool, open_device
from qnn_train import IntegerClassifier, QuantizedNetworkClassifier, count_disagreements
from qnn_train.errors import AssemblyError, CheckpointError, ModelFileError

QUICK = {"hidden": 3, "sweeps": 4, "n_runs": 4, "ladder": (0.1, 1.0), "random_state": 1}


def classifier(**changes):
    return QuantizedNetworkClassifier(**(QUICK | changes))


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def pair(iris):
    X, y = iris
    return X[y > 0], np.where(y[y > 0] == 1, "versicolor", "virginica")


@pytest.fixture(scope="module")
def three(iris):
    return classifier(hidden=4, sweeps=6, vote=2).fit(*iris)


@pytest.mark.slow  # with a hidden layer; without one see below
@parametrize_with_checks([classifier()])
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@parametrize_with_checks([classifier(hidden=0, weights="ternary", sweeps=3)])
def test_checks_of_scikit_learn_on_a_single_layer(estimator, check):
    check(estimator)


def test_iris_and_its_probabilities_are_learned(iris, three):
    X, y = iris
    assert three.score(X, y) > 0.8  # a third is chance
    probable = three.predict_proba(X)
    assert np.allclose(probable.sum(axis=1), 1)
    assert np.array_equal(probable.argmax(axis=1), three.predict(X))


def test_two_classes_of_words_have_one_margin_a_sample(pair):
    X, y = pair
    trained = classifier().fit(X, y)
    margins = trained.decision_function(X)
    assert margins.shape == (100,)
    assert np.array_equal(margins, np.rint(margins))
    assert np.array_equal(trained.predict(X) == "virginica", margins > 0)
    assert trained.score(X, y) > 0.8


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
    options = {"early_stopping": True, "validation_fraction": 0.2, "patience": 1, "sweeps": 30}
    trained = classifier(**options).fit(*pair)
    objectives = [each.objective for each in trained.history_]
    assert len(objectives) < 30
    assert int(np.argmin(objectives)) == len(objectives) - 2  # one sweep was not better
    assert all(each.validation_score is not None for each in trained.history_)


def test_the_cost_said_before_is_the_cost_paid(iris):
    estimator = classifier(block_spins=24, hidden=4)
    cost = estimator.estimate_cost(*iris)
    summary = estimator.fit(*iris).summary_
    assert cost.blocks > 2
    assert (cost.calls, cost.runs, cost.spins) == (summary.calls, summary.runs, summary.spins)
    assert cost.bits_per_parameter == summary.bits_per_parameter


def test_each_network_that_votes_counts_its_bits(iris, three):
    architecture = three.model_.networks.architecture
    assert three.n_votes_ == 2
    assert three.summary_.n_bits == 2 * architecture.n_bits
    assert three.summary_.bits_per_parameter == 2 * architecture.bits_per_parameter
    assert "2 network(s)" in str(three.summary_)
    alone = [three.model_.networks[index] for index in range(2)]
    inputs = three.model_.grid.transform(iris[0])
    added = sum(network.margin(inputs) for network in alone)
    assert np.array_equal(added, three.decision_function(iris[0]))


def test_ties_are_counted_and_compared(iris, three):
    report = three.tie_report(*iris, tolerance=10.0)
    assert report.n_behaviours <= report.n_networks == len(report.scores)
    assert 2 <= report.n_networks <= 6
    assert report.best_loss == min(each.train_loss for each in three.found_)
    assert three.tie_report(*iris, tolerance=0.0).spread == 0
    assert str(report.n_networks) in str(report)


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


@pytest.mark.parametrize("activation", ["hard_tanh", "tanh", "sign"])
def test_both_files_give_the_same_integers_and_labels(pair, tmp_path, activation):
    pytest.importorskip("onnx")
    trained = classifier(activation=activation, sweeps=2, vote=2).fit(*pair)
    elsewhere = np.random.default_rng(0).normal(4, 9, (200, 4))
    trained.save_integers(tmp_path / "there.npz")
    loaded = IntegerClassifier.load(tmp_path / "there.npz")
    assert np.array_equal(loaded.margins(elsewhere), trained.decision_function(elsewhere))
    assert np.array_equal(loaded.predict(elsewhere), trained.predict(elsewhere))
    trained.save_onnx(tmp_path / "there.onnx")
    assert count_disagreements(loaded, tmp_path / "there.onnx", elsewhere) == 0


def test_an_onnx_file_of_another_network_disagrees(iris, three, tmp_path):
    pytest.importorskip("onnx")
    path = tmp_path / "three.onnx"
    three.save_onnx(path)
    assert count_disagreements(three.model_, path, iris[0]) == 0
    other = classifier(hidden=4, random_state=2, sweeps=1).fit(*iris)
    assert count_disagreements(other.model_, path, iris[0]) > 0


@pytest.mark.parametrize("damage", ["cut", "weight", "classes", "missing"])
def test_a_damaged_file_of_integers_is_refused(three, tmp_path, damage):
    path = tmp_path / "there.npz"
    three.save_integers(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    elif damage == "weight":
        np.savez(path, **arrays | {"networks": arrays["networks"][:, 1:]})
    elif damage == "classes":
        np.savez(path, **arrays | {"classes": arrays["classes"][:2]})
    else:
        del arrays["means"]
        np.savez(path, **arrays)
    with pytest.raises(ModelFileError):
        IntegerClassifier.load(path)


def test_no_flipped_byte_of_a_file_makes_another_model_in_silence(iris, three, tmp_path):
    path = tmp_path / "there.npz"
    three.save_integers(path)
    whole, margins = path.read_bytes(), three.decision_function(iris[0])
    refused = 0
    for place in np.random.default_rng(0).choice(len(whole), 80, replace=False):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            loaded = IntegerClassifier.load(path)
        except ModelFileError:
            refused += 1
        else:
            assert np.array_equal(loaded.margins(iris[0]), margins)
    assert refused > 40


def test_ties_on_labels_that_were_never_seen_are_refused(iris, three):
    with pytest.raises(ValueError, match="labels other than"):
        three.tie_report(iris[0], iris[1] + 1)


@pytest.mark.parametrize(
    "change", [{"activation": "magic"}, {"vote": 0}, {"weights": "heavy"}, {"sweeps": 0}]
)
def test_a_parameter_out_of_range_is_refused_by_fit(pair, change):
    with pytest.raises(AssemblyError):
        classifier(**change).fit(*pair)
