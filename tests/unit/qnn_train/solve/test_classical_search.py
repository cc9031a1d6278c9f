"""Random networks, and local search by flips."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from qnn_train import (
    QuantizedNetwork,
    Scorer,
    TrainingError,
    majority_network,
    weight_code,
)
from qnn_train.solve import polish, random_search


@pytest.mark.parametrize("flips", [1, 2])
def test_no_neighbour_of_a_polished_network_is_better(flips):
    rng = np.random.default_rng(3)
    network = majority_network(4, 3, weights=weight_code("binary"), bias_bits=1)
    inputs, labels = rng.choice([-1, 1], (40, 4)), rng.choice([-1, 1], 40)
    scorer = Scorer(inputs, labels)
    start = rng.integers(0, 2, network.n_bits).astype(np.int8)
    found = polish(network, scorer, start, flips=flips)
    assert found.after.rank <= found.before.rank
    accuracy, losses = scorer.score(
        QuantizedNetwork.from_bits(network, found.bits ^ np.eye(network.n_bits, dtype=np.int8))
    )
    ranks = np.column_stack([-accuracy, losses]).tolist()
    assert min(map(tuple, ranks)) >= found.after.rank
    neighbours = network.n_bits if flips == 1 else network.n_bits * (network.n_bits + 1) // 2
    assert found.scored == 1 + found.rounds * neighbours


def test_a_polish_by_three_flips_is_refused():
    network = majority_network(1, 1, weights=weight_code("binary"), bias_bits=0)
    with pytest.raises(TrainingError, match="1 or 2"):
        polish(network, Scorer([[1]], [1]), np.zeros(1, np.int8), flips=3)


def test_random_weights_are_the_same_for_the_same_seed_from_any_step():
    through = list(islice(random_search(9, n_samples=5, seed=1), 4))
    again = next(random_search(9, n_samples=5, seed=1, state=through[1].state))
    np.testing.assert_array_equal(again.bits, through[2].bits)
    assert again.bits.shape == (5, 9)
    assert again.calls == 3
