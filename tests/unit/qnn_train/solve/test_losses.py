"""The losses of a descent: least squares, its optimum of small problems, and the softmax loss."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from qnn_train import ExhaustiveOracle, QuantizedNetwork, Spline, layered_network
from qnn_train.solve import ProximalState, SquaredError, proximal_descent
from qnn_train.solve.losses import CrossEntropy, error_rate, fitted_line

LOSS = SquaredError()


@pytest.fixture
def answers():
    """Margins and targets of two outputs, correlated by about 0.9 and by about 0.2."""
    rng = np.random.default_rng(1)
    margins = rng.integers(-50, 51, (400, 2)).astype(np.float32)
    noise = rng.normal(size=(400, 2)) * (15, 150)
    return margins, LOSS.targets_of(0.02 * (margins + noise) - 3, 2)


def test_the_loss_is_half_of_the_mean_squared_residual_of_least_squares(answers):
    margins, targets = answers
    residuals = 0.0
    scale, offset = fitted_line(margins, targets)
    for k in range(2):
        table = np.column_stack([margins[:, k], np.ones(400)]).astype(float)
        line, (of_output,), *_ = np.linalg.lstsq(table, targets[:, k].astype(float), rcond=None)
        assert (scale[k], offset[k]) == pytest.approx(tuple(line))
        residuals += of_output
    assert LOSS.mean(margins, targets) == pytest.approx(0.5 * residuals / 400)


def test_it_is_taken_at_the_best_scale_but_not_at_a_vanishing_one(answers):
    margins, targets = answers
    best, _ = fitted_line(margins, targets)
    spread = targets.std(axis=0) / margins.std(axis=0)  # the best scale is r of it
    around = LOSS.expand(margins, targets)
    assert best[0] > 0.5 * spread[0]
    assert best[1] < 0.5 * spread[1]
    assert around.scale == pytest.approx([best[0], 0.5 * spread[1]], rel=1e-6)
    assert LOSS.expand(-margins, targets).scale == pytest.approx(-around.scale)
    assert around.gradient.mean(axis=0) == pytest.approx([0, 0], abs=1e-6)  # the offset is free


def test_margins_that_agree_explain_nothing(answers):
    _, targets = answers
    constant = np.full((400, 2), 7, np.float32)
    assert LOSS.mean(constant, targets) == pytest.approx(0.5 * targets.var(axis=0).sum())
    assert fitted_line(constant, targets)[0].tolist() == [0, 0]
    assert np.isfinite(LOSS.expand(constant, targets).gradient).all()


@pytest.mark.parametrize("loss", [LOSS, CrossEntropy()])
def test_a_network_that_answers_all_alike_is_left_at_once(loss):
    architecture = layered_network(
        (3, 2, 1), weights="ternary", biases="1bit", activation=Spline.hard_tanh(12)
    )
    inputs = np.random.default_rng(1).integers(-9, 10, (60, 3))
    labels = np.where(inputs[:, 0] > inputs[:, 1], 1, -1)
    silent = QuantizedNetwork.from_bits(architecture, np.zeros(architecture.n_bits, np.int8))
    weights = (silent.weights[0], np.zeros_like(silent.weights[1]))
    bits = QuantizedNetwork(architecture, weights, silent.biases).to_bits()
    steps = proximal_descent(
        architecture,
        inputs,
        labels,
        ExhaustiveOracle(n_samples=64),
        seed=1,
        loss=loss,
        state=ProximalState(0, bits, 0.0),
    )
    first = next(steps)
    assert first.flips > 0
    assert first.loss < first.before


@pytest.mark.parametrize("sizes", [(5, 1), (3, 2), (3, 2, 1), (2, 2, 2)])
def test_a_descent_finds_the_best_of_all_networks(sizes):
    architecture = layered_network(
        sizes, weights="binary", biases="1bit", activation=Spline.hard_tanh(12)
    )
    n_bits = architecture.n_bits
    every = (np.arange(2**n_bits)[:, None] >> np.arange(n_bits) & 1).astype(np.int8)
    networks = QuantizedNetwork.from_bits(architecture, every)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        inputs = rng.integers(-9, 10, (60, sizes[0]))
        labels = rng.normal(size=(60, sizes[-1])) + 0.2 * inputs[:, : sizes[-1]]
        targets = LOSS.targets_of(labels, sizes[-1])
        margins = networks.margin(inputs).reshape(len(every), 60, -1)
        least = min(LOSS.mean(of_one, targets) for of_one in margins)
        oracle = ExhaustiveOracle(n_samples=64)
        steps = proximal_descent(architecture, inputs, labels, oracle, seed=seed, loss=LOSS)
        found = np.array([step.state.bits for step in islice(steps, 12)])
        margins = QuantizedNetwork.from_bits(architecture, found).margin(inputs)
        reached = min(LOSS.mean(each, targets) for each in margins.reshape(12, 60, -1))
        assert reached == pytest.approx(least, rel=1e-6)


def test_the_mean_loss_is_that_of_the_formula():
    rng = np.random.default_rng(3)
    logits = rng.normal(scale=9, size=(50, 4)).astype(np.float32)
    targets = np.eye(4, dtype=np.float32)[rng.integers(0, 4, 50)]
    exact = logits.astype(np.float64)
    softmax = np.exp(exact) / np.exp(exact).sum(axis=1, keepdims=True)
    expected = -np.log((softmax * targets).sum(axis=1)).mean()
    assert CrossEntropy().mean(logits, targets) == pytest.approx(expected, rel=1e-6)
    one = np.float32([[-90.0], [0.0], [90.0]])
    right = np.float32([[0.0], [0.0], [1.0]])
    assert CrossEntropy().mean(one, right) == pytest.approx(np.log(2) / 3, rel=1e-6)
    assert error_rate(one, right) == 0.0
    assert error_rate(-logits, targets) == (np.argmin(logits, 1) != targets.argmax(1)).mean()
