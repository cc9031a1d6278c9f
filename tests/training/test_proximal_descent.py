"""Training on all images without slack bits, block by block."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from cim_hal import open_device
from qnn_train import load_digits, weight_code
from qnn_train.network import QuantizedNetwork, majority_network
from qnn_train.solve import (
    AnnealingOracle,
    DescentOracle,
    ExhaustiveOracle,
    PolishedOracle,
    ProximalState,
    RandomOracle,
    SessionOracle,
    proximal_descent,
)


@pytest.fixture(scope="module")
def teacher():
    """A small network, and what it says of every pattern of 6 bits."""
    architecture = majority_network(6, 1, weights=weight_code("binary"), bias_bits=1)
    bits = np.random.default_rng(4).integers(0, 2, architecture.n_bits).astype(np.int8)
    patterns = 2 * ((np.arange(64)[:, None] >> np.arange(6)) & 1) - 1
    return architecture, patterns, QuantizedNetwork.from_bits(architecture, bits).predict(patterns)


def accuracy(architecture, bits, inputs, labels):
    network = QuantizedNetwork.from_bits(architecture, bits)
    return float(np.mean(np.ravel(network.predict(inputs)) == labels))


def test_a_student_learns_all_its_teacher_says(teacher):
    architecture, patterns, labels = teacher
    oracle = ExhaustiveOracle(n_samples=8)
    steps = proximal_descent(architecture, patterns, labels, oracle, seed=1)
    found = [step.state.bits for step in islice(steps, 10)]
    assert max(accuracy(architecture, bits, patterns, labels) for bits in found) == 1.0


def test_a_step_never_raises_the_loss_of_its_batch(teacher):
    architecture, patterns, labels = teacher
    oracle = ExhaustiveOracle(n_samples=4)
    for step in islice(proximal_descent(architecture, patterns, labels, oracle, seed=2), 10):
        assert step.loss <= step.before


def test_a_descent_that_was_stopped_goes_on_as_if_it_had_not_been(teacher):
    architecture, patterns, labels = teacher

    def descend(state: ProximalState | None = None):
        oracle = ExhaustiveOracle(n_samples=4)
        return proximal_descent(architecture, patterns, labels, oracle, seed=3, state=state)

    whole = [step.state for step in islice(descend(), 6)]
    rest = [step.state for step in islice(descend(whole[2]), 3)]
    for uninterrupted, resumed in zip(whole[3:], rest, strict=True):
        assert uninterrupted.step == resumed.step
        assert uninterrupted.scale == resumed.scale
        assert np.array_equal(uninterrupted.bits, resumed.bits)


@pytest.mark.slow
def test_a_machine_and_its_controls_train_on_all_images_of_a_pair():
    pair = load_digits().pair(3, 6)
    pixels = pair.train.images.reshape(len(pair.train), -1).astype(np.int64) - 8
    architecture = majority_network(64, 3, weights=weight_code("binary"), bias_bits=2)
    found = {}
    with open_device("emulator-dsb") as session:
        oracles = {
            "machine": SessionOracle(session, n_runs=16, seed=0),
            "polished": PolishedOracle(SessionOracle(session, n_runs=16, seed=0)),
            "descent": DescentOracle(16, seed=0),
            "annealing": AnnealingOracle(16, seed=0),
            "random": RandomOracle(16, seed=0),
        }
        for name, oracle in oracles.items():
            steps = proximal_descent(
                architecture, pixels, pair.train.labels, oracle, seed=0, block_spins=256
            )
            last = list(islice(steps, 3))[-1]
            bits = last.state.bits
            found[name] = accuracy(architecture, bits, pixels, pair.train.labels)
    print(found)  # what the machine adds is the difference to its controls
    assert min(found[name] for name in found.keys() - {"random"}) > 0.95
    assert found["random"] < min(found["descent"], found["polished"])
