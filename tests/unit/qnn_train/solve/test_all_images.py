"""Conditional gradients with all images: both blocks of the oracle are exact, and they learn."""

from __future__ import annotations

from itertools import islice, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn_train import (
    ExhaustiveOracle,
    Scorer,
    SquaredLoss,
    TrainingError,
    majority_network,
    threshold_unit,
    weight_code,
)
from qnn_train.network import Architecture, QuantizedNetwork, layered_network
from qnn_train.solve import all_images_gradient
from qnn_train.solve.all_images import _Program, _side_by_side

seeds = st.integers(0, 2**32 - 1)
VOTE = majority_network(2, 3, weights=weight_code("ternary"), bias_bits=1)


def drawn(
    seed: int, architecture: Architecture = VOTE, n_images: int = 12
) -> tuple[_Program, np.random.Generator]:
    rng = np.random.default_rng(seed)
    inputs = rng.integers(-3, 4, (n_images, architecture.n_inputs))
    labels = rng.choice([-1, 1], n_images)
    return _Program.of(architecture, inputs, labels, SquaredLoss(3), 0.7), rng


def learnable(n_images: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    inputs = rng.integers(-3, 4, (n_images, 4))
    return inputs, np.where(inputs @ [1, -1, 1, 1] + 1 >= 0, 1, -1)


def steps(oracle=None, *, labels=None, count=6, **options):
    inputs, right = learnable()
    unit = majority_network(4, 1, weights=weight_code("binary"), bias_bits=1)
    found = all_images_gradient(
        unit,
        inputs,
        right if labels is None else labels,
        oracle or ExhaustiveOracle(n_samples=4),
        loss=SquaredLoss(1),
        **options,
    )
    return unit, list(islice(found, count))


@given(seeds)
@settings(max_examples=20)
def test_sums_are_those_of_the_network_in_one_unit(seed):
    rng = np.random.default_rng(seed)
    inputs = rng.integers(-3, 4, (12, 2))
    program = _Program.of(VOTE, inputs, np.ones(12), SquaredLoss(3), 1.0)
    bits = rng.integers(0, 2, VOTE.n_bits).astype(np.int8)
    exact = QuantizedNetwork.from_bits(VOTE, bits).forward(inputs)[0].T
    sums = program.sums(bits)
    unit = np.abs(exact).max() / np.abs(sums).max()
    np.testing.assert_allclose(unit * sums, exact, atol=1e-9)


@given(seeds)
@settings(max_examples=20)
def test_the_host_finds_the_best_sides_and_slack_of_every_image(seed):
    program, rng = drawn(seed)
    bits = rng.integers(0, 2, VOTE.n_bits).astype(np.int8)
    sums, weights = program.sums(bits), rng.random((3, 12))
    slack, losses = program.slack(sums, weights)
    cost = losses + (weights * (sums - slack) ** 2).sum(axis=0)
    places = np.linspace(program.margin, 5.0, 200)
    for votes, of_votes in zip(program.sides, program.losses, strict=True):
        away = np.array([np.abs(sums - vote * place) for vote, place in product([-1, 1], places)])
        away = away.reshape(2, len(places), *sums.shape).min(axis=1)
        nearest = away[(votes > 0).astype(int), np.arange(3)]
        assert (cost <= of_votes + (weights * nearest**2).sum(axis=0) + 1e-9).all()
    assert (np.abs(slack) >= program.margin).all()


@given(seeds)
@settings(max_examples=20)
def test_the_machine_is_given_what_constraints_cost_with_the_slack_held(seed):
    program, rng = drawn(seed)
    slack, weights = rng.normal(size=(3, 12)), rng.random((3, 12))
    forms = [program._form(*pair) for pair in zip(slack, weights, strict=True)]
    assert all(np.abs(form[:, 1:]).max() == 1.0 for form in forms)
    several = rng.integers(0, 2, (5, VOTE.n_bits)).astype(np.int8)
    for form, places, t, v in zip(forms, program.places, slack, weights, strict=True):
        w = np.hstack([np.ones((5, 1)), several[:, places]])
        costs = ((several[:, places] @ program.slopes.T + program.offsets - t) ** 2) @ v
        values = np.einsum("si,ij,sj->s", w, form, w)
        np.testing.assert_allclose(values * costs[0], costs * values[0], rtol=1e-9)
    whole = np.hstack([np.ones((5, 1)), several])
    together = np.einsum("si,ij,sj->s", whole, _side_by_side(forms, program.places), whole)
    parts = np.zeros(5)
    for form, places in zip(forms, program.places, strict=True):
        w = np.hstack([np.ones((5, 1)), several[:, places]])
        parts += np.einsum("si,ij,sj->s", w, form, w)
    np.testing.assert_allclose(together, parts, rtol=1e-9)


@pytest.mark.parametrize("rule", ["multipliers", "penalty"])
def test_it_finds_the_network_that_made_the_labels(rule):
    unit, made = steps(rule=rule)
    scorer = Scorer(*learnable())
    networks = QuantizedNetwork.from_bits(unit, np.concatenate([one.bits for one in made]))
    assert scorer.best(networks)[1].accuracy == 1.0
    assert [one.calls for one in made] == [1, 2, 3, 4, 5, 6]


def test_images_that_stay_on_the_wrong_side_weigh_more():
    _, labels = learnable()
    labels[7] *= -1  # no network gets it right beside all others
    _, made = steps(labels=labels, count=10)
    dual = made[-1].state.dual[0]
    assert dual[7] == dual.max() > 2 * np.median(dual)


def test_it_goes_on_where_it_was():
    _, through = steps(seed=5)
    _, again = steps(seed=5, state=through[2].state, count=3)
    for one, other in zip(through[3:], again, strict=True):
        np.testing.assert_array_equal(one.bits, other.bits)
        np.testing.assert_array_equal(one.state.dual, other.state.dual)


@pytest.mark.parametrize(
    "architecture",
    [
        layered_network((2, 3, 1)),
        majority_network(2, 11, weights=weight_code("binary"), bias_bits=1),
        threshold_unit(2, weights=weight_code("codebook(-3,0,1)"), bias_bits=1),
    ],
)
def test_other_networks_are_refused(architecture):
    inputs, labels = np.ones((4, 2), int), np.ones(4, int)
    with pytest.raises(TrainingError, match="one layer of sign neurons"):
        next(
            all_images_gradient(
                architecture, inputs, labels, ExhaustiveOracle(), loss=SquaredLoss(1)
            )
        )
    with pytest.raises(TrainingError, match="margin -1"):
        next(
            all_images_gradient(
                VOTE, inputs, labels, ExhaustiveOracle(), loss=SquaredLoss(1), margin=-1.0
            )
        )
