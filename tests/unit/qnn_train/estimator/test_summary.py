"""What an estimator says of its networks: bits, costs, ties."""

from __future__ import annotations

import numpy as np
import pytest
from quick_estimators import classifier


def test_the_cost_said_before_is_the_cost_paid(iris):
    estimator = classifier(block_spins=24, hidden=4)
    cost = estimator.estimate_cost(*iris)
    summary = estimator.fit(*iris).summary_
    assert cost.blocks > 2
    assert (cost.calls, cost.runs, cost.spins) == (summary.calls, summary.runs, summary.spins)
    assert cost.bits_per_parameter == summary.bits_per_parameter


def test_each_network_that_votes_counts_its_bits(iris, three):
    architecture = three.model_.networks.architecture
    assert three.n_votes_ == 2
    assert three.summary_.n_bits == 2 * architecture.n_bits
    assert three.summary_.bits_per_parameter == 2 * architecture.bits_per_parameter
    assert "2 networks, " in str(three.summary_)
    alone = [three.model_.networks[index] for index in range(2)]
    inputs = three.model_.grid.transform(iris[0])
    added = sum(network.margin(inputs) for network in alone)
    assert np.array_equal(added, three.decision_function(iris[0]))


def test_ties_are_counted_and_compared(iris, three):
    report = three.tie_report(*iris, tolerance=10.0)
    assert report.n_behaviours <= report.n_networks == len(report.scores)
    assert 2 <= report.n_networks <= 6
    assert report.best_loss == min(each.train_loss for each in three.found_)
    assert three.tie_report(*iris, tolerance=0.0).spread == 0
    assert str(report.n_networks) in str(report)


def test_ties_on_labels_that_were_never_seen_are_refused(iris, three):
    with pytest.raises(ValueError, match="labels other than"):
        three.tie_report(iris[0], iris[1] + 1)
