"""Networks in codes of fewer values."""

from __future__ import annotations

import numpy as np
import pytest

from qnn_train.network import (
    Architecture,
    Layer,
    QuantizedNetwork,
    Spline,
    bias_code,
    rounded,
    weight_code,
)

RNG_SEED = 4


def architecture(weights, bias, activation, unit=1):
    code = weight_code(weights)
    hidden = Layer(6, 3, code, bias_code(3).times(unit), activation)
    return Architecture((hidden,), Layer(3, 4, code, bias_code(3).times(bias)))


def random_network(of):
    bits = np.random.default_rng(RNG_SEED).integers(0, 2, of.n_bits)
    return QuantizedNetwork.from_bits(of, bits)


@pytest.mark.parametrize("activation", [Spline.relu(), Spline.leaky_relu(), Spline.sign()])
def test_a_multiple_of_a_coarse_network_becomes_that_network(activation):
    coarse = random_network(architecture("binary", 4, activation))
    fine = architecture("3bit", 4, activation)
    factors = np.array([3, 5, 7])
    is_sign = not any(activation.slopes)
    behind = np.ones(3, int) if is_sign else np.array([1, 1, 1]) * 105 // factors
    network = QuantizedNetwork(
        fine,
        (coarse.weights[0] * factors[:, None], coarse.weights[1] * behind),
        (coarse.biases[0] * factors, coarse.biases[1] * (1 if is_sign else 105)),
    )
    found = rounded(network, coarse.architecture)
    for mine, theirs in zip(found.weights, coarse.weights, strict=True):
        assert np.array_equal(mine, theirs)
    assert np.array_equal(found.biases[1], coarse.biases[1])
    assert np.array_equal(found.biases[0], coarse.biases[0])


def test_where_an_activation_saturates_the_layer_has_one_scale():
    coarse = random_network(architecture("binary", 4, Spline.hard_tanh(5)))
    fine = architecture("3bit", 4, Spline.hard_tanh(35), unit=7)
    network = QuantizedNetwork(
        fine,
        (coarse.weights[0] * 7, coarse.weights[1] * 3),
        (coarse.biases[0] * 7, coarse.biases[1] * 21),
    )
    found = rounded(network, coarse.architecture)
    for mine, theirs in zip(found.weights, coarse.weights, strict=True):
        assert np.array_equal(mine, theirs)
    for mine, theirs in zip(found.biases, coarse.biases, strict=True):
        assert np.array_equal(mine, theirs)


def test_small_weights_become_zero_in_a_ternary_code():
    unit = Architecture((), Layer(5, 1, weight_code("4bit"), bias_code(2)))
    network = QuantizedNetwork(unit, (np.array([[13, -11, 1, -1, 9]]),), (np.array([3]),))
    ternary = Architecture((), Layer(5, 1, weight_code("ternary"), bias_code(2)))
    found = rounded(network, ternary)
    assert found.weights[0].tolist() == [[1, -1, 0, 0, 1]]
    assert found.biases[0].tolist() == [1]  # 3 / 11 lies next to +1 and -1
