"""The straight-through estimator: finds what exhaustion finds, in the codes it was given."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from qnn_train.network import Architecture, Layer, QuantizedNetwork, bias_code, weight_code
from qnn_train.network.spline import Spline
from qnn_train.solve.losses import CrossEntropy, SquaredError
from qnn_train.solve.straight_through import straight_through


def network_of(activation, readout="trained"):
    hidden = Layer(2, 2, weight_code("ternary"), bias_code(1), activation)
    last = Layer(2, 1, weight_code("binary"), bias_code(1)) if readout == "trained" else None
    return Architecture((hidden,), last)


def losses_of_all(architecture, inputs, labels, loss):
    """Return the loss of every network there is, each on the best of many scales."""
    words = np.array(list(product((0, 1), repeat=architecture.n_bits)), np.int8)
    targets = loss.targets_of(labels, 1)
    margins = QuantizedNetwork.from_bits(architecture, words).margin(inputs)[..., None]
    scales = np.geomspace(1e-3, 10, 40) if isinstance(loss, CrossEntropy) else [1.0]
    every, which = np.unique(margins.astype(np.float32), axis=0, return_inverse=True)
    least = np.array([min(loss.mean(each, targets, scale) for scale in scales) for each in every])
    return least[which.reshape(-1)]


@pytest.mark.parametrize(
    "architecture",
    [
        network_of(Spline.relu()),
        *(
            pytest.param(network_of(activation, **more), marks=pytest.mark.slow)
            for activation, more in (
                (Spline.sign(), {}),
                (Spline.hard_tanh(4), {}),
                (Spline.hard_tanh(4), {"readout": "vote"}),
            )
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("loss", [CrossEntropy(), SquaredError()])
def test_the_best_of_four_starts_is_among_the_best_hundredth_of_all_networks(architecture, loss):
    rng = np.random.default_rng(5)
    inputs = rng.integers(-5, 6, (40, 2))
    labels = np.where(inputs[:, 0] + np.abs(inputs[:, 1]) > 2, 1, -1)
    if isinstance(loss, SquaredError):
        labels = labels[:, None].astype(float)
    starts = [
        straight_through(architecture, inputs, labels, loss=loss, seed=seed, steps=300)
        for seed in range(4)
    ]
    network, found = min(starts, key=lambda each: each[1])
    assert (losses_of_all(architecture, inputs, labels, loss) < found - 1e-6).mean() < 0.01
    if isinstance(loss, CrossEntropy):
        assert max(each for _, each in starts) < 0.6  # none has stayed at log 2, knowing nothing
    again = QuantizedNetwork.from_bits(architecture, network.to_bits())  # refuses other values
    assert (again.weights[0] == network.weights[0]).all()


def test_several_classes_and_the_same_seed():
    rng = np.random.default_rng(1)
    centres = np.array([[8, 0], [-8, 8], [-8, -8]])
    labels = rng.integers(0, 3, 90)
    inputs = centres[labels] + rng.integers(-2, 3, (90, 2))
    layers = Layer(2, 4, weight_code("binary"), bias_code(2), Spline.hard_tanh(10))
    architecture = Architecture((layers,), Layer(4, 3, weight_code("binary"), bias_code(2)))
    one, two = (
        straight_through(architecture, inputs, labels, loss=CrossEntropy(), seed=3, steps=200)
        for _ in range(2)
    )
    assert one[1] == two[1]
    assert (one[0].to_bits() == two[0].to_bits()).all()
    assert (one[0].predict(inputs) == labels).mean() > 0.9


def test_a_sample_counts_by_its_weight():
    rng = np.random.default_rng(2)
    inputs = rng.integers(-5, 6, (60, 2))
    labels = np.where(inputs[:, 0] > 0, 1, -1)
    labels[:30] = -labels[:30]  # half of them say the opposite
    weights = np.where(np.arange(60) < 30, 0.02, 1.0)
    architecture = network_of(Spline.hard_tanh(4))
    found = {}
    for name, counts in (("first", weights[::-1].copy()), ("last", weights)):
        options = {"loss": CrossEntropy(), "seed": 1, "steps": 400}
        network, _ = straight_through(architecture, inputs, labels, weights=counts, **options)
        agree = np.where(network.margin(inputs) > 0, 1, -1) == labels
        found[name] = agree[:30].mean(), agree[30:].mean()
    assert found["first"][0] > 0.9
    assert found["last"][1] > 0.9
    third = straight_through(architecture, inputs, labels, weights=np.full(60, 3.0), **options)
    assert third[1] == pytest.approx(
        straight_through(architecture, inputs, labels, **options)[1], abs=0.05
    )
