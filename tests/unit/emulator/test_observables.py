"""Statistics of runs against closed forms and exact sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cim_hal import SampleSet
from emulator import SuccessProbability, time_to_solution

Z_95 = 1.959963984540054  # normal quantile of 0.975

probabilities = st.floats(1e-9, 1.0)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 10), (45, 64), (500, 1000), (10, 10)])
def test_the_interval_is_the_closed_form_of_wilson(k, n):
    value, low, high = SuccessProbability(successes=k, runs=n).estimate()
    p, shift = k / n, Z_95**2 / n
    center = (p + shift / 2) / (1 + shift)
    width = Z_95 * math.sqrt(p * (1 - p) / n + shift / (4 * n)) / (1 + shift)
    assert value == p
    assert low == pytest.approx(center - width, abs=1e-14)
    assert high == pytest.approx(center + width, abs=1e-14)


def test_without_a_success_the_interval_starts_at_zero_and_has_a_width():
    # closed form at k = 0: z^2 / (n + z^2)
    value, low, high = SuccessProbability(successes=0, runs=64).estimate()
    assert (value, low) == (0.0, 0.0)
    assert high == pytest.approx(Z_95**2 / (64 + Z_95**2), abs=1e-14)


@pytest.mark.parametrize("n", [10, 50, 64])
@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.77])
def test_the_interval_holds_the_truth_as_often_as_the_binomial_says(n, p):
    weights = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    intervals = [SuccessProbability(successes=k, runs=n).estimate() for k in range(n + 1)]
    coverage = sum(w for w, i in zip(weights, intervals, strict=True) if i.low <= p <= i.high)
    # a score test accepts p where |k - np| <= z sqrt(np(1 - p)): the same k, counted otherwise
    reach = Z_95 * math.sqrt(n * p * (1 - p))
    accepted = sum(w for k, w in enumerate(weights) if abs(k - n * p) <= reach)
    assert coverage == pytest.approx(accepted, abs=1e-12)
    # nothing between outcomes: an outcome at either edge decides how near 0.95 one can come
    at_the_edges = [w for k, w in enumerate(weights) if abs(abs(k - n * p) - reach) < 1]
    assert abs(coverage - 0.95) < sum(at_the_edges)


@given(st.integers(1, 300), st.data())
def test_an_interval_holds_the_estimate_mirrors_and_widens_with_its_level(n, data):
    k = data.draw(st.integers(0, n))
    known = SuccessProbability(successes=k, runs=n)
    value, low, high = known.estimate()
    mirror = SuccessProbability(successes=n - k, runs=n).estimate()
    wider = known.estimate(level=0.99)
    assert 0 <= wider.low <= low <= value <= high <= wider.high <= 1
    assert (mirror.low, mirror.high) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_the_interval_moves_up_with_successes():
    estimates = [SuccessProbability(successes=k, runs=30).estimate() for k in range(31)]
    assert np.all(np.diff(estimates, axis=0) > 0)


@pytest.mark.parametrize(("k", "n", "name"), [(1, 0, "runs"), (-1, 4, "succ"), (5, 4, "succ")])
def test_impossible_counts_are_refused(k, n, name):
    with pytest.raises(ValueError, match=name):
        SuccessProbability(successes=k, runs=n)


@pytest.mark.parametrize("level", [0.0, 1.0, math.nan])
def test_an_impossible_level_is_refused(level):
    with pytest.raises(ValueError, match="level"):
        SuccessProbability(successes=1, runs=2).estimate(level=level)


def test_time_to_solution_in_closed_form():
    # 1 - 0.9^2 = 0.99 and 1 - 0.5^k: ln(0.01) / ln(0.5) = 6.643856189774724
    assert time_to_solution(0.9, 3.0) == pytest.approx(6.0, rel=1e-15)
    assert time_to_solution(0.5, 1.0) == pytest.approx(6.643856189774724, rel=1e-15)
    assert time_to_solution(1e-18, 1.0) == pytest.approx(-math.log(0.01) * 1e18, rel=1e-12)


def test_one_run_is_the_least_and_no_success_takes_forever():
    assert time_to_solution(0.99, 0.25) == time_to_solution(1.0, 0.25) == 0.25
    assert time_to_solution(0.0, 0.25) == math.inf


@given(probabilities, st.integers(1, 20))
def test_the_probability_of_missing_in_k_runs_is_the_kth_power(p, k):
    confidence = -math.expm1(k * math.log1p(-p)) if p < 1 else 1.0
    if 0 < confidence < 1 - 1e-6:
        # 1 - confidence is known to 1e-16 of 1, which the condition number then magnifies
        assert time_to_solution(p, 1.0, confidence=confidence) == pytest.approx(k, rel=1e-6)


@given(probabilities, probabilities, st.floats(0.01, 0.999))
def test_a_better_machine_is_never_slower(p, q, confidence):
    worse, better = sorted((p, q))
    slow, fast = (time_to_solution(r, 1.0, confidence=confidence) for r in (worse, better))
    assert slow >= fast >= 1.0


def test_the_interval_of_time_is_that_of_probability_turned_over():
    known = SuccessProbability(successes=10, runs=64)
    chance, time = known.estimate(level=0.9), known.time_to_solution(2.0, level=0.9)
    assert time.low < time.value < time.high
    assert time == tuple(time_to_solution(p, 2.0) for p in (chance.value, chance.high, chance.low))
    assert SuccessProbability(successes=0, runs=9).time_to_solution(1.0).high == math.inf


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"p": -0.1, "run_s": 1.0}, "p ="),
        ({"p": math.nan, "run_s": 1.0}, "p ="),
        ({"p": 0.5, "run_s": 0.0}, "run_s"),
        ({"p": 0.5, "run_s": 1.0, "confidence": 1.0}, "confidence"),
    ],
)
def test_impossible_times_are_refused(arguments, name):
    with pytest.raises(ValueError, match=name):
        time_to_solution(**arguments)


def samples_of(spins: np.ndarray) -> SampleSet:
    spins = spins.astype(np.int8)
    energies = -spins.sum(axis=1).astype(float)
    order = np.argsort(energies)
    return SampleSet(spins[order], energies[order], None, None)


def test_runs_that_are_copies_of_each_other_count_as_one():
    copies, differing = np.ones((64, 5)), np.ones((64, 5))
    differing[40:, 0] = -1
    one = SuccessProbability.of(samples_of(copies), -5.0)
    assert (one.successes, one.runs) == (1, 1)
    assert one.time_to_solution(1.0).high > 10
    assert SuccessProbability.of(samples_of(copies), -6.0).successes == 0
    many = SuccessProbability.of(samples_of(differing), -5.0)
    assert (many.successes, many.runs) == (40, 64)
