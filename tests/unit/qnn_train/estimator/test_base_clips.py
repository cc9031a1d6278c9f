"""Clips that starts take in turn: which is chosen, which vote, and going on."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import make_circles

from qnn_train import QuantizedNetworkClassifier

X, Y = make_circles(120, noise=0.05, factor=0.5, random_state=1)
CLIPS = (4.0, 0.5)
QUICK = {"sweeps": 3, "n_runs": 4, "starts": 4, "oracle": "descent", "pretraining": 0}


def fitted(**changes):
    options = QUICK | {"random_state": 1} | changes
    return QuantizedNetworkClassifier(clip=CLIPS, **options).fit(X, Y)


def limit(network):
    """Where a hard tanh saturates."""
    return network.architecture.hidden[0].activation.knots[-1]


@pytest.fixture(scope="module")
def network():
    return fitted()


def test_starts_take_them_in_turn(network):
    limits = [limit(found.network) for found in network.found_]
    smooth, bent = limits[0], limits[3]
    assert smooth == pytest.approx(8 * bent, rel=0.05)
    assert limits == 3 * [smooth] + 3 * [bent] + 3 * [smooth] + 3 * [bent]


def test_a_later_clip_is_taken_where_it_gains(network):
    smooth, bent = (limit(network.found_[sweep].network) for sweep in (0, 3))
    assert limit(network.model_.networks) == bent  # a line knows nothing of circles
    assert limit(fitted(clip_gain=0.99).model_.networks) == smooth


def test_networks_that_vote_have_one_clip():
    voting = fitted(vote=4)
    assert voting.n_votes_ > 1
    best = min(voting.found_, key=lambda each: each.objective)
    assert voting.model_.networks.architecture == best.network.architecture


def test_a_checkpoint_between_clips_goes_on(network, tmp_path):
    file = tmp_path / "here.npz"
    fitted(checkpoint=file, callbacks=[lambda told: told.sweep == 4])
    again = fitted(checkpoint=file)
    assert again.history_ == network.history_
    assert np.array_equal(again.decision_function(X), network.decision_function(X))


def test_a_loss_of_nothing_ends_the_training():
    line = fitted(tolerance=0.1).fit(X, X[:, 0] > 0)
    assert line.history_[-1].objective < 0.1
    assert line.history_[-1].sweep < 4 * 3
