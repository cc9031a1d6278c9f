"""Encodings of bits: every form tells every reachable value apart and no other."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qnn_train import AssemblyError, Spline
from qnn_train.network import BitEncoding, Grid

FORMS = ["shared", "own", "two-sided"]


@st.composite
def cases(draw) -> tuple[Spline, Grid]:
    """A spline of up to four pieces on a grid of up to 25 values."""
    step = draw(st.integers(1, 3))
    lo, count = draw(st.integers(-20, 0)), draw(st.integers(1, 25))
    knots = sorted(draw(st.sets(st.integers(lo, lo + step * count), max_size=3)))
    slope = st.integers(-2, 2) if draw(st.booleans()) else st.just(0)
    length = len(knots) + 1
    intercepts = draw(st.lists(st.integers(-9, 9), min_size=length, max_size=length))
    slopes = draw(st.lists(slope, min_size=length, max_size=length))
    grid = Grid(lo, lo + step * (count - 1), step if count > 1 else 0)
    return Spline(tuple(knots), tuple(intercepts), tuple(slopes)), grid


def word_or_skip(spline: Spline, grid: Grid, form: str) -> BitEncoding:
    try:
        return BitEncoding.of(spline, grid, form)
    except AssemblyError:
        assume(False)
        raise


def value(function, bits) -> float:
    return function.constant + sum(c * b for c, b in zip(function.coefficients, bits, strict=True))


def allowed(encoding: BitEncoding, bits) -> bool:
    """Whether gates and Σβ = 1 hold."""
    one = not encoding.one_hot or sum(bits[: encoding.n_indicators]) == 1
    return one and all(not bits[g.slack] or bits[g.indicator] == g.opens for g in encoding.gates)


@given(cases(), st.sampled_from(FORMS))
def test_the_words_of_a_value_all_give_its_segment_and_its_activation(case, form):
    spline, grid = case
    encoding = word_or_skip(spline, grid, form)
    assume(encoding.rows and encoding.n_bits <= 12)
    reached = set(range(grid.lo, grid.hi + 1, grid.step or 1))
    written = set()
    for bits in product((0, 1), repeat=encoding.n_bits):
        sums = {value(row, bits) for row in encoding.equalities()}
        if not allowed(encoding, bits) or len(sums) > 1 or not sums <= reached:
            continue
        (z,) = sums
        written.add(z)
        assert value(encoding.function(reference=True), bits) == spline(z)
        assert value(encoding.function(reference=False), bits) == spline(z)
        at = next(i for i, part in enumerate(encoding.segments) if part.lo <= z <= part.hi)
        indicated = bits[: encoding.n_indicators]
        assert indicated == {1: (), 2: (at,)}.get(
            len(encoding.segments), tuple(int(i == at) for i in range(len(encoding.segments)))
        )
    assert written == reached


@given(cases(), st.sampled_from(FORMS))
def test_encoding_writes_a_word_that_holds(case, form):
    spline, grid = case
    encoding = word_or_skip(spline, grid, form)
    z = np.arange(grid.lo, grid.hi + 1, grid.step or 1)
    bits = encoding.encode(z)
    assert bits.shape == (len(z), encoding.n_bits)
    for row in encoding.equalities():
        # so that z minus the encoding is a multiple of the step, bit by bit
        assert not np.any(np.array([row.constant - grid.lo, *row.coefficients]) % encoding.step)
        np.testing.assert_array_equal(bits @ np.array(row.coefficients) + row.constant, z)
    function = encoding.function(reference=True)
    np.testing.assert_array_equal(
        bits @ np.array(function.coefficients) + function.constant, spline(z)
    )
    assert all(allowed(encoding, row) for row in bits.tolist())


@given(cases())
def test_the_shortest_of_the_forms_is_taken(case):
    spline, grid = case
    lengths = []
    for form in FORMS:
        try:
            lengths.append(BitEncoding.of(spline, grid, form).n_bits)
        except AssemblyError:
            continue
    assert BitEncoding.of(spline, grid).n_bits == min(lengths)


@pytest.mark.parametrize(
    ("knots", "grid", "form", "bits"),
    [
        # sign on ±16 in steps of 2: one indicator, 8 values below and 9 from zero on
        ((0,), Grid(-16, 16, 2), "shared", 1 + 4),
        # four equal inner pieces of 4 values: one slack encoding
        ((-4, 0, 4), Grid(-8, 7, 1), "shared", 4 + 2),
        # inner widths 1, 2 and 3: an encoding each beats two long ones
        ((0, 1, 3, 6), Grid(-1, 6, 1), "own", 5 + 0 + 0 + 1 + 2 + 0),
        # many unequal pieces: two encodings beat one each
        ((-14, -9, -3, 2, 8, 15), Grid(-20, 20, 1), "two-sided", 7 + 3 + 3),
    ],
)
def test_the_form_depends_on_the_widths(knots, grid, form, bits):
    steps = tuple(range(len(knots) + 1))
    spline = Spline(knots, steps, (0,) * len(steps))
    encoding = BitEncoding.of(spline, grid)
    assert encoding == BitEncoding.of(spline, grid, form)
    assert encoding.n_bits == bits
    assert len(encoding.rows) == (2 if form == "two-sided" else 1)


@given(st.integers(-60, -1), st.integers(1, 5), st.data())
def test_the_word_of_a_sign_is_as_short_as_equal_widths_allow(lo, step, data):
    count = data.draw(st.integers(-lo // step + 2, -lo // step + 60))
    grid = Grid(lo, lo + step * (count - 1), step)
    encoding = BitEncoding.of(Spline.sign(), grid)
    larger = max(-(lo // step), count + lo // step)
    assert encoding.n_indicators == 1
    assert 2**encoding.slack_bits >= larger
    assert encoding.slack_bits == 0 or 2 ** (encoding.slack_bits - 1) < larger


def test_what_needs_no_bit_takes_none():
    assert BitEncoding.of(Spline.sign(), Grid(0, 8, 2)).n_bits == 0
    assert BitEncoding.of(Spline.identity(), Grid(3, 3, 0)).n_bits == 0
    assert BitEncoding.of(Spline.identity(), Grid(0, 7, 1)).n_bits == 3


def test_a_form_that_does_not_exist_is_refused():
    with pytest.raises(AssemblyError, match="no shared encoding"):
        BitEncoding.of(Spline.relu(), Grid(-4, 4, 1), "shared")
    with pytest.raises(AssemblyError, match="no two-sided encoding"):
        BitEncoding.of(Spline.relu(), Grid(-4, 4, 1), "two-sided")
