"""Bounds hold where they can be checked, and give the numbers of their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnn_train import (
    AssemblyError,
    QuantizedNetwork,
    SquaredLoss,
    ZeroOneLoss,
    assemble,
    layered_network,
    majority_network,
    spins_needed,
    weight_code,
)
from qnn_train.program.bounds import (
    excess_risk,
    guaranteed_spins,
    machine_time,
    mean_oracle_error,
    repetitions,
    rounding_error,
    samples_needed,
    spline_error,
    success_needed,
    two_sided_encoding,
    two_sided_spins,
)
from qnn_train.solve import ExhaustiveOracle, exhaustive


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


@given(st.integers(1, 400), st.floats(0.001, 0.5), st.integers(1, 300))
def test_the_success_that_is_needed_is_just_enough(shots, failure, calls):
    needed = success_needed(shots, failure, calls)
    assert failed([needed] * calls, shots) == pytest.approx(failure, rel=1e-6)
    assert repetitions(min(1.0, needed * (1 + 1e-9)), failure, calls) <= shots
    if needed < 1:
        assert repetitions(needed * 0.999, failure, calls) >= shots


def test_time_to_solution_is_calls_times_shots_and_overhead():
    shots = repetitions(0.3, 0.01, 20)
    seconds = machine_time(20, success=0.3, failure=0.01, shot_s=2e-4, overhead_s=0.01)
    assert seconds == pytest.approx(20 * (shots * 2e-4 + 0.01))


def test_numbers_outside_their_range_are_refused():
    with pytest.raises(AssemblyError):
        spline_error(0.1, 1.0, degree=2)
    with pytest.raises(AssemblyError):
        rounding_error(4, 1.0, 1)
    with pytest.raises(AssemblyError):
        success_needed(0, 0.1, 3)
    for wrong in ((-0.1, 0.1, 5), (0.5, 1.0, 5), (0.5, 0.1, 0), ([0.5, 0.5], 0.1, 3)):
        with pytest.raises(AssemblyError):
            repetitions(*wrong)


UNIT = layered_network((2, 1), biases="1bit")
EVERY_INPUT = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
MEAN_LABELS = np.array([0.02, -0.02, 0.03, 0.1])  # hardly anything to learn, much to be misled by


def every_network() -> QuantizedNetwork:
    words = (np.arange(2**UNIT.n_bits)[:, None] >> np.arange(UNIT.n_bits)) & 1
    return QuantizedNetwork.from_bits(UNIT, words)


def losses_of_networks() -> np.ndarray:
    """The zero-one loss of each network (8) at each input (4) and label (2), -1 first."""
    wrong = every_network().predict(EVERY_INPUT)[..., None] != np.array([-1, 1])
    return wrong.astype(float)


def excess_of_the_worst(rng, n_samples: int, draws: int, *, gap: float, loss_error: float):
    """Excess risks of the worst network that `gap` allows, trained with losses off by an error."""
    chances = np.stack([1 - MEAN_LABELS, 1 + MEAN_LABELS], axis=-1).ravel() / 8
    losses = losses_of_networks().reshape(8, -1)
    risks = losses @ chances
    counts = rng.multinomial(n_samples, chances, size=draws)
    wrong = losses + loss_error * rng.choice([-1, 1], (draws, *losses.shape))
    trained = np.einsum("dhx,dx->dh", wrong, counts)
    allowed = trained <= trained.min(axis=1, keepdims=True) + gap
    return np.where(allowed, risks, -np.inf).max(axis=1) - risks.min()


ERRORS = [(20, 0, 0), (200, 0, 0), (60, 3, 0.05)]


@pytest.mark.parametrize(("n_samples", "gap", "loss_error"), ERRORS)
def test_a_trained_network_loses_more_than_the_bound_at_most_as_often_as_said(
    n_samples, gap, loss_error
):
    rng, failure = np.random.default_rng(n_samples), 0.2
    excess = excess_of_the_worst(rng, n_samples, 4000, gap=gap, loss_error=loss_error)
    options = {"gap": gap, "loss_error": loss_error}
    bound = excess_risk(UNIT.n_bits, n_samples, failure=failure, **options)
    assert (excess > bound).mean() <= failure


def test_without_the_term_of_chance_the_promise_is_broken():
    excess = excess_of_the_worst(np.random.default_rng(0), 20, 4000, gap=0, loss_error=0)
    bound = excess_risk(UNIT.n_bits, 20, failure=0.2)
    assert (excess > bound / 60).mean() > 0.2


def test_the_spins_of_a_guarantee_are_those_of_its_program():
    samples = samples_needed(UNIT.n_bits, excess=0.9, failure=0.5)
    which = np.random.default_rng(0).integers(0, 4, samples)
    inputs, labels = EVERY_INPUT[which], np.where(which > 1, 1, -1)
    each = spins_needed(UNIT, EVERY_INPUT[:1], [1], loss=ZeroOneLoss()) - UNIT.n_bits
    assembly = assemble(UNIT, inputs, labels, loss=ZeroOneLoss())
    assert assembly.qcbo.n_bits == guaranteed_spins(UNIT.n_bits, each, excess=0.9, failure=0.5)
    assert excess_risk(UNIT.n_bits, samples, failure=0.5) <= 0.9
    assert excess_risk(UNIT.n_bits, samples - 1, failure=0.5) > 0.9


def test_the_network_of_the_headline_is_far_from_a_guarantee():
    network = majority_network(16, 3, weights=weight_code("binary"), bias_bits=2)
    sample = np.random.default_rng(0).choice([-1, 1], (1, 16))
    each = spins_needed(network, sample) - network.n_bits
    assert (network.n_bits, each) == (54, 15)
    assert samples_needed(54, excess=0.1, failure=0.05) == 8086
    assert guaranteed_spins(54, each, excess=0.1, failure=0.05) == 121344
    assert excess_risk(54, 20, failure=0.05) > 2


def test_the_exact_minimum_of_a_program_is_within_the_bound():
    """A program of sampled inputs, minimized by trying all; R is known."""
    rng, n_samples, failure = np.random.default_rng(3), 12, 0.1
    wanted = np.array([1, 1, -1, 1])
    losses = (every_network().margin(EVERY_INPUT) - 2 * wanted) ** 2
    largest, bound = losses.max() - losses.min(), []
    for _ in range(20):
        which = rng.integers(0, 4, n_samples)
        program = assemble(UNIT, EVERY_INPUT[which], wanted[which], loss=SquaredLoss(2.0)).qcbo
        found = QuantizedNetwork.from_bits(UNIT, exhaustive(program).bits[: UNIT.n_bits])
        risk = ((found.margin(EVERY_INPUT) - 2 * wanted) ** 2).mean()
        bound.append(risk - losses.mean(axis=1).min())
    allowed = excess_risk(UNIT.n_bits, n_samples, failure=failure, loss_range=float(largest))
    assert np.mean(np.array(bound) > allowed) <= failure


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: excess_risk(3, 0, failure=0.1),
        lambda: excess_risk(3, 5, failure=0.0),
        lambda: excess_risk(3, 5, failure=0.1, gap=-1.0),
        lambda: samples_needed(3, excess=0.0, failure=0.1),
        lambda: samples_needed(-1, excess=0.1, failure=0.1),
        lambda: guaranteed_spins(3, -1, excess=0.1, failure=0.1),
    ],
)
def test_a_guarantee_of_nothing_is_refused(wrong):
    with pytest.raises(AssemblyError):
        wrong()
