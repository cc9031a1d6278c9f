"""Bounds hold where they can be checked, and give the numbers of their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnn_train import AssemblyError, layered_network, spins_needed
from qnn_train.program.bounds import (
    machine_time,
    mean_oracle_error,
    repetitions,
    rounding_error,
    spline_error,
    two_sided_encoding,
    two_sided_spins,
)
from qnn_train.solve import ExhaustiveOracle


@pytest.mark.parametrize(
    ("sizes", "parameters", "each"),
    [((4, 2, 1), 13, 27), ((9, 3, 1), 34, 45), ((16, 4, 1), 73, 65)],
)
def test_slack_on_both_sides_gives_its_known_numbers(sizes, parameters, each):
    assert two_sided_spins(sizes, 0) == parameters
    assert two_sided_spins(sizes, 7) == parameters + 7 * each


@pytest.mark.parametrize("sizes", [(4, 2, 1), (9, 3, 1), (16, 4, 1), (5, 4, 3, 1)])
def test_our_program_takes_fewer_spins_than_slack_on_both_sides(sizes):
    inputs = np.random.default_rng(0).choice([-1, 1], (6, sizes[0]))
    ours = spins_needed(layered_network(sizes, weights="binary", biases="1bit"), inputs)
    assert ours < two_sided_spins(sizes, 6)


def test_the_sum_over_layers_takes_words_and_factors_of_any_spline():
    expected = 3 * (2 * 2 + 1) + 2 * (3 * 2 + 1) + 5 * (3 * 7 + 2 * 4 + 2 * 3 * 2 * 3)
    assert (
        two_sided_spins((2, 3, 2), 5, weight_bits=2, bias_bits=1, encodings=(7, 4), factors=(3,))
        == expected
    )
    assert two_sided_encoding(5) == 1 + 2 * 4


@given(st.integers(2, 10), st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_the_answer_for_a_rounded_gradient_is_within_the_bound(bits, n, seed):
    rng = np.random.default_rng(seed)
    G = rng.normal(size=(n + 1, n + 1))
    G = G + G.T
    step = np.abs(G).max() / (2 ** (bits - 1) - 1)
    rounded = step * np.rint(G / step)
    best = ExhaustiveOracle().minimize(G).values[0]
    w = np.array([1, *ExhaustiveOracle().minimize(rounded).best])
    assert w @ G @ w - best <= rounding_error(n + 1, np.abs(G).max(), bits)


def test_early_oracle_errors_are_forgotten():
    assert mean_oracle_error(np.full(40, 0.3)) == pytest.approx(0.3)
    assert mean_oracle_error([1.0, 0, 0, 0]) == pytest.approx(2 / (4 * 5))


def failed(success: list[float], shots: int) -> float:
    """The probability that any call fails, multiplied out."""
    return 1 - math.prod(1 - (1 - q) ** shots for q in success)


@pytest.mark.parametrize("calls", [[0.05] * 25, [0.5] * 200, [0.999] * 3, [0.9, 0.02, 0.5]])
def test_repetitions_leave_no_more_than_the_allowed_failures(calls):
    shots = repetitions(calls, 0.01, len(calls))
    assert failed(calls, round(shots)) <= 0.01 < failed(calls, round(shots) - 1)
    smallest = repetitions(min(calls), 0.01, len(calls))
    assert shots <= smallest <= math.ceil(math.log(0.01 / len(calls)) / math.log1p(-min(calls)))


def test_a_mean_success_promises_too_much():
    calls = [1.0] * 29 + [0.01]
    assert failed(calls, round(repetitions(np.mean(calls), 0.01, 30))) > 0.9
    assert failed(calls, round(repetitions(calls, 0.01, 30))) <= 0.01
    assert repetitions([1.0] * 29 + [0.0], 0.01, 30) == math.inf
    assert repetitions(1.0, 0.01, 25) == 1


def test_time_to_solution_is_calls_times_shots_and_overhead():
    shots = repetitions(0.3, 0.01, 20)
    seconds = machine_time(20, success=0.3, failure=0.01, shot_s=2e-4, overhead_s=0.01)
    assert seconds == pytest.approx(20 * (shots * 2e-4 + 0.01))


def test_numbers_outside_their_range_are_refused():
    with pytest.raises(AssemblyError):
        spline_error(0.1, 1.0, degree=2)
    with pytest.raises(AssemblyError):
        rounding_error(4, 1.0, 1)
    for wrong in ((-0.1, 0.1, 5), (0.5, 1.0, 5), (0.5, 0.1, 0), ([0.5, 0.5], 0.1, 3)):
        with pytest.raises(AssemblyError):
            repetitions(*wrong)
