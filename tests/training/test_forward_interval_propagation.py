"""A vector is feasible exactly when its private bits are the forward pass of its network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnn_train import (
    Architecture,
    Assembly,
    Layer,
    QuantizedNetwork,
    assemble,
    bias_code,
    majority_network,
    threshold_unit,
    weight_code,
)
from qnn_train.program import ProgramSize, spins_needed

BINARY, TERNARY = weight_code("binary"), weight_code("ternary")
TWO_LAYERS = Architecture((Layer(2, 2, BINARY, bias_code(0)),), Layer(2, 1, BINARY, bias_code(0)))
WITH_BIASES = Architecture((Layer(2, 2, BINARY, bias_code(1)),), Layer(2, 1, BINARY, bias_code(1)))
TERNARY_READOUT = Architecture(
    (Layer(2, 2, BINARY, bias_code(0)),), Layer(2, 1, TERNARY, bias_code(0))
)
THREE_LAYERS = Architecture(
    (Layer(1, 2, BINARY, bias_code(0)), Layer(2, 1, BINARY, bias_code(1))),
    Layer(1, 1, BINARY, bias_code(0)),
)
SMALL = {
    "two layers": TWO_LAYERS,
    "two layers with biases": WITH_BIASES,
    "ternary readout": TERNARY_READOUT,
    "three layers": THREE_LAYERS,
    "majority": majority_network(3, 3, weights=BINARY, bias_bits=0),
    "ternary majority": majority_network(2, 2, weights=TERNARY, bias_bits=0),
}


def every_vector(n_bits: int) -> np.ndarray:
    return ((np.arange(2**n_bits)[:, None] >> np.arange(n_bits)) & 1).astype(np.int8)


def every_input(n_inputs: int) -> np.ndarray:
    return 2 * every_vector(n_inputs) - 1


def claims_the_forward_pass(assembly: Assembly, x: np.ndarray) -> np.ndarray:
    """Whether the private bits of each row say what the network of its parameter bits does."""
    networks = QuantizedNetwork.from_bits(assembly.architecture, assembly.parameters(x))
    sums = networks.forward(assembly.inputs)
    blocks = assembly.variables.decode(x)
    honest = np.ones(len(x), dtype=bool)
    for name, claimed in blocks.items():
        match name.split("/"):
            case ["sample", sample, "sign", layer]:
                true = sums[int(layer)][:, int(sample)] >= 0
                honest &= (claimed == true).all(axis=1)
            case ["sample", sample, "product", layer]:
                before = sums[int(layer) - 1][:, int(sample)] >= 0
                true = blocks[f"weight/{layer}"] * before[:, None, :, None]
                honest &= (claimed == true).all(axis=(1, 2, 3))
    return honest


@pytest.mark.parametrize("name", SMALL)
def test_feasible_is_the_forward_pass_for_every_vector_and_input(name):
    architecture = SMALL[name]
    for inputs in every_input(architecture.n_inputs):
        assembly = assemble(architecture, [inputs], [1], target=1.0)
        x = every_vector(assembly.qcbo.n_bits)
        feasible = x[assembly.qcbo.is_feasible(x)]
        assert claims_the_forward_pass(assembly, feasible).all()
        # One feasible vector for each setting of the parameters: none lost, none twice.
        assert len(feasible) == 2**architecture.n_bits
        assert len(np.unique(assembly.parameters(feasible), axis=0)) == len(feasible)


@pytest.mark.parametrize("name", SMALL)
def test_every_honest_completion_is_feasible(name):
    architecture = SMALL[name]
    inputs = every_input(architecture.n_inputs)
    assembly = assemble(architecture, inputs, np.ones(len(inputs), int), target=1.0)
    x = np.array([assembly.complete(bits) for bits in every_vector(architecture.n_bits)])
    assert assembly.qcbo.is_feasible(x).all()
    assert claims_the_forward_pass(assembly, x).all()


@given(
    st.sampled_from(
        [
            majority_network(9, 3, weights=BINARY, bias_bits=2),
            majority_network(6, 2, weights=TERNARY, bias_bits=1),
            threshold_unit(6, weights=weight_code("3bit"), bias_bits=2),
            Architecture(
                (Layer(5, 4, BINARY, bias_code(2)), Layer(4, 3, TERNARY, bias_code(1))),
                Layer(3, 1, weight_code("2bit"), bias_code(2)),
            ),
        ]
    ),
    st.integers(0, 2**32 - 1),
)
def test_on_feasible_vectors_the_objective_is_the_loss_of_the_forward_pass(architecture, seed):
    rng = np.random.default_rng(seed)
    inputs = rng.choice([-1, 1], (3, architecture.n_inputs))
    labels = rng.choice([-1, 1], 3)
    assembly = assemble(architecture, inputs, labels, target=2.5)
    bits = rng.integers(0, 2, architecture.n_bits)
    x = assembly.complete(bits)
    margin = QuantizedNetwork.from_bits(architecture, bits).margin(inputs)
    assert assembly.qcbo.is_feasible(x)
    assert assembly.qcbo.objective(x) == pytest.approx(((margin - 2.5 * labels) ** 2).sum())
    assert spins_needed(architecture, inputs) == assembly.qcbo.n_bits


@given(st.integers(0, 2**32 - 1))
def test_one_flipped_private_bit_makes_a_vector_infeasible(seed):
    rng = np.random.default_rng(seed)
    architecture = WITH_BIASES
    inputs = rng.choice([-1, 1], (2, 2))
    assembly = assemble(architecture, inputs, [1, -1], target=1.0)
    x = assembly.complete(rng.integers(0, 2, architecture.n_bits))
    x[rng.integers(architecture.n_bits, len(x))] ^= 1
    assert not assembly.qcbo.is_feasible(x)


def test_a_neuron_that_cannot_change_sign_takes_no_spin():
    always = Architecture((Layer(2, 1, BINARY, bias_code(0)),), Layer(1, 1, BINARY, bias_code(0)))
    assembly = assemble(always, [[0, 0]], [1], target=1.0)
    assert assembly.qcbo.n_bits == always.n_bits == spins_needed(always, [[0, 0]])
    assert len(assembly.qcbo.equalities) == 0


def test_the_network_of_the_headline_takes_354_spins():
    architecture = majority_network(16, 3, weights=BINARY, bias_bits=2)
    inputs = np.random.default_rng(0).choice([-1, 1], (20, 16))
    size = ProgramSize.of(assemble(architecture, inputs, np.ones(20, int), target=3.0))
    assert size.spins == 354
    assert size.parameter_bits == 54
    assert size.equalities == 60
    assert size.bits_per_parameter <= 1.1
