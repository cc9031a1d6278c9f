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
from qnn_train import QuantizedNetworkRegressor
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


def test_descents_begin_with_pretrained_networks_and_go_on_from_a_checkpoint(pair, tmp_path):
    options = {"oracle": "descent", "starts": 2, "sweeps": 3, "pretraining": 60}
    options |= {"clip": (2.0, 1.0), "checkpoint": tmp_path / "there.npz"}
    whole = classifier(**options | {"checkpoint": None}).fit(*pair)
    untrained = classifier(**options | {"checkpoint": None, "pretraining": 0}).fit(*pair)
    assert whole.history_[0].objective < untrained.history_[0].objective
    assert whole.history_[3] != untrained.history_[3]
    for end in (1, 3, 4):  # within a start, at its end, within the next
        classifier(**options, callbacks=[lambda told, end=end: told.sweep == end]).fit(*pair)
        again = classifier(**options).fit(*pair)
        assert again.history_ == whole.history_
        options["checkpoint"].unlink()


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


def test_a_given_model_is_where_every_start_begins_and_is_never_made_worse(pair, tmp_path):
    pytest.importorskip("onnx")
    options = {"oracle": "descent", "starts": 1}
    first = classifier(**options, sweeps=1).fit(*pair)
    first.save_integers(tmp_path / "model.npz")
    first.save_onnx(tmp_path / "model.onnx")
    for init in (first.model_, tmp_path / "model.npz", str(tmp_path / "model.onnx")):
        still = classifier(oracle="descent", starts=2, ladder=(1e6,), init=init).fit(*pair)
        assert np.array_equal(still.decision_function(pair[0]), first.decision_function(pair[0]))
        bits = first.model_.networks.to_bits()[0]
        assert all(np.array_equal(each.network.to_bits(), bits) for each in still.found_)
    refined = classifier(**options, init=first.model_, random_state=5, verbose=True).fit(*pair)
    before = refined.history_[0]
    assert (before.sweep, before.calls) == (0, 0)
    assert before.train_score == first.score(*pair)
    assert refined.history_[-1].best_objective <= before.objective
    assert [told.sweep for told in refined.history_] == list(range(len(refined.history_)))


def test_a_refinement_goes_on_from_its_checkpoint_and_from_no_other_start(pair, tmp_path):
    options = {"oracle": "descent", "starts": 2, "checkpoint": tmp_path / "there.npz"}
    one, other = (
        classifier(oracle="descent", sweeps=1, random_state=seed).fit(*pair).model_
        for seed in (1, 2)
    )
    whole = classifier(**options | {"checkpoint": None}, init=one).fit(*pair)
    classifier(**options, init=one, callbacks=[lambda told: told.sweep == 2]).fit(*pair)
    again = classifier(**options, init=one).fit(*pair)
    assert again.history_ == whole.history_
    with pytest.raises(CheckpointError, match="another init"):
        classifier(**options, init=other).fit(*pair)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"hidden": 5}, "layers"),
        ({"weights": "2bit"}, "biases of layer 1"),
        ({"clip": 2.0}, "activation of layer 1 hard_tanh with knots"),
        ({"levels": 8}, "levels 16, not 8"),
        ({"init": "nowhere.npz"}, "nowhere.npz"),
        ({"init": 3}, "init = 3"),
    ],
)
def test_a_model_of_something_else_is_refused(pair, options, sentence):
    model = classifier(oracle="descent", sweeps=1).fit(*pair).model_
    with pytest.raises(ValueError, match=sentence):
        classifier(**{"oracle": "descent", "init": model} | options).fit(*pair)


def test_a_model_of_other_answers_or_of_several_networks_is_refused(pair):
    X, y = pair
    options = {"oracle": "descent", "sweeps": 2}
    model = classifier(**options, vote=2).fit(X, y).model_
    with pytest.raises(ValueError, match="2 networks that vote"):
        classifier(**options, init=model).fit(X, y)
    for features, answers in ((X[:, :3], y), (X, y == y[0])):
        with pytest.raises(ValueError, match=r"other features 4, not 3|other labels"):
            classifier(**options, init=model).fit(features, answers)
    reals = QuantizedNetworkRegressor(oracle="descent", sweeps=1, init=model)
    with pytest.raises(ValueError, match="kind classifier, not regressor"):
        reals.fit(X, X[:, 0])
