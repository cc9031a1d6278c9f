"""Shapes of networks: layers that fit, codes of their parameters, and bits that encode them."""

from __future__ import annotations

import pytest

from qnn_train import (
    Architecture,
    AssemblyError,
    Layer,
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
    ],
)
def test_layers_that_do_not_fit_are_refused(hidden, readout, sentence):
    layer = Layer(*readout, weight_code("binary"), bias_code(0)) if readout else None
    with pytest.raises(AssemblyError, match=sentence):
        Architecture(hidden, layer)


def test_a_readout_has_no_activation_and_an_activation_no_real_numbers():
    code = weight_code("binary")
    with pytest.raises(AssemblyError, match="readout with an activation"):
        Architecture((), Layer(2, 1, code, bias_code(0), Spline.relu()))
    with pytest.raises(AssemblyError, match="real numbers"):
        Layer(2, 1, code, bias_code(0), Spline((0,), (0.5, 1), (0, 0)))


def test_layers_take_one_code_for_all_or_one_each():
    network = layered_network((4, 3, 2, 1), weights=("binary", "2bit", "ternary"), biases="1bit")
    assert [layer.weights.name for layer in network.layers] == ["binary", "2bit", "ternary"]
    assert [layer.biases.bits for layer in network.layers] == [1, 1, 1]
    assert network.n_bits == 12 + 3 + 12 + 2 + 4 + 1
    with pytest.raises(AssemblyError, match="2 weights for 3 layers"):
        layered_network((4, 3, 2, 1), weights=("binary", "2bit"))
    with pytest.raises(AssemblyError, match="sizes"):
        layered_network((4,))


def test_a_codebook_is_stored_in_fewer_bits_than_it_takes_in_the_program():
    network = layered_network((4, 1), weights="codebook(-9,-1,0,1,9)")
    assert (network.n_bits, network.storage_bits) == (20, 12)
    assert network.bits_per_parameter == 5
