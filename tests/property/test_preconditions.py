"""What a function assumes of numbers is checked: none is cut, divided with a rest, or misread."""

from __future__ import annotations

from math import gcd

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from qnn_train import (
    AssemblyError,
    Layer,
    Qcbo,
    QuantizedNetwork,
    Scorer,
    Spline,
    SquaredLoss,
    allocate_bits,
    assemble,
    bias_code,
    cross_entropy_loss,
    layered_network,
    logistic_loss,
    one_against_rest,
    weight_code,
)
from qnn_train.errors import TrainingError
from qnn_train.network import BitEncoding, Grid
from qnn_train.network.codes import ParameterCode
from qnn_train.network.intervals import activation_grid, propagate
from qnn_train.program import Gates, LinearConstraints, Products
from qnn_train.program.bounds import mean_oracle_error, rounding_error, spline_error
from qnn_train.program.builder import Affine
from qnn_train.solve.penalty import default_weight

NETWORK = layered_network((2, 2, 1), biases="1bit")
CODEBOOK = layered_network((1, 1), weights="codebook(-1,2)")
ASSEMBLY = assemble(NETWORK, [[1, -1]], [1], loss=SquaredLoss(1.0))
TRAINED = QuantizedNetwork.from_bits(NETWORK, np.ones(NETWORK.n_bits, int))
no_bits = st.floats(-3, 3).filter(lambda number: number not in {0, 1})
no_whole = st.one_of(
    st.floats(-9, 9).filter(lambda number: number != round(number)),
    st.sampled_from([np.inf, -np.inf]),
)

TAKE_BITS = {
    "decode": lambda x: weight_code("ternary").decode(x[:2]),
    "from_bits": lambda x: QuantizedNetwork.from_bits(NETWORK, x[: NETWORK.n_bits]),
    "complete": lambda x: ASSEMBLY.complete(x[: NETWORK.n_bits]),
    "parameters": ASSEMBLY.parameters,
    "objective": ASSEMBLY.qcbo.objective,
    "is_feasible": ASSEMBLY.qcbo.is_feasible,
}


@pytest.mark.parametrize("name", TAKE_BITS)
@given(no_bits, st.integers(0, 1))
def test_what_takes_bits_refuses_spins_and_shares(name, number, place):
    x = np.zeros(ASSEMBLY.qcbo.n_bits)
    TAKE_BITS[name](x)
    x[place] = number
    with pytest.raises(AssemblyError, match="0 and 1"):
        TAKE_BITS[name](x)


TAKE_INTEGERS = {
    "encode a weight": lambda number: weight_code("ternary").encode([number]),
    "inputs of a program": lambda number: assemble(
        NETWORK, [[1, number]], [1], loss=SquaredLoss(1.0)
    ),
    "inputs of a network": lambda number: TRAINED.margin([[number, 1]]),
    "encode a sum": lambda number: BitEncoding.of(Spline.sign(), Grid(-9, 9, 1)).encode([number]),
    "classes": lambda number: one_against_rest(np.array([0.0, number]), 9),
    "an equality": lambda number: Affine(1, {0: number}).over(1),
}


@pytest.mark.parametrize("name", TAKE_INTEGERS)
@given(no_whole)
def test_what_takes_integers_refuses_other_numbers(name, number):
    with pytest.raises((AssemblyError, OverflowError)):
        TAKE_INTEGERS[name](number)


@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(-3, 6))
def test_a_grid_is_one(lo, hi, step):
    if hi >= lo and step >= 0 and (hi - lo) % (step or hi - lo + 1) == 0:
        assert len(Grid(lo, hi, step)) == 1 + (hi - lo) // (step or 1)
    else:
        with pytest.raises(AssemblyError):
            Grid(lo, hi, step)


