"""Scores of networks, and the best of the candidates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnn_train import (
    QuantizedNetwork,
    Scorer,
    TrainingError,
    layered_network,
    majority_network,
    one_against_rest,
    threshold_unit,
    weight_code,
)
from qnn_train.solve import Extractor

seeds = st.integers(0, 2**32 - 1)


@given(seeds)
def test_scores_are_those_of_the_network_on_every_image(seed):
    rng = np.random.default_rng(seed)
    votes = majority_network(3, 3, weights=weight_code("binary"), bias_bits=1)
    inputs, labels = rng.choice([-1, 1], (40, 3)), rng.choice([-1, 1], 40)
    networks = QuantizedNetwork.from_bits(votes, rng.integers(0, 2, (5, votes.n_bits)))
    accuracy, losses = Scorer(inputs, labels).score(networks)
    np.testing.assert_allclose(accuracy, (networks.predict(inputs) == labels).mean(axis=1))
    for candidate in range(5):
        sums = networks[candidate].forward(inputs)[-1]
        wrong, u = (sums >= 0) != (labels > 0)[:, None], sums.mean(axis=1)
        kappa = max(u @ labels / max(u @ u, 1e-300), 0.0)
        expected = wrong.mean(), np.mean((kappa * u - labels) ** 2)
        assert losses[candidate] == pytest.approx(expected, abs=1e-6)


@given(seeds)
def test_of_several_outputs_the_largest_counts_and_losses_are_one_against_the_rest(seed):
    rng = np.random.default_rng(seed)
    network = layered_network((3, 3), weights="2bit", biases="1bit")
    inputs, classes = rng.choice([-1, 1], (40, 3)), rng.integers(0, 3, 40)
    labels = one_against_rest(classes, 3)
    networks = QuantizedNetwork.from_bits(network, rng.integers(0, 2, (5, network.n_bits)))
    accuracy, losses = Scorer(inputs, labels).score(networks)
    np.testing.assert_allclose(accuracy, (networks.predict(inputs) == classes).mean(axis=1))
    for candidate in range(5):
        margins = networks[candidate].margin(inputs)
        wrong = ((margins >= 0) != (labels > 0)).mean()
        analog = 0.0
        for u, y in zip(margins.T, labels.T, strict=True):
            kappa = max(u @ y / max(u @ u, 1e-300), 0.0)
            analog += np.mean((kappa * u - y) ** 2) / 3
        assert losses[candidate] == pytest.approx((wrong, analog), abs=1e-6)


def test_labels_and_networks_of_different_numbers_of_outputs_are_refused():
    network = QuantizedNetwork.from_bits(layered_network((2, 3)), np.zeros(6))
    with pytest.raises(TrainingError, match="labels of 1 outputs"):
        Scorer([[1, 1]], [1]).score(network)


def test_among_equally_accurate_networks_the_unanimous_one_is_kept():
    votes = majority_network(1, 3, weights=weight_code("binary"), bias_bits=0)
    extractor = Extractor(votes, Scorer([[1], [-1]], [1, -1]))
    extractor.add(np.array([[1, 1, 0], [0, 1, 1]], dtype=np.int8))
    best = extractor.add(np.array([[1, 1, 1], [1, 0, 1]], dtype=np.int8))
    np.testing.assert_array_equal(best.network.weights[0].ravel(), [1, 1, 1])
    assert best.losses == pytest.approx((0.0, 0.0))


def test_the_best_candidate_is_kept_and_each_counts_once():
    unit = threshold_unit(2, weights=weight_code("binary"), bias_bits=0)
    extractor = Extractor(unit, Scorer([[1, 1], [-1, -1], [1, 1]], [1, -1, 1]))
    bad = extractor.add(np.array([[0, 0]], dtype=np.int8))
    good = extractor.add(np.array([[1, 1], [0, 0]], dtype=np.int8))
    kept = extractor.add(np.array([[0, 1]], dtype=np.int8))
    assert bad.accuracy < good.accuracy == 1.0
    assert kept is good
    assert extractor.n_candidates == 3
