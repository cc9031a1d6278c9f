from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnn_train import Architecture, Layer, QuantizedNetwork, Spline, bias_code, weight_code
from qnn_train.network import Grid, activation_grid, layered_network, margin_grid, propagate

values = st.lists(st.integers(-20, 20), min_size=1, max_size=5)


@given(values, st.integers(0, 7))
def test_a_grid_holds_what_it_spans_and_sums_hold_sums(values, shift):
    grid = Grid.spanning(values)
    total = grid + Grid.spanning([shift, 2 * shift])
    for value, other in product(values, (shift, 2 * shift)):
        for g, z in ((grid, value), (total, value + other)):
            assert g.lo <= z <= g.hi
            assert (z - g.lo) % g.step == 0 if g.step else z == g.lo


@st.composite
def small_grids(draw) -> Grid:
    lo, step = draw(st.integers(-12, 12)), draw(st.integers(1, 4))
    count = draw(st.integers(1, 6))
    return Grid(lo, lo + step * (count - 1), step if count > 1 else 0)


def points(grid: Grid) -> list[int]:
    return list(range(grid.lo, grid.hi + 1, grid.step or 1))


@given(small_grids(), small_grids())
def test_a_product_of_grids_is_the_coarsest_that_holds_all_products(first, second):
    assert first * second == Grid.spanning(a * b for a in points(first) for b in points(second))
    assert len(first) == len(points(first))


@given(
    small_grids(),
    st.sampled_from(
        [
            Spline.sign(),
            Spline.relu(),
            Spline.leaky_relu(3),
            Spline.tanh(3, scale=3, levels=4),
            Spline.tanh(3, scale=3, levels=9, degree=1),
        ]
    ),
)
def test_the_grid_of_an_activation_is_the_coarsest_that_holds_its_values(grid, spline):
    reached = spline(points(grid)).tolist()
    assert activation_grid(spline, grid) == Grid.spanning(reached)


@pytest.mark.parametrize(
    "activation",
    [Spline.sign(), Spline.relu(), Spline.leaky_relu(2), Spline.tanh(4, scale=2, levels=2)],
)
@pytest.mark.parametrize("majority", [False, True])
def test_propagation_encloses_every_network_and_is_tight_at_the_ends(activation, majority):
    code = weight_code("ternary")
    hidden = Layer(2, 2, code, bias_code(1), activation)
    readout = None if majority else Layer(2, 1, weight_code("binary"), bias_code(2))
    architecture = Architecture((hidden,), readout)
    bits = list(product((0, 1), repeat=architecture.n_bits))
    networks = QuantizedNetwork.from_bits(architecture, bits)
    for sample in ((1, -1), (1, 2)):
        grids = propagate(architecture, sample)
        margins = networks.margin([sample])
        reached = [*networks.forward([sample]), margins]
        for grid, sums in zip([*grids, margin_grid(architecture, grids)], reached, strict=True):
            assert ((sums - grid.lo) % grid.step == 0).all()
            assert sums.min() == grid.lo
            assert sums.max() == grid.hi


def test_a_neuron_that_cannot_change_sign_has_one_segment():
    sign = Spline.sign()
    assert [len(Grid(lo, hi, 2).segments(sign)) for lo, hi in ((0, 4), (-4, -2), (-2, 0))] == [
        1,
        1,
        2,
    ]


def test_the_range_grows_through_layers_as_the_weights_allow():
    network = layered_network((3, 2, 2, 1), weights="2bit", activation=Spline.relu())
    grids = propagate(network, (1, 1, -1))
    assert [(grid.lo, grid.hi) for grid in grids] == [(-9, 9), (-54, 54), (-324, 324)]
    np.testing.assert_array_equal([grid.step for grid in grids], [2, 1, 1])
