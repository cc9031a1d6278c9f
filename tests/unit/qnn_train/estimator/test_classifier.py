"""The classifier: scikit-learn's own checks, what it learns, and the exactness of its files."""

from __future__ import annotations

import numpy as np
import pytest
from quick_estimators import classifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from qnn_train import IntegerClassifier, count_disagreements
from qnn_train.errors import ModelFileError


@pytest.mark.slow  # in every run those of a regressor
@parametrize_with_checks([classifier(), classifier(hidden=0, weights="ternary", sweeps=3)])
def test_checks_of_scikit_learn(estimator, check):
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
