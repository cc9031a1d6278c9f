"""The numbers of a model, and models made of others in their places."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from cim_hal import IsingModel, ModelError
from cim_hal.model.coefficients import (
    are_integers,
    magnitude_sums,
    magnitudes,
    model_of,
    pairs_of,
    unit_of,
)

J = np.array([[0, 2, 0], [2, 0, -3], [0, -3, 0]], float)
H = np.array([0.5, 0, 0])


@pytest.mark.parametrize("is_sparse", [False, True])
def test_pairs_and_a_model_of_them_are_the_model(is_sparse):
    model = IsingModel.from_couplings(sp.csr_array(J) if is_sparse else J, H)
    pairs = pairs_of(model)
    assert (pairs.rows.tolist(), pairs.columns.tolist()) == ([0, 1], [1, 2])
    assert pairs.values.tolist() == [2, -3]
    again = model_of(pairs, H, is_sparse=is_sparse)
    assert again.is_sparse == is_sparse
    assert (sp.csr_array(again.J) != sp.csr_array(J)).nnz == 0
    assert sorted(magnitudes(pairs, H)) == [0.5, 2, 3]
    assert magnitude_sums(pairs, H).tolist() == [2.5, 5, 3]


def test_integers_are_told_from_others():
    assert are_integers(np.array([1.0, -3.0]), np.array([]))
    assert not are_integers(np.array([1.0, 0.5]))
    assert not are_integers(np.array([2.0**53]))


def test_the_unit_is_the_largest_that_all_are_multiples_of():
    assert unit_of(np.array([6.0, -9.0]), np.array([0.0])) == 3
    assert unit_of(np.array([0.75, 2.0])) == 0.25
    assert unit_of(np.array([0.1, 0.2])) is None
    assert unit_of(np.zeros(2)) is None
    assert unit_of(np.array([2.0**-31])) is None


def test_a_model_of_zeros_has_no_magnitudes():
    model = IsingModel.from_couplings(np.zeros((2, 2)))
    with pytest.raises(ModelError, match="all couplings and fields are zero"):
        magnitudes(pairs_of(model), model.h)
