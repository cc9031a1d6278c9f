from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from qnn_train import Architecture, Layer, QuantizedNetwork, bias_code, weight_code
from qnn_train.network import Grid, SignWord, propagate


@st.composite
def grids(draw) -> Grid:
    """Grids with both signs."""
    step = draw(st.integers(1, 5))
    lo = draw(st.integers(-60, -1))
    steps = draw(st.integers(-(lo // step), 60))
    return Grid(lo, lo + step * steps, step)


@given(grids())
def test_every_reachable_value_has_exactly_one_word_and_its_sign_is_right(grid):
    word = SignWord.of(grid)
    values = {}
    for sign, *slack in product((0, 1), repeat=1 + word.slack_bits):
        z = word.threshold - word.width * (1 - sign)
        z += sum(v * r for v, r in zip(word.slack_values, slack, strict=True))
        assert z not in values
        values[z] = sign
    for z in range(grid.lo, grid.hi + 1, grid.step):
        assert values[z] == (z >= 0)


@given(grids())
def test_the_word_is_as_short_as_equal_widths_allow(grid):
    word = SignWord.of(grid)
    reachable = range(grid.lo, grid.hi + 1, grid.step)
    larger = max(sum(z < 0 for z in reachable), sum(z >= 0 for z in reachable))
    assert 2**word.slack_bits >= larger
    assert word.slack_bits == 0 or 2 ** (word.slack_bits - 1) < larger


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=5), st.integers(0, 7))
def test_a_grid_holds_what_it_spans_and_sums_hold_sums(values, shift):
    grid = Grid.spanning(values)
    total = grid + Grid.spanning([shift, 2 * shift])
    for value, other in product(values, (shift, 2 * shift)):
        for g, z in ((grid, value), (total, value + other)):
            assert g.lo <= z <= g.hi
            assert (z - g.lo) % g.step == 0 if g.step else z == g.lo


def test_propagation_encloses_every_network_and_is_tight_at_the_ends():
    code = weight_code("ternary")
    architecture = Architecture(
        (Layer(2, 2, code, bias_code(1)),), Layer(2, 1, weight_code("binary"), bias_code(2))
    )
    bits = list(product((0, 1), repeat=architecture.n_bits))
    networks = QuantizedNetwork.from_bits(architecture, bits)
    for sample in ((1, -1), (1, 2)):
        for grid, sums in zip(
            propagate(architecture, sample), networks.forward([sample]), strict=True
        ):
            assert ((sums - grid.lo) % grid.step == 0).all()
            assert sums.min() == grid.lo
            assert sums.max() == grid.hi


def test_a_neuron_that_cannot_change_sign_has_one_sign():
    assert Grid(0, 4, 2).signs == (1,)
    assert Grid(-4, -2, 2).signs == (-1,)
    assert Grid(-2, 0, 2).signs == (-1, 1)
