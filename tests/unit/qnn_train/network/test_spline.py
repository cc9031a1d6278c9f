"""Splines: exact on integers, and as near to what they stand for as the bounds say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnn_train import AssemblyError, Spline
from qnn_train.program.bounds import spline_error

Z = np.arange(-40, 41)


@st.composite
def splines(draw) -> Spline:
    """Up to five pieces with small integers."""
    knots = sorted(draw(st.sets(st.integers(-15, 15), max_size=4)))
    numbers = st.lists(st.integers(-3, 3), min_size=len(knots) + 1, max_size=len(knots) + 1)
    return Spline(tuple(knots), tuple(draw(numbers)), tuple(draw(numbers)))


def by_bisection(spline: Spline, z: int) -> float:
    """The definition, read piece by piece: the witness."""
    piece = sum(z >= knot for knot in spline.knots)
    return spline.intercepts[piece] + spline.slopes[piece] * z


@given(splines())
def test_a_spline_is_its_piece_at_every_integer_in_every_type(spline):
    expected = [by_bisection(spline, z) for z in Z.tolist()]
    for dtype in (np.int64, np.int8, np.float32, np.float64):
        np.testing.assert_array_equal(spline(Z.astype(dtype)), expected)
    assert spline(Z.astype(np.float32)).dtype == np.float32
    assert spline(Z.astype(np.int8)).dtype == np.int64


@given(splines(), st.integers(-20, 20), st.integers(0, 12), st.integers(1, 4))
def test_segments_cover_what_is_reached_once_and_say_the_same(spline, lo, count, step):
    reached = range(lo, lo + step * count + 1, step)
    segments = spline.segments_within(lo, reached[-1], step)
    seen = [z for part in segments for z in range(part.lo, part.hi + 1, step)]
    assert seen == list(reached)
    for part in segments:
        for z in range(part.lo, part.hi + 1, step):
            assert part.at(z) == by_bisection(spline, z)


def test_pieces_that_are_not_reached_or_not_told_apart_are_no_segments():
    assert len(Spline.sign().segments_within(0, 8)) == 1
    assert len(Spline.relu().segments_within(-4, 4)) == 2
    assert len(Spline.relu().segments_within(-2, 0, 2)) == 1  # 0 at both
    two = Spline((0, 5), (1, 1, 2), (0, 0, 0))
    assert [part.hi for part in two.segments_within(-3, 9)] == [4, 9]


@pytest.mark.parametrize(
    ("spline", "function", "levels"),
    [
        (Spline.sign(), lambda z: 1 if z >= 0 else -1, 1),
        (Spline.relu(), lambda z: max(0, z), 1),
        (Spline.leaky_relu(4), lambda z: max(z / 4, z), 4),
        (Spline.identity(), lambda z: z, 1),
    ],
)
def test_named_splines_of_integers_are_exact(spline, function, levels):
    assert spline.error(function, -30, 30, levels=levels) == 0
    assert spline.is_integral


@pytest.mark.parametrize("degree", [0, 1])
@pytest.mark.parametrize("pieces", [2, 5, 8, 16])
@pytest.mark.parametrize(
    ("name", "function", "derivatives"),
    [
        # max|f'| and max|f''| of tanh and of the logistic function
        ("tanh", math.tanh, (1.0, 4 / 27**0.5)),
        ("sigmoid", lambda u: 1 / (1 + math.exp(-u)), (0.25, 1 / 108**0.5)),
    ],
)
def test_the_error_is_below_the_bound(name, function, derivatives, pieces, degree):
    scale, levels = 6, 400
    reach = scale * (3 if name == "tanh" else 6)
    spline = getattr(Spline, name)(pieces, scale=scale, levels=levels, degree=degree)
    width = -(-(2 * reach + 1) // pieces)  # integers in a piece
    bound = spline_error(width / scale, derivatives[degree], degree=degree)
    rounding = 0.5 / levels * (1 if degree == 0 else width + 1)
    error = spline.error(function, -reach, reach, scale=scale, levels=levels)
    assert error <= bound + rounding
    assert spline.is_integral
    assert spline.degree == degree


def test_more_pieces_come_nearer_with_the_order_of_the_degree():
    def error(pieces: int, degree: int) -> float:
        spline = Spline.of(math.sin, -512, 511, pieces, degree=degree, scale=256.0)
        return spline.error(math.sin, -512, 511, scale=256.0)

    assert error(32, 0) / error(64, 0) == pytest.approx(2, rel=0.1)
    assert error(32, 1) / error(64, 1) == pytest.approx(4, rel=0.1)


def test_a_spline_of_degree_one_is_continuous_and_ends_flat():
    spline = Spline.of(math.tanh, -9, 9, 4, degree=1, scale=3, levels=30)
    for index, knot in enumerate(spline.knots[:-1]):
        before = spline.intercepts[index] + spline.slopes[index] * knot
        assert before == by_bisection(spline, knot)
    np.testing.assert_array_equal(spline([9, 10, 99]), spline([9, 9, 9]))
    np.testing.assert_array_equal(spline([-99, -10]), spline([-9, -9]))


@pytest.mark.parametrize("pieces", range(1, 12))
def test_inner_pieces_are_equally_wide_also_on_a_coarse_grid(pieces):
    spline = Spline.of(float, -10, 10, pieces, step=2)
    counts = [1 + (part.hi - part.lo) // 2 for part in spline.segments_within(-10, 10, 2)]
    assert len(counts) <= pieces
    assert sum(counts) == 11
    assert len(set(counts[1:-1])) <= 1
    assert max(counts) == -(-11 // pieces)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (((0,), (1,), (0,)), "n \\+ 1"),
        (((1, 1), (1, 2, 3), (0, 0, 0)), "ascend"),
        (((), (math.inf,), (0,)), "not finite"),
        (((), (math.nan,), (0,)), "intercepts = "),
    ],
)
def test_a_malformed_spline_is_refused(parts, sentence):
    with pytest.raises(AssemblyError, match=sentence):
        Spline(*parts)


@pytest.mark.parametrize(("pieces", "hi", "degree"), [(0, 3, 0), (2, -4, 0), (2, 3, 2)])
def test_a_spline_of_nothing_is_refused(pieces, hi, degree):
    with pytest.raises(AssemblyError, match="a spline of degree"):
        Spline.of(math.sin, -3, hi, pieces, degree=degree)
