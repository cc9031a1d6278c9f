"""Progressive hedging: multipliers, agreement, circles."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import random_parts

from qnn_train import (
    ExhaustiveOracle,
    Qcbo,
    TrainingError,
)
from qnn_train.program import Parts
from qnn_train.solve import (
    PackedOracle,
    RandomOracle,
    RhoSchedule,
    progressive_hedging,
)
from qnn_train.solve.hedging import period

seeds = st.integers(0, 2**32 - 1)


@given(seeds)
@settings(max_examples=15)
def test_multipliers_of_hedging_add_up_to_zero_at_every_step(seed):
    rng = np.random.default_rng(seed)
    parts = random_parts(rng, parts=4)
    for iterate in islice(progressive_hedging(parts, ExhaustiveOracle(), weight=5.0), 15):
        np.testing.assert_allclose(iterate.state.multipliers.sum(axis=0), 0.0, atol=1e-12)
        np.testing.assert_allclose(iterate.state.copies.mean(axis=0), iterate.state.mean)
        assert iterate.calls == 4 * iterate.step


def test_equal_parts_agree_at_once():
    parts = random_parts(np.random.default_rng(8), parts=1)
    twice = Parts(3, parts.programs * 2)
    first = next(progressive_hedging(twice, ExhaustiveOracle()))
    assert first.state.agrees
    shared = first.atom[:3]
    np.testing.assert_array_equal(first.bits[0], shared)


def test_a_hedging_run_goes_on_where_it_was():
    parts = random_parts(np.random.default_rng(9), parts=3)
    through = list(islice(progressive_hedging(parts, ExhaustiveOracle()), 8))
    again = progressive_hedging(parts, ExhaustiveOracle(), state=through[3].state)
    for one, other in zip(through[4:], again, strict=False):
        np.testing.assert_array_equal(one.atom, other.atom)
        np.testing.assert_array_equal(one.state.multipliers, other.state.multipliers)
    with pytest.raises(TrainingError, match="penalty weight"):
        next(progressive_hedging(parts, ExhaustiveOracle(), weight=0.0))


@pytest.mark.parametrize(
    ("history", "length"),
    [("abab", 2), ("xabcabc", 3), ("aaaa", 0), ("abac", 0), ("ab", 0), ("", 0)],
)
def test_a_circle_is_a_pattern_seen_twice_over(history, length):
    assert period(tuple(letter.encode() for letter in history)) == length


def test_a_circle_raises_rho():
    schedule = RhoSchedule(first=0.1, last=1.0, steps=11)
    assert schedule.at(0, 0) == pytest.approx(0.1)
    assert schedule.at(5, 0) == pytest.approx(0.1**0.5)
    assert schedule.at(99, 0) == pytest.approx(1.0)
    assert schedule.at(99, 2) == pytest.approx(4.0)


def test_copies_that_run_in_a_circle_are_noticed_and_let_out():
    """Two parts want opposite bits, and the oracle repeats two answers whatever it is asked."""
    parts = Parts(1, (Qcbo.from_arrays([[1.0]]), Qcbo.from_arrays([[-1.0]])))

    class Circling:
        def __init__(self):
            self.asked = 0

        def minimize(self, gradient):
            self.asked += 1
            bits = np.array([[(self.asked // 2 + self.asked) % 2]], np.int8)
            return RandomOracle(1, seed=0).minimize(gradient).__class__(bits, np.zeros(1))

    states = [i.state for i in islice(progressive_hedging(parts, Circling()), 12)]
    assert states[-1].circles > 0
    assert states[-1].rho > RhoSchedule().at(11, 0)


def test_packed_parts_cost_fewer_calls():
    parts = random_parts(np.random.default_rng(10), parts=3)
    iterate = next(progressive_hedging(parts, PackedOracle(RandomOracle(4, seed=0), 12)))
    assert iterate.calls == 2
