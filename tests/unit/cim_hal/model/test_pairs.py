"""Models with other couplings at some pairs: what is new, what stays, and what travels."""

from __future__ import annotations

import copy
import gc
import itertools
import pickle

import numpy as np
import pytest
import scipy.sparse as sp

from cim_hal import IsingModel, ModelError

J = np.array([[0, 1.0, 0], [1.0, 0, 2.0], [0, 2.0, 0]])


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_a_changed_model_has_the_new_couplings_and_leaves_the_old_alone(form):
    model = IsingModel.from_couplings(form(J), [1.0, 2.0, 3.0], 7.0)
    changed = model.with_changes([2, 0], [1, 2], [0.0, -4.0])
    dense = changed.J.toarray() if changed.is_sparse else changed.J
    assert dense.tolist() == [[0, 1.0, -4.0], [1.0, 0, 0], [-4.0, 0, 0]]
    assert changed.is_sparse == model.is_sparse
    assert (changed.offset, changed.h.tolist()) == (7.0, [1.0, 2.0, 3.0])
    assert (model.J.toarray() if model.is_sparse else model.J).tolist() == J.tolist()
    if changed.is_sparse:
        assert changed.J.nnz == 4


def test_another_field_is_taken_as_it_is():
    model = IsingModel.from_couplings(J)
    assert model.with_changes([], [], [], h=[0, 1, 0]).h.tolist() == [0, 1, 0]


@pytest.mark.usefixtures("collectable")
def test_a_chain_of_changes_does_not_keep_its_beginning_alive():
    model = IsingModel.from_couplings(J)
    changed = model.with_changes([0], [1], [3.0])
    assert changed.origin.base() is model
    del model
    gc.collect()
    assert changed.origin.base() is None


@pytest.mark.parametrize(
    ("rows", "columns", "values", "sentence"),
    [
        ([0], [3], [1.0], "out of range of 3 spins"),
        ([-1], [1], [1.0], "out of range"),
        ([1], [1], [1.0], "on the diagonal"),
        ([0, 1], [1, 0], [1.0, 2.0], "given twice"),
        ([0], [1], [np.nan], "not finite"),
        ([0, 1], [1], [1.0], "one length"),
        ([0.0], [1], [1.0], "integers"),
        ([[0]], [1], [1.0], "a list"),
    ],
)
def test_changes_that_are_malformed_are_refused(rows, columns, values, sentence):
    with pytest.raises(ModelError, match=sentence):
        IsingModel.from_couplings(J).with_changes(rows, columns, values)


def pickled(value):
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("again", [pickled, copy.deepcopy, copy.copy])
def test_a_changed_model_pickles_with_its_changes(form, again):
    base = IsingModel.from_couplings(form(J), [1.0, 2.0, 3.0], 7.0)
    changed = base.with_changes([0], [1], [3.0], h=[0.5, 0, 0]).with_changes([0], [2], [-1.0])
    changed.energy([1, 1, 1])  # what is kept for the next call does not travel
    other = again(changed)
    assert (other.is_sparse, other.offset, other.origin) == (changed.is_sparse, 7.0, None)
    assert (other.h == changed.h).all()
    assert (abs(other.J - changed.J)).sum() == 0
    spins = np.array(list(itertools.product((-1, 1), repeat=3)))
    assert other.energy(spins).tolist() == changed.energy(spins).tolist()
    assert len(pickle.dumps(changed)) < 2000
    with pytest.raises(ValueError, match="read-only"):
        other.h[0] = 1
