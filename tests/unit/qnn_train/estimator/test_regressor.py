"""The estimator of real numbers: scikit-learn, least squares, files, going on, counting."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from qnn_train import (
    IntegerClassifier,
    IntegerRegressor,
    QuantizedNetworkRegressor,
    count_disagreements,
)
from qnn_train.errors import AssemblyError, CheckpointError, ModelFileError

QUICK = {
    "hidden": 2,
    "weights": "ternary",
    "sweeps": 3,
    "starts": 1,
    "pretraining": 0,
    "n_runs": 4,
    "ladder": (0.1, 1.0),
    "random_state": 2,
}


def regressor(**changes):
    return QuantizedNetworkRegressor(**(QUICK | changes))


@pytest.fixture(scope="module")
def diabetes():
    return load_diabetes(return_X_y=True)


@pytest.fixture(scope="module")
def two(diabetes):
    """Two answers, of different size."""
    X, y = diabetes
    return X, np.column_stack([y, 1000 - 3 * y + 4e3 * X[:, 0]])


@pytest.fixture(scope="module")
def trained(diabetes):
    return regressor(vote=2).fit(*diabetes)


@pytest.mark.slow  # with a hidden layer; without one see below
@parametrize_with_checks([regressor()])
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@parametrize_with_checks([regressor(hidden=0, sweeps=2)])
def test_checks_of_scikit_learn_on_a_single_layer(estimator, check):
    check(estimator)


def test_diabetes_is_learned(diabetes, trained):
    X, y = diabetes
    assert trained.score(X, y) > 0.4  # linear regression: 0.52
    assert trained.score(X, y) == r2_score(y, trained.predict(X))


def test_an_answer_is_an_integer_on_the_line_of_least_squares(diabetes):
    X, y = diabetes
    alone = regressor().fit(X, y)
    (margins,) = alone.model_.each_margin(X)[..., 0]
    assert np.array_equal(margins, np.rint(margins))
    line = np.polyfit(margins, y, 1)
    assert alone.predict(X) == pytest.approx(np.polyval(line, margins))
    best = min(alone.history_, key=lambda told: told.objective)
    assert best.train_score == pytest.approx(alone.score(X, y))
    assert best.train_score == pytest.approx(1 - 2 * best.objective)


def test_units_of_the_answers_do_not_matter(diabetes, trained):
    X, y = diabetes
    other = regressor(vote=2).fit(X, 0.25 * y)  # exact in binary
    assert np.array_equal(other.predict(X), 0.25 * trained.predict(X))


@pytest.mark.parametrize("first", [0, -3, 2**60, 2**70])
def test_answers_that_agree_in_float64_are_refused(diabetes, first):
    X, y = diabetes
    same = [first + (each if first > 2**59 else 0) for each in range(len(X))]
    for answers in (same, np.column_stack([y, np.array(same, float)])):
        with pytest.raises(ValueError, match="all the same in float64"):
            regressor().fit(X, answers)


def test_several_answers_have_a_line_each(two):
    X, Y = two
    several = regressor(hidden=4).fit(X, Y)
    assert several.predict(X).shape == Y.shape
    scores = r2_score(Y, several.predict(X), multioutput="raw_values")
    assert (scores > 0.3).all()
    assert several.score(X, Y) == pytest.approx(scores.mean())
    assert several.model_.scales.shape == (1, 2)
    column = regressor().fit(X, Y[:, [0]])
    assert column.predict(X).shape == (len(X), 1)
    assert np.array_equal(column.predict(X)[:, 0], regressor().fit(X, Y[:, 0]).predict(X))


def test_hidden_layers_may_be_several(diabetes, tmp_path):
    pytest.importorskip("onnx")
    X, y = diabetes
    codes = ("ternary", "binary", "2bit")
    deep = regressor(hidden=[4, 3], weights=codes, activation="sigmoid").fit(X, y)
    assert str(deep.model_.networks.architecture) == "10-4-3-1"
    assert [layer.weights for layer in deep.summary_.layers] == list(codes)
    with pytest.raises(AssemblyError, match="2 codes of weights for 3 layers"):
        regressor(hidden=[4, 3], weights=codes[:2]).fit(X, y)
    assert deep.score(X, y) > 0.3
    deep.save_onnx(tmp_path / "deep.onnx")
    assert count_disagreements(deep.model_, tmp_path / "deep.onnx", 3 * X) == 0
    deep.save_picture(tmp_path / "deep.png")
    assert (tmp_path / "deep.png").read_bytes().startswith(b"\x89PNG")


def test_it_lives_in_pipelines_and_searches(diabetes):
    search = GridSearchCV(
        make_pipeline(StandardScaler(), regressor()),
        {"quantizednetworkregressor__hidden": [0, 2]},
        cv=2,
    )
    search.fit(*diabetes)
    assert search.best_score_ > 0.3
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    assert np.array_equal(again.predict(diabetes[0]), search.predict(diabetes[0]))


def test_networks_that_vote_answer_with_their_mean_and_count_their_numbers(diabetes, trained):
    X, _ = diabetes
    architecture = trained.model_.networks.architecture
    assert trained.n_votes_ == 2
    assert trained.summary_.n_bits == 2 * architecture.n_bits
    assert trained.summary_.n_reals == 2 * 2
    assert "and 4 real numbers" in str(trained.summary_)
    assert not architecture.layers[-1].biases.bits  # the offset does what they would
    inputs = trained.model_.grid.transform(X)
    chosen = sorted(trained.found_, key=lambda each: each.objective)[:2]
    mean = np.mean([each.outputs(inputs)[:, 0] for each in chosen], axis=0)
    y = diabetes[1]
    assert trained.predict(X) == pytest.approx(y.mean() + y.std() * mean)


def test_the_cost_said_before_is_the_cost_paid(two):
    estimator = regressor(block_spins=30, hidden=4)
    cost = estimator.estimate_cost(*two)
    summary = estimator.fit(*two).summary_
    assert cost.blocks > 2
    assert (cost.calls, cost.runs, cost.spins) == (summary.calls, summary.runs, summary.spins)
    assert cost.bits_per_parameter == summary.bits_per_parameter


def test_early_stopping_judges_on_samples_kept_apart(diabetes):
    told = []
    options = {"early_stopping": True, "validation_fraction": 0.2, "patience": 2, "tolerance": 0.0}
    stopped = regressor(**options, sweeps=40, callbacks=[told.append]).fit(*diabetes)
    assert told == stopped.history_
    objectives = [each.objective for each in told]
    annealed = 12
    assert len(objectives) == max(int(np.argmin(objectives)) + 1, annealed) + 2 < 40
    assert all(each.validation_score < 1 for each in told)


def test_a_stopped_training_goes_on_bit_for_bit(diabetes, tmp_path):
    X, y = diabetes
    whole = regressor(block_spins=25).fit(X, y)
    options = {"block_spins": 25, "checkpoint": tmp_path / "there.npz"}
    regressor(**options, callbacks=[lambda told: told.sweep == 2]).fit(X, y)
    again = clone(regressor(**options)).fit(X, y)
    assert again.history_ == whole.history_
    assert np.array_equal(again.predict(X), whole.predict(X))
    with pytest.raises(CheckpointError, match="other samples"):
        regressor(**options).fit(X, y**2)


def test_ties_are_scored_on_other_samples(diabetes, trained, two):
    X, y = diabetes
    report = trained.tie_report(X, y, tolerance=10.0)
    assert 2 <= report.n_networks == len(report.scores) <= 3
    assert max(report.scores) == pytest.approx(max(t.train_score for t in trained.history_))
    with pytest.raises(ValueError, match="not 1 outputs"):
        trained.tie_report(*two)


@pytest.mark.parametrize("outputs", [1, 2])
def test_both_files_give_the_same_numbers(two, tmp_path, outputs):
    pytest.importorskip("onnx")
    X, Y = two
    answers = Y if outputs == 2 else Y[:, 0]
    estimator = regressor(vote=3, activation="tanh").fit(X, answers)
    elsewhere = np.random.default_rng(0).normal(0, 0.1, (200, 10))
    estimator.save_integers(tmp_path / "there.npz")
    loaded = IntegerRegressor.load(tmp_path / "there.npz")
    assert np.array_equal(loaded.predict(elsewhere), estimator.predict(elsewhere))
    estimator.save_onnx(tmp_path / "there.onnx")
    assert count_disagreements(loaded, tmp_path / "there.onnx", elsewhere) == 0
    other = regressor(vote=3, activation="tanh", random_state=3).fit(X, answers).model_
    assert count_disagreements(other, tmp_path / "there.onnx", elsewhere) > 0


def test_a_file_of_another_kind_is_refused(trained, tmp_path):
    path = tmp_path / "there.npz"
    trained.save_integers(path)
    with pytest.raises(ModelFileError, match="kind"):
        IntegerClassifier.load(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **arrays | {"scales": np.full((2, 1), np.nan)})
    with pytest.raises(ModelFileError, match="not finite"):
        IntegerRegressor.load(path)


def test_what_does_not_fit_the_machine_is_refused_before_a_call():
    X = np.random.default_rng(0).normal(size=(30, 3))
    with pytest.raises(AssemblyError, match="a neuron of layer 0 has 126 bits with one"):
        regressor(device="emulator-100").fit(X, np.tile(X[:, :1], 60))


def test_a_neuron_with_more_weights_than_the_machine_has_spins_is_trained_in_parts():
    X = np.random.default_rng(0).normal(size=(200, 130))
    fitted = regressor(block_spins=100).fit(X, X[:, :70].sum(axis=1))
    assert fitted.summary_.spins <= 100 < 2 * X.shape[1]
    assert fitted.score(X, X[:, :70].sum(axis=1)) > 0.5


def test_answers_beyond_float64_are_refused(diabetes):
    X, y = diabetes
    with pytest.raises(ValueError, match="too large"):
        regressor().fit(X, 1e305 * y)
    with pytest.raises(AssemblyError):
        regressor(vote=0).fit(X, y)
