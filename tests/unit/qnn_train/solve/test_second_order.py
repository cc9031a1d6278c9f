"""The model of the loss: its gradient and curvature are those of the loss where it is smooth."""

from __future__ import annotations

import numpy as np
import pytest
from network_problems import CLASSES, problem

from qnn_train import QuantizedNetwork
from qnn_train.solve import SquaredError
from qnn_train.solve.blocks import block_bits, partition
from qnn_train.solve.forward import ForwardPass, NetworkParameters, candidate_losses, race
from qnn_train.solve.losses import BatchLoss
from qnn_train.solve.second_order import model_of

SCALE, WIDTH, STEP = 0.02, 0.01, 0.25
REALS = SquaredError()


def margins_of(architecture, inputs, bits):
    """The margins of bits that may be real numbers."""
    activation = inputs.astype(np.float64)
    for index, of_weights, of_biases in architecture.split():
        layer = architecture.layers[index]
        words = bits[of_weights].reshape(layer.outputs, layer.inputs, layer.weights.bits)
        weights = words @ np.array(layer.weights.coefficients, float) + layer.weights.offset
        words = bits[of_biases].reshape(layer.outputs, -1)
        biases = words @ np.array(layer.biases.coefficients, float) + layer.biases.offset
        activation = activation @ weights.T + biases
    return activation


def derivatives(function, at):
    """Central differences, exact to second order in the step."""
    n = len(at)
    steps = STEP * 1e-2 * np.eye(n)
    gradient = np.array([function(at + e) - function(at - e) for e in steps]) / (2e-2 * STEP)
    curvature = np.empty((n, n))
    for i, a in enumerate(steps):
        for j, b in enumerate(steps):
            corners = function(at + a + b) - function(at + a - b)
            corners -= function(at - a + b) - function(at - a - b)
            curvature[i, j] = corners / (4 * (1e-2 * STEP) ** 2)
    return gradient, curvature


def half_the_variance(residuals):
    return 0.5 * np.var(residuals, axis=0).sum()


@pytest.mark.parametrize("loss", [CLASSES, REALS])
@pytest.mark.parametrize("reads", [None, 2])
@pytest.mark.parametrize("sizes", [(4, 1), (4, 3), (3, 2, 1), (3, 2, 3), (2, 2, 2, 3)])
def test_the_model_of_a_block_is_taylors_where_activations_are_linear(sizes, reads, loss):
    architecture, inputs, targets, bits = problem(sizes)
    parameters = NetworkParameters.of(QuantizedNetwork.from_bits(architecture, bits))
    run = ForwardPass.of(architecture, parameters, inputs)
    kept = loss.expand(run.margins, targets, SCALE).scale.astype(float)
    for block in partition(architecture, 20, reads=reads):
        chosen = block_bits(architecture, block)
        model = model_of(
            run, parameters, block, chosen, BatchLoss(loss, targets, SCALE), width=WIDTH
        )

        def shifted(x, positions=chosen.positions):
            moved = bits.astype(np.float64)
            moved[positions] = x
            outputs = kept * margins_of(architecture, inputs, moved)
            if loss is REALS:  # an offset of each output is free
                return half_the_variance(outputs - targets)
            return CLASSES.mean(outputs, targets)

        gradient, curvature = derivatives(shifted, bits[chosen.positions].astype(float))
        assert np.allclose(model.gradient, gradient, rtol=1e-3, atol=1e-5)
        assert np.allclose(model.curvature, curvature, rtol=1e-2, atol=2e-4)


def test_the_proximal_term_of_bits_is_linear():
    architecture, inputs, targets, bits = problem((4, 1))
    parameters = NetworkParameters.of(QuantizedNetwork.from_bits(architecture, bits))
    run = ForwardPass.of(architecture, parameters, inputs)
    (block,) = partition(architecture, 20)
    chosen = block_bits(architecture, block)
    model = model_of(
        run, parameters, block, chosen, BatchLoss(CLASSES, targets, SCALE), width=WIDTH
    )
    around = bits[chosen.positions].astype(float)
    G0, G = model.lifted(around, 0.0), model.lifted(around, 0.7)
    assert np.array_equal(G0[1:, 1:], G[1:, 1:])
    values = []
    for x in ((np.arange(2**8)[:, None] >> np.arange(8)) & 1).astype(float):
        moved = np.concatenate([around, around])[: len(around)].copy()
        moved[:8] = x
        lifted = np.concatenate([[1.0], moved])
        distance = 0.5 * np.abs(model.curvature.diagonal()) @ (moved - around) ** 2
        values.append(lifted @ (G - G0) @ lifted - 0.7 * distance)
    assert np.ptp(values) < 1e-9  # one constant for all


@pytest.mark.parametrize("sizes", [(5, 3, 1), (5, 4, 3), (4, 3, 3, 2)])
def test_a_trial_of_a_candidate_is_its_own_forward_pass(sizes):
    architecture, inputs, targets, bits = problem(sizes, limit=15)
    run = ForwardPass.of(
        architecture, NetworkParameters.of(QuantizedNetwork.from_bits(architecture, bits)), inputs
    )
    rng = np.random.default_rng(6)
    for block in partition(architecture, 30):
        positions = block_bits(architecture, block).positions
        candidates = np.repeat(bits[None], 5, axis=0)
        candidates[:, positions] = rng.integers(0, 2, (5, len(positions)))
        losses = candidate_losses(run, bits, block, candidates, BatchLoss(CLASSES, targets, SCALE))
        for candidate, loss in zip(candidates, losses, strict=True):
            margin = QuantizedNetwork.from_bits(architecture, candidate).margin(inputs)
            whole = CLASSES.mean(SCALE * margin.reshape(len(inputs), -1), targets)
            assert loss == pytest.approx(whole, rel=1e-5)


def test_the_winner_of_a_race_is_as_good_as_the_best_of_all():
    architecture, inputs, targets, bits = problem((5, 3, 1), limit=15, samples=4000)
    run = ForwardPass.of(
        architecture, NetworkParameters.of(QuantizedNetwork.from_bits(architecture, bits)), inputs
    )
    block = partition(architecture, 30)[0]
    positions = block_bits(architecture, block).positions
    candidates = np.repeat(bits[None], 60, axis=0)
    rng = np.random.default_rng(6)
    candidates[:, positions] = rng.integers(0, 2, (60, len(positions)))
    every = candidate_losses(run, bits, block, candidates, BatchLoss(CLASSES, targets, SCALE))
    finalists, losses = race(run, bits, block, candidates, BatchLoss(CLASSES, targets, SCALE))
    assert len(finalists) == 8
    spread = every.std()
    assert losses.min() <= every.min() + 4 * spread / np.sqrt(1000)


def test_trials_of_some_inputs_are_the_exact_forward_pass():
    architecture, inputs, targets, bits = problem((5, 4, 3), limit=6)
    parameters = NetworkParameters.of(QuantizedNetwork.from_bits(architecture, bits))
    run = ForwardPass.of(architecture, parameters, inputs)
    rng = np.random.default_rng(1)
    for block in partition(architecture, 30, rng, reads=2):
        positions = block_bits(architecture, block).positions
        tried = np.repeat(bits[None], 4, axis=0)
        tried[:, positions] ^= rng.integers(0, 2, (4, len(positions))).astype(np.int8)
        margins = QuantizedNetwork.from_bits(architecture, tried).margin(inputs)
        expected = [CLASSES.mean(SCALE * of_one, targets) for of_one in margins]
        losses = candidate_losses(run, bits, block, tried, BatchLoss(CLASSES, targets, SCALE))
        assert losses == pytest.approx(expected, rel=1e-5)
