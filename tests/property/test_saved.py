"""What is saved is what is loaded: models and checkpoints, under any name, in any copy."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import IMAGES, model

from qnn_train import (
    IntegerClassifier,
    IntegerRegressor,
    QuantizedNetwork,
    Recipe,
    TrainedModel,
    bias_code,
    weight_code,
)
from qnn_train.estimator import FeatureGrid
from qnn_train.network import Architecture, Layer
from qnn_train.training import Checkpoint, History, ProximalRecipe

ROWS = np.random.default_rng(0).normal(size=(20, 3))
NAMES = st.text(
    st.characters(categories=("L", "N", "P", "S", "Zs"), exclude_characters="/"),
    min_size=1,
    max_size=40,
).filter(lambda name: name not in {".", ".."} and len(name.encode()) < 200)


def _networks() -> QuantizedNetwork:
    architecture = Architecture((), Layer(3, 1, weight_code("3bit"), bias_code(2)))
    weights, biases = np.array([[[7, -5, 1]], [[1, 1, -1]]]), np.array([[3], [-1]])
    return QuantizedNetwork(architecture, (weights,), (biases,))


GRID = FeatureGrid(np.zeros(3), np.ones(3), 16, 4)
MODELS = {
    "images": (model(), IMAGES),
    "classifier": (IntegerClassifier(GRID, _networks(), np.array(["a", "ä"]), 0.5), ROWS),
    "regressor": (IntegerRegressor(GRID, _networks(), np.ones((2, 1)), np.array([2.5])), ROWS),
}


def _checkpoint(recipe: Recipe | ProximalRecipe) -> Checkpoint:
    history = History([1], [0.5], [0.75], [None], [None], [None])
    machine = {"device": "m", "block_spins": np.int64(3)}
    return Checkpoint("d", (3, 6), recipe, "f", machine, np.float64(2), history, {"x": np.ones(2)})


@pytest.mark.parametrize("kind", MODELS)
@settings(max_examples=30)
@given(name=NAMES)
def test_a_model_is_loaded_under_the_name_it_was_saved_under(tmp_path_factory, kind, name):
    made, inputs = MODELS[kind]
    folder = tmp_path_factory.mktemp("saved")
    made.save(folder / name)
    assert [path.name for path in folder.iterdir()] == [name]
    for same in (
        type(made).load(str(folder / name)),
        pickle.loads(pickle.dumps(made)),
        copy.deepcopy(made),
    ):
        np.testing.assert_array_equal(same.predict(inputs), made.predict(inputs))
    assert TrainedModel is not type(made) or made.classes == type(made).load(folder / name).classes


RECIPES = st.one_of(
    st.builds(
        Recipe,
        hidden=st.sampled_from([np.int64(3), 0, (2, np.int32(2)), [4]]),
        n_runs=st.integers(1, 99).map(np.int64),
        weights=st.sampled_from(["binary", "3bit", "range(0,1,2)"]),
        pack=st.sampled_from([True, np.False_]),
    ),
    st.builds(
        ProximalRecipe,
        clip=st.floats(1.0, 9.0).map(np.float64),
        ladder=st.lists(st.floats(0.01, 9.0), min_size=1, max_size=3).map(np.array),
        weights=st.sampled_from(["ternary", ("binary", "2bit")]),
        sweeps=st.integers(1, 9),
    ),
)


@settings(max_examples=30)
@given(recipe=RECIPES, name=NAMES)
def test_a_checkpoint_keeps_its_recipe_whatever_its_numbers_are(tmp_path_factory, recipe, name):
    path = tmp_path_factory.mktemp("kept") / name
    made = _checkpoint(recipe)
    made.save(path)
    found = Checkpoint.load(path)
    assert found.recipe == recipe == replace(recipe) == pickle.loads(pickle.dumps(recipe))
    assert json.dumps(asdict(found.recipe)) == json.dumps(asdict(recipe))
    assert (found.machine, found.seconds) == ({"device": "m", "block_spins": 3}, 2.0)
    assert found.history == made.history
