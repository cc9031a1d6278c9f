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
    bias_code,
    majority_network,
    threshold_unit,
    weight_code,
)


def two_layers(weights: str = "ternary") -> Architecture:
    code = weight_code(weights)
    return Architecture((Layer(5, 3, code, bias_code(2)),), Layer(3, 1, code, bias_code(1)))


def forward_by_loops(network: QuantizedNetwork, sample: list[int]) -> list[list[int]]:
    """The forward pass in integers and plain Python: the witness."""
    activation, sums = sample, []
    for weights, biases in zip(network.weights, network.biases, strict=True):
        rows = zip(weights.tolist(), biases.tolist(), strict=True)
        sums.append(
            [sum(w * a for w, a in zip(row, activation, strict=True)) + b for row, b in rows]
        )
        activation = [1 if z >= 0 else -1 for z in sums[-1]]
    return sums


ARCHITECTURES = [
    majority_network(5, 3, weights=weight_code("binary"), bias_bits=2),
    threshold_unit(5, weights=weight_code("3bit"), bias_bits=0),
    two_layers(),
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


def test_the_sign_of_zero_is_plus():
    unit = threshold_unit(2, weights=weight_code("binary"), bias_bits=0)
    network = QuantizedNetwork.from_bits(unit, [1, 1])
    assert network.margin([[1, -1]])[0] == 0
    assert network.predict([[1, -1]])[0] == 1


def test_bits_per_parameter_is_the_mean_over_weights_and_biases():
    network = majority_network(16, 3, weights=weight_code("binary"), bias_bits=2)
    assert network.bits_per_parameter == (48 * 1 + 3 * 2) / 51
    assert threshold_unit(16, weights=weight_code("ternary"), bias_bits=0).bits_per_parameter == 2


def test_the_shape_reads_as_one_writes_it():
    assert str(ARCHITECTURES[0]) == "5-3-majority"
    assert str(two_layers()) == "5-3-1"


@pytest.mark.parametrize(
    ("hidden", "readout", "sentence"),
    [
        ((), None, "without a trained layer"),
        ((Layer(2, 3, weight_code("binary"), bias_code(0)),), (2, 1), "3 outputs before 2"),
        ((), (2, 2), "readout of 2 outputs"),
    ],
)
def test_layers_that_do_not_fit_are_refused(hidden, readout, sentence):
    layer = Layer(*readout, weight_code("binary"), bias_code(0)) if readout else None
    with pytest.raises(AssemblyError, match=sentence):
        Architecture(hidden, layer)


def test_a_wrong_number_of_bits_is_refused():
    with pytest.raises(AssemblyError, match=r"not \(\.\.\., 10\)"):
        QuantizedNetwork.from_bits(
            threshold_unit(5, weights=weight_code("ternary"), bias_bits=0), np.zeros(9)
        )
