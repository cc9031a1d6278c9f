from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnn_train import (
    Architecture,
    AssemblyError,
    Layer,
    QuantizedNetwork,
    Spline,
    bias_code,
    layered_network,
    majority_network,
    threshold_unit,
    weight_code,
)


def two_layers(weights: str = "ternary") -> Architecture:
    code = weight_code(weights)
    return Architecture((Layer(5, 3, code, bias_code(2)),), Layer(3, 1, code, bias_code(1)))


def piecewise(spline: Spline, z: int) -> int:
    piece = sum(z >= knot for knot in spline.knots)
    return spline.intercepts[piece] + spline.slopes[piece] * z


def forward_by_loops(network: QuantizedNetwork, sample: list[int]) -> list[list[int]]:
    """The forward pass in integers and plain Python: the witness."""
    activation, sums = sample, []
    for layer, weights, biases in zip(
        network.architecture.layers, network.weights, network.biases, strict=True
    ):
        rows = zip(weights.tolist(), biases.tolist(), strict=True)
        sums.append(
            [sum(w * a for w, a in zip(row, activation, strict=True)) + b for row, b in rows]
        )
        activation = [piecewise(layer.activation, z) for z in sums[-1]]
    return sums


ARCHITECTURES = [
    majority_network(5, 3, weights=weight_code("binary"), bias_bits=2),
    threshold_unit(5, weights=weight_code("3bit"), bias_bits=0),
    two_layers(),
    layered_network(
        (5, 4, 3, 2),
        weights=("codebook(-5,0,1,7)", "ternary", "2bit"),
        biases="2bit*3",
        activation=(Spline.leaky_relu(3), Spline.tanh(5, scale=9, levels=20, degree=1)),
    ),
]


@given(st.sampled_from(ARCHITECTURES), st.integers(0, 2**32 - 1))
def test_forward_equals_integer_arithmetic_for_one_and_for_many(architecture, seed):
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (4, architecture.n_bits))
    inputs = rng.choice([-1, 1], (6, architecture.n_inputs))
    many = QuantizedNetwork.from_bits(architecture, bits)
    for candidate in range(4):
        one = QuantizedNetwork.from_bits(architecture, bits[candidate])
        expected = [forward_by_loops(one, sample.tolist()) for sample in inputs]
        for layer, sums in enumerate(one.forward(inputs)):
            np.testing.assert_array_equal(sums, [sample[layer] for sample in expected])
            np.testing.assert_array_equal(many.forward(inputs)[layer][candidate], sums)
        np.testing.assert_array_equal(many.predict(inputs)[candidate], one.predict(inputs))
        np.testing.assert_array_equal(many[candidate].weights[0], one.weights[0])


def test_bits_and_parameters_go_there_and_back():
    architecture = majority_network(4, 2, weights=weight_code("3bit"), bias_bits=2)
    bits = np.random.default_rng(1).integers(0, 2, (7, architecture.n_bits))
    network = QuantizedNetwork.from_bits(architecture, bits)
    np.testing.assert_array_equal(network.to_bits(), bits)


def test_a_margin_of_zero_is_the_first_class():
    unit = threshold_unit(2, weights=weight_code("binary"), bias_bits=0)
    network = QuantizedNetwork.from_bits(unit, [1, 1])
    assert network.margin([[1, -1]])[0] == 0
    assert network.predict([[1, -1]])[0] == -1


def test_a_wrong_number_of_bits_is_refused():
    with pytest.raises(AssemblyError, match=r"not \(\.\.\., 10\)"):
        QuantizedNetwork.from_bits(
            threshold_unit(5, weights=weight_code("ternary"), bias_bits=0), np.zeros(9)
        )


def test_the_largest_of_several_outputs_is_predicted_and_the_first_of_equal_ones():
    network = layered_network((2, 3), weights="ternary")
    weights = (np.array([[1, 0], [0, 1], [0, 1]]),)
    several = QuantizedNetwork(network, weights, (np.zeros(3, int),))
    np.testing.assert_array_equal(several.predict([[3, 1], [1, 3], [2, 2]]), [0, 1, 0])
    assert several.margin([[3, 1]]).shape == (1, 3)


def test_integers_beyond_float32_are_still_exact_and_beyond_float64_refused():
    deep = layered_network((2, 2, 2, 1), weights="8bit", activation=Spline.relu())
    bits = np.random.default_rng(3).integers(0, 2, deep.n_bits)
    network = QuantizedNetwork.from_bits(deep, bits)
    sample = [40001, 39999]
    sums = network.forward([sample])
    assert sums[-1].dtype == np.float64
    assert sums[-1][0].tolist() == forward_by_loops(network, sample)[-1]
    with pytest.raises(AssemblyError, match="beyond 2\\^53"):
        network.forward([[2**40, 0]])
