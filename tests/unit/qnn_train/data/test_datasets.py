"""Datasets, draws from them, and features."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnn_train import DataError, ImageSet, PooledSign, load_digits
from qnn_train.data.features import mean_pool


def test_the_digits_are_split_evenly_and_without_overlap():
    data = load_digits()
    assert len(data.train) + len(data.test) == 1797
    difference = np.bincount(data.train.labels) - np.bincount(data.test.labels)
    assert set(difference) <= {0, 1}
    seen = {image.tobytes() for image in data.train.images}
    assert not any(image.tobytes() in seen for image in data.test.images)


@pytest.mark.parametrize(("classes", "sentence"), [((3, 11), "no class 11"), ((3, 3), "same")])
def test_classes_that_do_not_exist_or_are_the_same_are_refused(classes, sentence):
    with pytest.raises(DataError, match=sentence):
        load_digits().pair(*classes)


@given(st.integers(2, 20), st.integers(0, 2**32 - 1))
def test_a_stratified_draw_is_even_distinct_and_repeatable(n_samples, seed):
    labels = np.repeat([-1, 1], [10, 15])
    split = ImageSet(np.zeros((25, 2, 2)), labels)
    chosen = split.stratified(n_samples, seed=seed)
    assert len(set(chosen)) == n_samples
    down, up = (labels[chosen] == -1).sum(), (labels[chosen] == 1).sum()
    assert down - up in (0, 1)
    np.testing.assert_array_equal(chosen, split.stratified(n_samples, seed=seed))


@pytest.mark.parametrize("n_samples", [1, 22])
def test_too_few_or_too_many_samples_are_refused(n_samples):
    split = ImageSet(np.zeros((25, 2, 2)), np.repeat([-1, 1], [10, 15]))
    with pytest.raises(DataError, match="between 2 and 20"):
        split.stratified(n_samples, seed=0)


def test_pooling_takes_the_mean_of_each_cell():
    image = np.arange(16).reshape(1, 4, 4)
    np.testing.assert_array_equal(mean_pool(image, 2), [[2.5, 4.5, 10.5, 12.5]])
    np.testing.assert_array_equal(mean_pool(image, 4)[0], np.arange(16))


def test_features_compare_each_cell_with_its_median():
    images = np.array([[[0, 5]] * 2, [[2, 5]] * 2, [[9, 6]] * 2])
    features = PooledSign.fit(images, grid=2)
    np.testing.assert_array_equal(features.thresholds, [2, 5, 2, 5])
    expected = [[-1, -1, -1, -1], [-1, -1, -1, -1], [1, 1, 1, 1]]
    np.testing.assert_array_equal(features.transform(images), expected)


def test_a_grid_that_does_not_divide_is_refused_with_those_that_do():
    with pytest.raises(DataError, match="one of 1, 2, 4, 8"):
        PooledSign.fit(np.zeros((2, 8, 8)), grid=3)


def test_images_of_another_size_than_fitted_are_refused():
    features = PooledSign.fit(np.zeros((2, 8, 8)), grid=4)
    with pytest.raises(DataError, match="8, 8"):
        features.transform(np.zeros((2, 28, 28)))
