"""Energies, conversions and refusals of `IsingModel`."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from cim_hal import IsingModel, ModelError


def all_spins(n: int) -> np.ndarray:
    return np.array(list(itertools.product((-1, 1), repeat=n)), dtype=np.int8)


def random_model(n: int, seed: int, *, sparse: bool = False) -> IsingModel:
    rng = np.random.default_rng(seed)
    J = np.triu(rng.normal(size=(n, n)) * (rng.random((n, n)) < 0.6), 1)
    J = J + J.T
    return IsingModel.from_couplings(sp.csr_array(J) if sparse else J, rng.normal(size=n), 0.25)


@pytest.mark.parametrize("sparse", [False, True])
def test_energy_is_the_double_sum_of_the_definition(sparse):
    model = random_model(6, 1, sparse=sparse)
    J = model.J.toarray() if sparse else model.J
    for sigma in all_spins(6):
        pairs = sum(J[i, j] * sigma[i] * sigma[j] for i in range(6) for j in range(6))
        expected = -0.5 * pairs - sum(model.h * sigma) + 0.25
        assert model.energy(sigma) == pytest.approx(expected, abs=1e-12)


def test_energy_keeps_leading_axes():
    model = random_model(4, 2)
    spins = all_spins(4).reshape(2, 8, 4)
    assert model.energy(spins).shape == (2, 8)
    assert model.energy(spins[1, 3]) == pytest.approx(model.energy(spins)[1, 3])


def test_the_energy_and_the_cut_of_one_vector_are_numbers():
    triangle = IsingModel.from_maxcut([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    assert {triangle.energy([1, 1, -1]), triangle.energy([1, -1, 1])} == {-1.0}
    assert {triangle.cut([1, 1, -1]), triangle.cut([1, -1, 1])} == {2.0}


@pytest.mark.parametrize("sparse", [False, True])
def test_local_field_is_half_the_energy_of_a_flip(sparse):
    model = random_model(5, 3, sparse=sparse)
    for sigma in all_spins(5):
        for i in range(5):
            flipped = sigma.copy()
            flipped[i] *= -1
            cost = model.energy(flipped) - model.energy(sigma)
            assert 2 * sigma[i] * model.local_field(sigma)[i] == pytest.approx(cost, abs=1e-12)


@pytest.mark.parametrize("sparse", [False, True])
def test_qubo_and_ising_have_the_same_energies_both_ways(sparse):
    rng = np.random.default_rng(4)
    Q = rng.normal(size=(6, 6))
    model = IsingModel.from_qubo(sp.csr_array(Q) if sparse else Q, 1.5)
    back, constant = model.to_qubo()
    bits = (all_spins(6) + 1) // 2
    values = np.einsum("ri,ij,rj->r", bits, Q, bits) + 1.5
    again = np.einsum("ri,ri->r", bits, (back @ bits.T).T) + constant
    assert model.is_sparse is sparse
    assert model.energy(2 * bits - 1) == pytest.approx(values, abs=1e-12)
    assert again == pytest.approx(values, abs=1e-12)


def test_qubo_of_the_kaiwu_page_has_the_constant_the_expansion_gives():
    # Q = [[0, 2], [1, 1]] has the bias 5/4.
    assert IsingModel.from_qubo([[0, 2], [1, 1]]).offset == 1.25


def test_energy_of_a_maxcut_model_and_its_cut_agree():
    rng = np.random.default_rng(5)
    W = np.triu(rng.integers(-2, 3, size=(7, 7)), 1)
    W = W + W.T
    model = IsingModel.from_maxcut(W)
    for sigma in all_spins(7):
        cut = sum(W[i, j] for i in range(7) for j in range(i) if sigma[i] != sigma[j])
        assert model.cut(sigma) == cut
        assert (W.sum() / 2 - model.energy(sigma)) / 2 == cut


def test_dense_and_sparse_models_agree():
    dense = random_model(8, 6)
    sparse = IsingModel.from_couplings(sp.csr_array(dense.J), dense.h, dense.offset)
    assert sparse.energy(all_spins(8)) == pytest.approx(dense.energy(all_spins(8)), abs=1e-12)


def test_values_are_frozen_and_not_shared_with_the_caller():
    J = np.zeros((2, 2))
    model = IsingModel.from_couplings(J)
    J[0, 1] = J[1, 0] = 1
    assert not model.J.any()
    with pytest.raises(ValueError, match="read-only"):
        model.J[0, 1] = 1


NAN = float("nan")


@pytest.mark.parametrize(
    ("J", "h", "says"),
    [
        ([[0, 1]], None, r"J has shape \(1, 2\)"),
        ([0, 1], None, r"J has shape \(2,\)"),
        (np.zeros((0, 0)), None, r"J has shape \(0, 0\)"),
        ([[0, 1], [2, 0]], None, r"not symmetric: J\[0,1\] = 1.0, J\[1,0\] = 2.0"),
        ([[0, NAN], [NAN, 0]], None, r"\[0,1\] = nan"),
        ([[0, 1], [1, 3]], None, r"J\[1,1\] = 3.0"),
        ([[0, 1], [1, 0]], [1], r"h must have shape \(2,\)"),
        ([[0, 1], [1, 0]], [0, NAN], r"h\[1\] = nan"),
        ("couplings", None, "not an array of real numbers"),
        ([[0, 1j], [1j, 0]], None, "not an array of real numbers"),
    ],
)
def test_a_malformed_model_is_refused_with_the_place(J, h, says):
    with pytest.raises(ModelError, match=says):
        IsingModel.from_couplings(J, h)


@pytest.mark.parametrize("Q", [[[1, 2, 3]], [[NAN]]])
def test_a_malformed_qubo_is_refused(Q):
    with pytest.raises(ModelError, match="Q has"):
        IsingModel.from_qubo(Q)


def test_a_dict_of_pairs_is_refused_with_the_way_to_a_matrix():
    with pytest.raises(ModelError, match="it is a dict") as raised:
        IsingModel.from_qubo({(0, 0): 1, (0, 1): -2})  # pyright: ignore[reportArgumentType]
    assert "Q[i, j] = value" in raised.value.hint


@pytest.mark.parametrize("spins", [[1, 1, 1], [0, 1], [1, 2]])
def test_energy_refuses_what_is_not_spins(spins):
    with pytest.raises(ModelError, match="spins") as raised:
        IsingModel.from_couplings([[0, 1], [1, 0]]).energy(spins)
    assert ("2 x - 1" in raised.value.hint) is (len(spins) == 2)


V = 1.7e308


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("door", ["from_couplings", "from_maxcut", "from_qubo"])
@pytest.mark.parametrize("value", [V, -V, 5e303, 1e-310, 5e-324])
def test_numbers_beyond_those_of_energies_are_refused(form, door, value):
    matrix = np.array([[0, value, value], [value, 0, value], [value, value, 0]])
    with pytest.raises(ModelError, match=r"magnitude"):
        getattr(IsingModel, door)(form(matrix))


@pytest.mark.parametrize(("h", "offset"), [([V, V], 0), ([0, 1e-320], 0), (None, V)])
def test_fields_and_offsets_are_held_to_the_same_range(h, offset):
    with pytest.raises(ModelError, match="magnitude"):
        IsingModel.from_couplings(np.zeros((2, 2)), h, offset)


def test_a_number_far_below_the_others_is_no_fault():
    J = np.array([[0, 1, 0], [1, 0, 1e-320], [0, 1e-320, 0]])
    assert IsingModel.from_couplings(J).energy([1, 1, 1]) == -1


@pytest.mark.parametrize(
    ("J", "h"),
    [
        ([[0, 1], [1, 0]], np.zeros(2)),
        (np.zeros((2, 2), np.float32), np.zeros(2)),
        (np.zeros((3, 3)), [0, 0, 0]),
    ],
)
def test_the_class_itself_takes_arrays_of_float64_only(J, h):
    with pytest.raises(ModelError, match="from_couplings converts"):
        IsingModel(J, h)


def test_a_refusal_names_the_argument_as_the_caller_does():
    with pytest.raises(ModelError, match=r"^W is not symmetric: W\[0,1\] = 1.0"):
        IsingModel.from_maxcut([[0, 1], [2, 0]])
    with pytest.raises(ModelError, match=r"^W has the entry \[0,1\] = inf"):
        IsingModel.from_maxcut([[0, np.inf], [np.inf, 0]])
