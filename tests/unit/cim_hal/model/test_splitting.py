"""Auxiliary spins: the ground states of a split model are those of the model."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from cim_hal import IsingModel, ModelError, SplitModel
from cim_hal.model.enumeration import all_energies

MOST = 14  # spins of a split model that is enumerated


def drawn(seed: int, *, largest: int, n: int | None = None) -> IsingModel:
    """Return integers of both signs, and zeros, with fields in two of three models."""
    rng = np.random.default_rng(seed)
    n = n or int(rng.integers(1, 6))
    upper = np.triu(rng.integers(-largest, largest + 1, (n, n)), 1)
    upper = upper * (rng.random((n, n)) < 0.7)
    h = rng.integers(-largest, largest + 1, n) * (rng.random(n) < 0.6) * (seed % 3 > 0)
    J = (upper + upper.T).astype(float)
    return IsingModel.from_couplings(sp.csr_array(J) if seed % 5 == 0 else J, h.astype(float))


def ground_states(model: IsingModel, n: int) -> set[int]:
    """Return the ground states, of `n` spins only; sums of integers are exact."""
    energies = all_energies(model)
    return set((np.flatnonzero(energies == energies.min()) & (2**n - 1)).tolist())


@pytest.mark.parametrize("bits", [2, 3, 4, 6])
@pytest.mark.parametrize("field_bits", [None, 2, 5])
def test_ground_states_are_those_of_the_model_and_all_of_them(bits, field_bits):
    top = 2 ** (bits - 1) - 1
    field_top = top if field_bits is None else 2 ** (field_bits - 1) - 1
    n_enumerated = n_split = 0
    for seed in range(100):
        model = drawn(seed, largest=3 * top)
        split = SplitModel.of(model, top, field_top)
        J = split.model.J if isinstance(split.model.J, np.ndarray) else split.model.J.toarray()
        assert np.abs(J).max(initial=0) <= top
        assert np.abs(split.model.h).max() <= field_top
        if split.model.n_spins > MOST:
            continue
        n_enumerated += 1
        n_split += split.model.n_spins > model.n_spins
        assert ground_states(split.model, model.n_spins) == ground_states(model, model.n_spins)
    assert n_enumerated > 35
    assert n_split > 20


def test_energies_differ_by_a_constant_where_copies_are_whole():
    model = drawn(7, largest=40, n=6)
    split = SplitModel.of(model, 7)
    spins = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (50, 6))
    whole = np.concatenate([spins, spins[:, split.copied]], axis=1)
    difference = split.model.energy(whole) - model.energy(spins)
    np.testing.assert_allclose(difference, difference[0])
    assert split.broken(whole) == 0
    assert split.broken(np.where(np.arange(whole.shape[1]) == 6, -whole, whole)) == pytest.approx(
        1 / len(split.copied)
    )
    assert (split.lift(whole) == spins).all()


def test_a_coefficient_takes_as_many_copies_as_it_has_times_the_levels():
    for value, top, copies in ((127, 127, 0), (128, 127, 1), (254, 127, 1), (255, 127, 2)):
        pair = IsingModel.from_couplings([[0, value], [value, 0]])
        assert len(SplitModel.of(pair, top).copied) == copies


def test_couplings_of_one_spin_share_its_copies():
    J = np.zeros((9, 9))
    J[0, 1:] = J[1:, 0] = 9  # eight times two too many
    split = SplitModel.of(IsingModel.from_couplings(J), 7)
    assert split.copied.tolist() == [0, 0, 0]


def test_what_cannot_be_split_is_refused():
    pair = IsingModel.from_couplings([[0, 0.5], [0.5, 0]])
    with pytest.raises(ModelError, match="no integer"):
        SplitModel.of(pair, 7)
    with pytest.raises(ModelError, match="more than 100000 auxiliary spins"):
        SplitModel.of(IsingModel.from_couplings([[0, 1e9], [1e9, 0]]), 7)
    with pytest.raises(ModelError, match="values of type float64 and shape"):
        SplitModel.of(pair.from_couplings([[0, 9], [9, 0]]), 7).lift(np.ones((2, 9)))
