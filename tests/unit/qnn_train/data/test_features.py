"""Features on an integer grid, copies of images, and classes of more than two."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qnn_train import AssemblyError, DataError, ModelFileError, Spline, TrainedModel, load_digits
from qnn_train.data import ImageSet, PooledLevels
from qnn_train.data.datasets import augmented
from qnn_train.data.features import FeatureGrid
from qnn_train.network import QuantizedNetwork
from qnn_train.network.spline import ACTIVATIONS, activation_named
from qnn_train.training import ProximalRecipe


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def test_levels_are_rounded_deviations_cut_at_the_end(digits):
    features = PooledLevels.fit(digits.train.images, grid=4, levels=8, cut=2)
    found = features.transform(digits.train.images)
    assert found.dtype == np.int16
    assert np.abs(found).max() == 16
    inside = np.abs(found).max(axis=0) < 16
    assert np.abs(found.mean(axis=0)[inside]).max(initial=0) < 1
    cells = digits.train.images[:7].reshape(7, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(7, 16)
    scaled = 8 * (cells - features.steps.means) / features.steps.deviations
    assert np.array_equal(found[:7], np.clip(np.round(scaled), -16, 16))


def test_a_cell_that_never_changes_is_zero():
    features = PooledLevels.fit(np.full((5, 4, 4), 7), grid=2)
    assert not features.transform(np.full((2, 4, 4), 7)).any()


def test_levels_that_cannot_be_are_refused(digits):
    features = PooledLevels.fit(digits.train.images, grid=4)
    with pytest.raises(DataError, match=r"\(n, 8, 8\)"):
        features.transform(np.zeros((2, 28, 28)))
    for change in ({"levels": 0}, {"levels": 20_000, "cut": 4}, {"deviations": np.zeros(16)}):
        with pytest.raises(DataError):
            replace(features.steps, **change)


def test_a_model_with_levels_comes_back_from_its_file(digits, tmp_path):
    architecture = ProximalRecipe(hidden=3, readout="trained").architecture(10)
    bits = np.random.default_rng(1).integers(0, 2, architecture.n_bits)
    network = QuantizedNetwork.from_bits(architecture, bits)
    features = PooledLevels.fit(digits.train.images, grid=4, levels=12, cut=3)
    model = TrainedModel("digits", tuple(range(10)), tuple("0123456789"), features, network)
    model.save(tmp_path / "model.npz")
    again = TrainedModel.load(tmp_path / "model.npz")
    assert isinstance(again.features, PooledLevels)
    assert (again.features.steps.levels, again.features.steps.cut) == (12, 3)
    images = digits.test.images
    assert np.array_equal(again.predict(images), model.predict(images))
    with np.load(tmp_path / "model.npz") as archive:
        arrays = dict(archive)
    for change in ({"means": np.zeros(15)}, {"deviations": -np.ones(16)}):
        np.savez(tmp_path / "bad.npz", **arrays | change)
        with pytest.raises(ModelFileError):
            TrainedModel.load(tmp_path / "bad.npz")


def test_copies_are_moved_and_mirrored_and_keep_their_labels():
    image = np.arange(16).reshape(1, 4, 4)
    found = augmented(ImageSet(image, np.array([5])), shift=1, mirror=True)
    assert len(found) == 18
    assert (found.labels == 5).all()
    assert np.array_equal(found.images[0], image[0])
    assert np.array_equal(found.images[9], image[0, :, ::-1])
    shown = {copy.tobytes() for copy in found.images}
    assert len(shown) == 18
    down_right = np.zeros((4, 4), image.dtype)
    down_right[1:, 1:] = image[0, :3, :3]
    assert down_right.tobytes() in shown
    alone = augmented(ImageSet(image, np.array([5])))
    assert np.array_equal(alone.images, image)


def test_many_classes_are_numbered_in_the_order_given(digits):
    chosen = digits.select((7, 0, 3))
    assert chosen.class_names == ("7", "0", "3")
    assert chosen.n_outputs == 3
    kept = digits.train.take(np.flatnonzero(np.isin(digits.train.labels, (7, 0, 3))))
    assert np.array_equal(np.array(chosen.classes)[chosen.train.labels], kept.labels)
    assert digits.select().n_outputs == 10
    with pytest.raises(DataError, match="fewer than two"):
        digits.select((1,))


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_every_activation_has_integers_and_its_limit(name):
    spline = activation_named(name, limit=32)
    assert spline.is_integral
    bounded = name in {"hard_tanh", "sigmoid", "tanh"}
    assert (np.abs(spline(np.arange(-999, 1000))).max() == 32) == bounded


def test_hard_tanh_is_the_identity_between_its_limits():
    z = np.arange(-9, 10)
    assert np.array_equal(Spline.hard_tanh(4)(z), np.clip(z, -4, 4))


def test_an_activation_that_does_not_exist_is_refused():
    with pytest.raises(AssemblyError, match="hard_tanh"):
        activation_named("gelu", limit=3)
    with pytest.raises(AssemblyError, match="saturates at 0"):
        activation_named("hard_tanh", limit=0)


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1.0, 1e150, 1e307])
def test_features_of_any_size_are_told_apart(size):
    X = size * np.array([[-1.0, 0.25], [0.5, 0.25], [1.0, 0.25]])
    grid = FeatureGrid.fit(X, levels=16, cut=4)
    assert np.array_equal(
        grid.transform(X), FeatureGrid.fit(X / size, levels=16, cut=4).transform(X / size)
    )
    assert np.array_equal(grid.transform(X)[:, 1], np.zeros(3))


def test_features_whose_differences_are_no_numbers_are_refused():
    with pytest.raises(DataError, match="at most 1e\\+307"):
        FeatureGrid.fit(np.array([[1.7e308], [0.0]]), levels=16, cut=4)