@given(st.integers(-9, 9), st.integers(0, 9), st.integers(-1, 4), st.integers(1, 5))
def test_a_spline_is_made_for_the_values_it_names(lo, width, step, pieces):
    def make() -> Spline:
        return Spline.of(lambda z: z**2, lo, lo + width, pieces, step=step)

    if step < 1 or width % step:
        with pytest.raises(AssemblyError):
            make()
    else:
        parts = make().segments_within(lo, lo + width, step)
        assert sum((part.hi - part.lo) // step + 1 for part in parts) == 1 + width // step


@given(st.integers(-20, 20), st.integers(-5, 5), st.integers(1, 6))
def test_a_value_off_the_grid_has_no_encoding(z, lo, step):
    encoding = BitEncoding.of(Spline.sign(), Grid(lo, lo + 4 * step, step))
    if z in range(lo, lo + 4 * step + 1, step):
        assert encoding.encode([z]).shape == (1, encoding.n_bits)
    else:
        with pytest.raises(AssemblyError):
            encoding.encode([z])


@given(st.integers(1, 12), st.lists(st.integers(-40, 40), min_size=1, max_size=5))
def test_a_division_leaves_no_rest(divisor, numbers):
    shared = gcd(divisor, *numbers)
    divided = Affine(numbers[0], dict(enumerate(numbers))).over(divisor)
    assert [shared * each for each in divided.terms.values()] == numbers


ONE = sp.csr_array(np.array([[0.1, 0.1]]))
ZERO = np.zeros((2, 2))
NOTHING = (LinearConstraints.none(2), Products.none(), Gates.none())
REFUSED = {
    "a position that no bit has": lambda: Qcbo.from_arrays(
        ZERO, products=Products(np.array([[0, 1, 2]]))
    ),
    "a position below 0": lambda: Products(np.array([[0, 1, -1]])),
    "a gate at 2": lambda: Gates(np.array([[0, 1, 2]])),
    "rows of two": lambda: Gates(np.array([[0, 1]])),
    "an objective that is not symmetric": lambda: Qcbo(
        np.triu(np.ones((2, 2))), np.zeros(2), 0.0, *NOTHING
    ),
    "an equality without a number": lambda: LinearConstraints(ONE, np.array([np.nan])),
    "a reward for what is forbidden": lambda: ASSEMBLY.qcbo.penalized(-1.0),
    "a default weight for real constraints": lambda: default_weight(
        Qcbo.from_arrays(ZERO, equalities=LinearConstraints(ONE, np.array([0.1])))
    ),
    "a code that is not its name": lambda: Layer(
        1, 1, ParameterCode("binary", 0, (3,)), bias_code(0)
    ),
    "a layer without neurons": lambda: layered_network((2, 0, 1)),
    "a word of no codebook": lambda: assemble(CODEBOOK, [[1]], [1], loss=SquaredLoss(1.0)).complete(
        [1, 1]
    ),
    "choices that are not cheapest first": lambda: allocate_bits(
        lambda codes: layered_network((4, 2, 1), weights=codes),
        [("3bit", "binary")] * 2,
        score=lambda network: -network.n_bits,
        cost=lambda network: network.n_bits,
        budget=50,
        max_exhaustive=1,
    ),
    "a sample of another size": lambda: propagate(NETWORK, [1]),
    "an activation of reals": lambda: activation_grid(Spline((), (0.5,), (0,)), Grid(0, 1, 1)),
    "a slope upside down": lambda: Spline.leaky_relu(-2),
    "a scale below 0": lambda: logistic_loss(-1.0),
    "a smoothing of 2": lambda: cross_entropy_loss(1.0, smoothing=2.0),
    "no pieces": lambda: logistic_loss(1.0, pieces=0),
    "labels of 0 and 1": lambda: Scorer([[1, -1], [1, 1]], [0, 1]),
    "two classes of one sample": lambda: Scorer([[1, -1]], [[1, 1]]),
    "a bound of no calls": lambda: mean_oracle_error([]),
    "a bound of no rows": lambda: rounding_error(0, 1.0, 8),
    "a bound of a width below 0": lambda: spline_error(-1.0, 1.0, degree=1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(name):
    with pytest.raises(TrainingError):
        REFUSED[name]()
