"""Words of bits: every form tells every reachable value apart and no other."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qnn_train import AssemblyError, Spline
from qnn_train.network import Grid, Word

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


def word_or_skip(spline: Spline, grid: Grid, form: str) -> Word:
    try:
        return Word.of(spline, grid, form)
    except AssemblyError:
        assume(False)
        raise


def value(function, bits) -> float:
    return function.constant + sum(c * b for c, b in zip(function.coefficients, bits, strict=True))


def allowed(word: Word, bits) -> bool:
    """Whether gates and Σβ = 1 hold."""
    one = not word.one_hot or sum(bits[: word.n_indicators]) == 1
    return one and all(not bits[g.slack] or bits[g.indicator] == g.opens for g in word.gates)


@given(cases(), st.sampled_from(FORMS))
def test_the_words_of_a_value_all_give_its_segment_and_its_activation(case, form):
    spline, grid = case
    word = word_or_skip(spline, grid, form)
    assume(word.rows and word.n_bits <= 12)
    reached = set(range(grid.lo, grid.hi + 1, grid.step or 1))
    written = set()
    for bits in product((0, 1), repeat=word.n_bits):
        sums = {value(row, bits) for row in word.equalities()}
        if not allowed(word, bits) or len(sums) > 1 or not sums <= reached:
            continue
        (z,) = sums
        written.add(z)
        assert value(word.function(reference=True), bits) == spline(z)
        assert value(word.function(reference=False), bits) == spline(z)
        at = next(i for i, part in enumerate(word.segments) if part.lo <= z <= part.hi)
        indicated = bits[: word.n_indicators]
        assert indicated == {1: (), 2: (at,)}.get(
            len(word.segments), tuple(int(i == at) for i in range(len(word.segments)))
        )
    assert written == reached


@given(cases(), st.sampled_from(FORMS))
def test_encoding_writes_a_word_that_holds(case, form):
    spline, grid = case
    word = word_or_skip(spline, grid, form)
    z = np.arange(grid.lo, grid.hi + 1, grid.step or 1)
    bits = word.encode(z)
    assert bits.shape == (len(z), word.n_bits)
    for row in word.equalities():
        # so that z minus the word is a multiple of the step, bit by bit
        assert not np.any(np.array([row.constant - grid.lo, *row.coefficients]) % word.step)
        np.testing.assert_array_equal(bits @ np.array(row.coefficients) + row.constant, z)
    function = word.function(reference=True)
    np.testing.assert_array_equal(
        bits @ np.array(function.coefficients) + function.constant, spline(z)
    )
    assert all(allowed(word, row) for row in bits.tolist())


@given(cases())
def test_the_shortest_of_the_forms_is_taken(case):
    spline, grid = case
    lengths = []
    for form in FORMS:
        try:
            lengths.append(Word.of(spline, grid, form).n_bits)
        except AssemblyError:
            continue
    assert Word.of(spline, grid).n_bits == min(lengths)


@pytest.mark.parametrize(
    ("knots", "grid", "form", "bits"),
    [
        # sign on ±16 in steps of 2: one indicator, 8 values below and 9 from zero on
        ((0,), Grid(-16, 16, 2), "shared", 1 + 4),
        # four equal inner pieces of 4 values: one slack word
        ((-4, 0, 4), Grid(-8, 7, 1), "shared", 4 + 2),
        # inner widths 1, 2 and 3: a word each beats two long ones
        ((0, 1, 3, 6), Grid(-1, 6, 1), "own", 5 + 0 + 0 + 1 + 2 + 0),
        # many unequal pieces: two words beat one each
        ((-14, -9, -3, 2, 8, 15), Grid(-20, 20, 1), "two-sided", 7 + 3 + 3),
    ],
)
def test_the_form_depends_on_the_widths(knots, grid, form, bits):
    steps = tuple(range(len(knots) + 1))
    spline = Spline(knots, steps, (0,) * len(steps))
    word = Word.of(spline, grid)
    assert word == Word.of(spline, grid, form)
    assert word.n_bits == bits
    assert len(word.rows) == (2 if form == "two-sided" else 1)


@given(st.integers(-60, -1), st.integers(1, 5), st.data())
def test_the_word_of_a_sign_is_as_short_as_equal_widths_allow(lo, step, data):
    count = data.draw(st.integers(-lo // step + 2, -lo // step + 60))
    grid = Grid(lo, lo + step * (count - 1), step)
    word = Word.of(Spline.sign(), grid)
    larger = max(-(lo // step), count + lo // step)
    assert word.n_indicators == 1
    assert 2**word.slack_bits >= larger
    assert word.slack_bits == 0 or 2 ** (word.slack_bits - 1) < larger


def test_what_needs_no_bit_takes_none():
    assert Word.of(Spline.sign(), Grid(0, 8, 2)).n_bits == 0
    assert Word.of(Spline.identity(), Grid(3, 3, 0)).n_bits == 0
    assert Word.of(Spline.identity(), Grid(0, 7, 1)).n_bits == 3


def test_a_form_that_does_not_exist_is_refused():
    with pytest.raises(AssemblyError, match="no shared word"):
        Word.of(Spline.relu(), Grid(-4, 4, 1), "shared")
    with pytest.raises(AssemblyError, match="no two-sided word"):
        Word.of(Spline.relu(), Grid(-4, 4, 1), "two-sided")
