"""Variables, constraints, programs and least squares."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from qnn_train import AssemblyError, Qcbo, least_squares, weight_code
from qnn_train.program import Gates, LinearConstraints, Products


def test_rosenbergs_polynomial_vanishes_exactly_on_products():
    products = Products(np.array([[0, 1, 2]]))
    for x in product((0, 1), repeat=3):
        penalty = products.penalty(x)[0]
        assert (penalty == 0) == (x[2] == x[0] * x[1])
        assert penalty >= 0


def test_a_gate_is_violated_exactly_by_a_bit_behind_it():
    gates = Gates(np.array([[0, 1, 1], [0, 2, 0]]))
    for x in product((0, 1), repeat=3):
        expected = [x[0] == 1 and x[1] == 0, x[0] == 1 and x[2] == 1]
        np.testing.assert_array_equal(gates.penalty(x), expected)


@given(st.integers(0, 2**32 - 1))
def test_the_penalty_form_adds_what_each_constraint_lacks(seed):
    rng = np.random.default_rng(seed)
    n = 6
    A, b = rng.integers(-2, 3, (2, n)), rng.integers(-1, 3, 2)
    A[:, 0] = 1
    triples = np.array([rng.permutation(n)[:3] for _ in range(3)])
    gates = np.array([[*rng.permutation(n)[:2], rng.integers(2)] for _ in range(3)])
    qcbo = Qcbo.from_arrays(
        rng.normal(size=(n, n)),
        rng.normal(size=n),
        0.5,
        equalities=LinearConstraints(sp.csr_array(A.astype(float)), b.astype(float)),
        products=Products(triples),
        gates=Gates(gates),
    )
    Q, constant = qcbo.penalized(1.5)
    np.testing.assert_array_equal(Q.toarray(), Q.T.toarray())
    for x in product((0, 1), repeat=n):
        lacks = ((A @ x - b) ** 2).sum() + qcbo.products.penalty(x).sum()
        lacks += qcbo.gates.penalty(x).sum()
        assert (lacks == 0) == qcbo.is_feasible(x)
        value = np.array(x) @ Q @ np.array(x) + constant
        assert value == pytest.approx(qcbo.objective(x) + 1.5 * lacks)


def test_an_equality_needs_a_variable_and_a_right_hand_side():
    with pytest.raises(AssemblyError, match="without a variable"):
        LinearConstraints(sp.csr_array(np.zeros((1, 2))), np.zeros(1))
    with pytest.raises(AssemblyError, match="2 rows"):
        LinearConstraints(sp.csr_array(np.ones((2, 2))), np.zeros(1))


def test_the_objective_of_a_program_is_its_formula():
    rng = np.random.default_rng(3)
    Q, c = rng.normal(size=(4, 4)), rng.normal(size=4)
    qcbo = Qcbo.from_arrays(Q, c, 0.5)
    vectors = np.array(list(product((0, 1), repeat=4)))
    expected = [x @ Q @ x + c @ x + 0.5 for x in vectors]
    np.testing.assert_allclose(qcbo.objective(vectors), expected, atol=1e-12)
    assert qcbo.is_feasible(vectors).all()


@pytest.mark.parametrize(
    ("Q", "c", "sentence"),
    [
        (np.zeros((2, 3)), None, "square"),
        (np.zeros((2, 2)), np.zeros(3), "another number"),
        (np.full((2, 2), np.nan), None, "not finite"),
    ],
)
def test_a_malformed_program_is_refused(Q, c, sentence):
    with pytest.raises(AssemblyError, match=sentence):
        Qcbo.from_arrays(Q, c)


@pytest.mark.parametrize("code", ["binary", "ternary", "2bit"])
def test_least_squares_is_the_squared_residual_of_the_decoded_weights(code):
    rng = np.random.default_rng(5)
    X, Y, weights = rng.normal(size=(7, 3)), rng.normal(size=7), weight_code(code)
    qcbo = least_squares(X, Y, scale=0.7, weights=weights)
    vectors = np.array(list(product((0, 1), repeat=qcbo.n_bits)))
    w = weights.decode(vectors.reshape(-1, 3, weights.bits))
    expected = ((0.7 * w @ X.T - Y) ** 2).sum(axis=1)
    np.testing.assert_allclose(qcbo.objective(vectors), expected, atol=1e-10)


def test_least_squares_refuses_shapes_that_differ():
    with pytest.raises(AssemblyError, match="shape"):
        least_squares([[1.0]], [1.0, 2.0], scale=1.0, weights=weight_code("binary"))
