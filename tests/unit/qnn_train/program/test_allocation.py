"""Bits for each tensor, within a budget of spins, of program bits or of storage."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from qnn_train import (
    Architecture,
    AssemblyError,
    QuantizedNetwork,
    Spline,
    allocate_bits,
    layered_network,
    spins_needed,
)

INPUTS = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
WANTED = np.array([0, 4, -3, 5])


def build(codes: tuple[str, ...]) -> Architecture:
    """Weights of two layers, then the hidden biases."""
    biases = (codes[2], "none")
    return layered_network((2, 2, 1), weights=codes[:2], biases=biases, activation=Spline.relu())


def lowest_loss(architecture: Architecture) -> float:
    """Minus the least squared loss of all networks, by brute force."""
    bits = (np.arange(2**architecture.n_bits)[:, None] >> np.arange(architecture.n_bits)) & 1
    margins = QuantizedNetwork.from_bits(architecture, bits).margin(INPUTS)
    return -float(((margins - WANTED) ** 2).sum(axis=-1).min())


CHOICES = [("binary", "ternary", "2bit"), ("binary", "ternary", "2bit"), ("none", "1bit")]


@pytest.mark.parametrize(
    ("cost", "budget"),
    [
        (lambda network: network.n_bits, 11),
        (lambda network: network.storage_bits, 11),
        (lambda network: spins_needed(network, INPUTS), 50),
    ],
    ids=["bits", "storage", "spins"],
)
def test_the_best_allocation_within_the_budget_is_found_by_trying_all(cost, budget):
    found = allocate_bits(build, CHOICES, score=lowest_loss, cost=cost, budget=budget)
    every = [build(codes) for codes in product(*CHOICES)]
    affordable = [network for network in every if cost(network) <= budget]
    assert 0 < len(affordable) < len(every)
    assert found.score == max(map(lowest_loss, affordable))
    assert found.cost == cost(found.architecture) <= budget
    assert found.architecture == build(found.codes)
    assert found.scored == len(affordable)


def test_the_greedy_way_only_moves_up_and_stays_within_the_budget():
    scored = []

    def score(network: Architecture) -> float:
        scored.append(network)
        return lowest_loss(network)

    found = allocate_bits(
        build, CHOICES, score=score, cost=lambda a: a.n_bits, budget=11, max_exhaustive=1
    )
    first = build(tuple(codes[0] for codes in CHOICES))
    assert found.score > lowest_loss(first)
    assert found.cost <= 11
    assert found.scored == len(scored) < 12
    assert len({network.n_bits for network in scored}) > 1


def test_nothing_that_fits_is_said():
    with pytest.raises(AssemblyError, match="at most 3"):
        allocate_bits(build, CHOICES, score=lowest_loss, cost=lambda a: a.n_bits, budget=3)
    with pytest.raises(AssemblyError, match="at most 3"):
        allocate_bits(
            build, CHOICES, score=lowest_loss, cost=lambda a: a.n_bits, budget=3, max_exhaustive=1
        )
    with pytest.raises(AssemblyError, match="without a code"):
        allocate_bits(build, [()], score=lowest_loss, cost=lambda a: a.n_bits, budget=3)
