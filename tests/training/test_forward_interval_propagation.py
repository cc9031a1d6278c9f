"""A vector is feasible exactly when its private bits are the forward pass of its network.

The small networks are tried in full: every parameter bit, every private bit, every input.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnn_train import (
    Architecture,
    Assembly,
    HingeLoss,
    Layer,
    QuantizedNetwork,
    Spline,
    SquaredLoss,
    TabulatedLoss,
    ZeroOneLoss,
    assemble,
    bias_code,
    cross_entropy_loss,
    layered_network,
    logistic_loss,
    majority_network,
    threshold_unit,
    weight_code,
)
from qnn_train.network import BitEncoding, margin_grid, propagate
from qnn_train.program import ProgramSize, count_spins, spins_needed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

BINARY, TERNARY = weight_code("binary"), weight_code("ternary")
STEPS = Spline((-1, 2), (-1, 0, 1), (0, 0, 0), "three steps")
UNEQUAL = Spline((-2, 1), (3, -1, 2), (0, 0, 0), "unequal steps")
# values that are no multiples of their resolution, 2
ODD = Spline((-1, 1), (-3, -1, 3), (0, 0, 0), "odd steps")
RELU, LEAKY = Spline.relu(), Spline.leaky_relu(2)
RAMP = Spline.tanh(2, scale=1, levels=9, degree=1)

SIGNS = {
    "two layers": layered_network((2, 2, 1)),
    "two layers with biases": layered_network((2, 2, 1), biases="1bit"),
    "ternary readout": layered_network((2, 2, 1), weights=("binary", "ternary")),
    "three layers": layered_network((1, 2, 1, 1), biases=("none", "1bit", "none")),
    "majority": majority_network(3, 3, weights=BINARY, bias_bits=0),
    "ternary majority": majority_network(2, 2, weights=TERNARY, bias_bits=0),
    "two outputs": layered_network((1, 2, 2)),
}
SPLINES = {
    "relu": layered_network((2, 1, 1), biases=("1bit", "none"), activation=RELU),
    "leaky relu": layered_network((2, 1, 1), activation=LEAKY),
    "identity": layered_network((2, 1, 1), activation=Spline.identity()),
    "steps": layered_network((1, 1, 1), weights=("2bit", "ternary"), activation=STEPS),
    "steps, binary": layered_network((1, 1, 1), weights=("2bit", "binary"), activation=STEPS),
    "unequal steps": layered_network((2, 1, 1), weights=("2bit", "binary"), activation=UNEQUAL),
    "sigmoid": layered_network(
        (2, 1, 1),
        weights=("2bit", "binary"),
        activation=Spline.sigmoid(3, scale=1, levels=3),
    ),
    "linear tanh": layered_network((1, 1, 1), weights=("2bit", "binary"), activation=RAMP),
    "relu after relu": layered_network(
        (1, 1, 1, 1), biases=("1bit", "none", "1bit"), activation=RELU
    ),
    "relu after sign": layered_network((2, 1, 1, 1), activation=(Spline.sign(), RELU)),
    "relu to two outputs": layered_network((2, 1, 2), activation=RELU),
    "codebooks": layered_network((2, 1, 1), weights=("codebook(-2,1,3)", "codebook(-1,2)")),
    "codebook bias": layered_network(
        (1, 1, 1), biases=("codebook(-4,0,3)", "none"), activation=RELU
    ),
    "bits 0 and 1": layered_network((2, 1, 1), weights="range(0,1,1)", activation=RELU),
    "vote of odd steps": Architecture((Layer(1, 1, TERNARY, bias_code(0), ODD),), None),
    "odd steps to signs": layered_network((2, 1, 1, 1), activation=(ODD, Spline.sign())),
    "vote of steps": Architecture((Layer(2, 2, BINARY, bias_code(0), UNEQUAL),), None),
}
NETWORKS = SIGNS | SPLINES
QUICK = {*SIGNS, "relu", "leaky relu", "steps", "codebooks", "vote of odd steps", "relu after sign"}
LOSSES = {
    "squared": SquaredLoss(1.5),
    "zero-one": ZeroOneLoss(),
    "hinge": HingeLoss(1),
    "table": TabulatedLoss(lambda m, y: (m - 1.5 * y) ** 2),
    "logistic": logistic_loss(2),
    "logistic in lines": logistic_loss(2, pieces=2, degree=1),
}
MAX_BITS = 18  # tried in full


def every_vector(n_bits: int) -> np.ndarray:
    return ((np.arange(2**n_bits)[:, None] >> np.arange(n_bits)) & 1).astype(np.int8)


def every_input(n_inputs: int) -> np.ndarray:
    return 2 * every_vector(n_inputs) - 1


def every_network(architecture: Architecture) -> np.ndarray:
    """All settings of the parameter bits that the codes allow."""
    encodings = []
    for layer in architecture.layers:
        for code, count in (
            (layer.weights, layer.inputs * layer.outputs),
            (layer.biases, layer.outputs),
        ):
            one = every_vector(code.bits)
            one = one[one.sum(axis=1) == 1] if code.one_hot else one
            encodings += [one.tolist()] * count
    return np.array([np.concatenate(parts) for parts in product(*encodings)]).astype(np.int8)


def feasible_vectors(assembly: Assembly) -> np.ndarray:
    """All of them, out of all vectors."""
    n_bits, high = assembly.qcbo.n_bits, max(assembly.qcbo.n_bits - 14, 0)
    assert n_bits <= MAX_BITS
    low = every_vector(n_bits - high)
    found = []
    for top in every_vector(high):
        x = np.hstack([low, np.broadcast_to(top, (len(low), high))])
        found.append(x[assembly.qcbo.is_feasible(x)])
    return np.concatenate(found)


def claims_the_forward_pass(assembly: Assembly, x: np.ndarray) -> np.ndarray:
    """Whether the private bits of each row say what the network of its parameter bits does."""
    networks = QuantizedNetwork.from_bits(assembly.architecture, assembly.parameters(x))
    sums, margins = networks.forward(assembly.inputs), networks.margin(assembly.inputs)
    margins = margins.reshape(len(x), len(assembly.inputs), -1)
    honest = np.ones(len(x), dtype=bool)
    for placed in assembly.encodings:
        true = margins[..., [placed.output]] if placed.layer is None else sums[placed.layer]
        z, bits = true[:, placed.sample], x[:, placed.bits]
        honest &= (indicated(placed.encoding, bits) == z[..., None]).any(-1).all(-1)
    first, second, made = assembly.derived.T
    return honest & (x[:, made] == x[:, first] * x[:, second]).all(axis=1)


def indicated(encoding: BitEncoding, bits: np.ndarray) -> np.ndarray:
    """The values of the segment that the indicators name, padded with one that is never reached."""
    segments, step = encoding.segments, encoding.step
    values = [range(s.lo, s.hi + 1, step or 1) for s in segments]
    longest = max(map(len, values))
    table = np.array([[*v, *[10**6] * (longest - len(v))] for v in values])
    at = np.zeros(bits.shape[:-1], int)
    if len(segments) == 2:
        at = bits[..., 0]
    elif len(segments) > 2:
        assert (bits[..., : len(segments)].sum(axis=-1) == 1).all()
        at = bits[..., : len(segments)].argmax(axis=-1)
    return table[at]


def losses_by_forward_pass(assembly: Assembly, x: np.ndarray, loss) -> np.ndarray:
    networks = QuantizedNetwork.from_bits(assembly.architecture, assembly.parameters(x))
    margins = networks.margin(assembly.inputs).reshape(len(x), *assembly.labels.shape)
    total = np.zeros(len(x))
    for sample, labels in enumerate(assembly.labels.tolist()):
        grid = margin_grid(
            assembly.architecture, propagate(assembly.architecture, assembly.inputs[sample])
        )
        for output, label in enumerate(labels):
            total += loss.spline(grid, label)(margins[:, sample, output])
    return total


def label_of(architecture: Architecture, inputs: np.ndarray) -> np.ndarray:
    """Some labels: they differ between inputs and between outputs."""
    return np.where((inputs.sum(axis=-1)[:, None] + np.arange(architecture.n_outputs)) % 3, -1, 1)


def check_in_full(assembly: Assembly, loss) -> np.ndarray:
    """Check one program against every vector; return the feasible ones."""
    feasible = feasible_vectors(assembly)
    networks = every_network(assembly.architecture)
    assert claims_the_forward_pass(assembly, feasible).all()
    seen = np.unique(assembly.parameters(feasible), axis=0)
    np.testing.assert_array_equal(seen, np.unique(networks, axis=0))
    np.testing.assert_allclose(
        assembly.qcbo.objective(feasible),
        losses_by_forward_pass(assembly, feasible, loss),
        atol=1e-9,
    )
    honest = assembly.complete(networks)
    assert assembly.qcbo.is_feasible(honest).all()
    return feasible


@pytest.mark.parametrize("name", SIGNS)
def test_feasible_is_the_forward_pass_for_every_vector_and_input(name):
    architecture = NETWORKS[name]
    for inputs in every_input(architecture.n_inputs):
        labels = label_of(architecture, inputs[None])
        assembly = assemble(architecture, [inputs], labels, loss=SquaredLoss(1.0))
        feasible = check_in_full(assembly, SquaredLoss(1.0))
        # One feasible vector for each setting of the parameters: none lost, none twice.
        assert len(feasible) == 2**architecture.n_bits


def small_programs(name: str) -> Iterator[tuple[str, NDArray[Any], str]]:
    """Loss, inputs and reduction of one network, wherever all vectors can be tried."""
    architecture = NETWORKS[name]
    every = every_input(architecture.n_inputs)
    for loss, which in product(LOSSES, (0, -1)):
        sample = every[[which]]
        labels = label_of(architecture, sample)
        spins = {}
        for way in ("rosenberg", "one-hot"):  # the same for encodings without Σβ = 1
            options = {"loss": LOSSES[loss], "reduction": way}
            spins.setdefault(spins_needed(architecture, sample, labels, **options), way)
        yield from ((loss, sample, way) for n, way in spins.items() if n <= MAX_BITS)


def test_every_network_loss_and_reduction_is_among_the_small_programs():
    programs = {name: list(small_programs(name)) for name in NETWORKS}
    assert all(programs.values())
    everything = [case for cases in programs.values() for case in cases]
    assert {loss for loss, _, _ in everything} == set(LOSSES)
    assert {reduction for _, _, reduction in everything} == {"rosenberg", "one-hot"}


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS],
)
def test_any_activation_code_depth_and_loss_is_exact(name):
    architecture = NETWORKS[name]
    for loss, inputs, reduction in small_programs(name):
        labels = label_of(architecture, inputs)
        assembly = assemble(architecture, inputs, labels, loss=LOSSES[loss], reduction=reduction)
        check_in_full(assembly, LOSSES[loss])


@pytest.mark.parametrize("name", NETWORKS)
def test_every_honest_completion_is_feasible(name):
    architecture = NETWORKS[name]
    inputs = every_input(architecture.n_inputs)
    labels = label_of(architecture, inputs)
    for reduction in ("rosenberg", "one-hot"):
        assembly = assemble(
            architecture, inputs, labels, loss=logistic_loss(2), reduction=reduction
        )
        x = assembly.complete(every_network(architecture))
        assert assembly.qcbo.is_feasible(x).all()
        assert claims_the_forward_pass(assembly, x).all()


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("two layers", "squared"),
        ("relu to two outputs", "squared"),
        ("relu", "squared"),
        ("leaky relu", "zero-one"),
        ("bits 0 and 1", "hinge"),
        ("identity", "hinge"),
        ("steps, binary", "squared"),
    ],
)
def test_the_optimum_of_the_program_is_that_over_all_networks(name, loss):
    """Two samples, and again as the minimum of the penalty form over all vectors."""
    architecture, every = NETWORKS[name], every_input(NETWORKS[name].n_inputs)
    inputs = every[[0, -1]]
    labels = label_of(architecture, inputs)
    assembly = assemble(architecture, inputs, labels, loss=LOSSES[loss])
    networks = QuantizedNetwork.from_bits(architecture, every_network(architecture))
    margins = networks.margin(inputs).reshape(-1, *labels.shape)
    least = min(
        sum(LOSSES[loss](m, y) for m, y in zip(row, labels.ravel().tolist(), strict=True))
        for row in margins.reshape(len(margins), -1).tolist()
    )
    feasible = feasible_vectors(assembly)
    values = assembly.qcbo.objective(feasible)
    assert values.min() == pytest.approx(least)
    Q, constant = assembly.qcbo.penalized(weight=float(np.ptp(values)) + 100.0)
    x = every_vector(assembly.qcbo.n_bits).astype(np.float32)
    penalized = np.einsum("rn,rn->r", x @ Q.toarray().astype(np.float32), x) + constant
    assert penalized.min() == pytest.approx(least, abs=0.05)
    assert assembly.qcbo.is_feasible(x[penalized.argmin()])


@st.composite
def programs(draw):
    """Any network of up to three layers, three samples, any loss."""
    depth = draw(st.integers(1, 3))
    outputs = draw(st.sampled_from([1, 1, 2, 3]))
    sizes = [draw(st.integers(1, 4)) for _ in range(depth)] + [outputs]
    codes = ["binary", "ternary", "2bit", "range(0,1,1)", "codebook(-3,0,1)"]
    splines = [Spline.sign(), RELU, LEAKY, STEPS, UNEQUAL, ODD, Spline.identity()]
    splines += [Spline.tanh(4, scale=2, levels=3), Spline.tanh(4, scale=2, levels=9, degree=1)]
    architecture = layered_network(
        sizes,
        weights=draw(st.lists(st.sampled_from(codes), min_size=depth, max_size=depth)),
        biases=draw(
            st.lists(st.sampled_from(["none", "1bit", "2bit*2"]), min_size=depth, max_size=depth)
        ),
        activation=draw(st.lists(st.sampled_from(splines), min_size=depth - 1, max_size=depth - 1)),
    )
    if outputs == 1 and depth > 1 and draw(st.booleans()):
        architecture = Architecture(architecture.hidden, None)
    numbers = st.lists(st.integers(-2, 2), min_size=sizes[0], max_size=sizes[0])
    inputs = np.array([draw(numbers) for _ in range(3)])
    signs = st.lists(st.sampled_from([-1, 1]), min_size=outputs, max_size=outputs)
    labels = np.array([draw(signs) for _ in range(3)])
    loss = draw(
        st.sampled_from(
            [
                SquaredLoss(2.5),
                ZeroOneLoss(),
                HingeLoss(3),
                logistic_loss(4, pieces=5),
                logistic_loss(4, pieces=5, degree=1),
                cross_entropy_loss(4, smoothing=0.1, pieces=3),
            ]
        )
    )
    return architecture, inputs, labels, loss, draw(st.sampled_from(["rosenberg", "one-hot"]))


@given(programs(), st.integers(0, 2**32 - 1))
def test_on_feasible_vectors_the_objective_is_the_loss_of_the_forward_pass(case, seed):
    architecture, inputs, labels, loss, reduction = case
    rng = np.random.default_rng(seed)
    options = {"loss": loss, "reduction": reduction}
    assembly = assemble(architecture, inputs, labels, **options)
    count = count_spins(architecture, inputs, labels, **options)
    assert count.total == assembly.qcbo.n_bits
    assert count.parameters == architecture.n_bits
    assert count.products == len(assembly.derived)
    some = QuantizedNetwork.from_bits(architecture, rng.integers(0, 2, (4, architecture.n_bits)))
    x = assembly.complete(some.to_bits())
    assert assembly.qcbo.is_feasible(x).all()
    expected = losses_by_forward_pass(assembly, x, loss)
    np.testing.assert_allclose(assembly.qcbo.objective(x), expected, rtol=1e-9, atol=1e-7)


@given(programs(), st.integers(0, 2**32 - 1))
def test_a_claim_that_is_not_the_forward_pass_is_infeasible(case, seed):
    architecture, inputs, labels, loss, reduction = case
    rng = np.random.default_rng(seed)
    assembly = assemble(architecture, inputs, labels, loss=loss, reduction=reduction)
    some = QuantizedNetwork.from_bits(architecture, rng.integers(0, 2, architecture.n_bits))
    x = assembly.complete(some.to_bits())
    for placed in assembly.encodings:
        for bit in placed.bits[:, : placed.encoding.n_indicators].ravel():
            lie = x.copy()
            lie[bit] ^= 1
            assert not assembly.qcbo.is_feasible(lie)
    for bit in assembly.derived[:, 2]:
        lie = x.copy()
        lie[bit] ^= 1
        assert not assembly.qcbo.is_feasible(lie)


def test_a_reward_of_margins_is_linear_in_them():
    architecture = SPLINES["relu"]
    inputs, labels = every_input(2), np.array([1, -1, -1, 1])
    assembly = assemble(architecture, inputs, labels, loss=ZeroOneLoss(), margin_reward=0.25)
    networks = every_network(architecture)
    margins = QuantizedNetwork.from_bits(architecture, networks).margin(inputs)
    wrong = (margins > 0) != (labels > 0)
    expected = wrong.sum(axis=1) - 0.25 * margins @ labels
    np.testing.assert_allclose(assembly.qcbo.objective(assembly.complete(networks)), expected)
    squared = assemble(architecture, inputs, labels, loss=SquaredLoss(2), margin_reward=1.0)
    expected = ((margins - 2 * labels) ** 2).sum(axis=1) - margins @ labels
    np.testing.assert_allclose(squared.qcbo.objective(squared.complete(networks)), expected)


def test_a_neuron_that_cannot_change_sign_takes_no_spin():
    always = layered_network((2, 1, 1))
    assembly = assemble(always, [[0, 0]], [1], loss=SquaredLoss(1.0))
    assert assembly.qcbo.n_bits == always.n_bits == spins_needed(always, [[0, 0]])
    assert len(assembly.qcbo.equalities) == 0


def test_the_network_of_the_headline_takes_354_spins():
    architecture = majority_network(16, 3, weights=BINARY, bias_bits=2)
    inputs = np.random.default_rng(0).choice([-1, 1], (20, 16))
    labels = np.ones(20, int)
    size = ProgramSize.of(assemble(architecture, inputs, labels, loss=SquaredLoss(3.0)))
    assert size.spins == 354
    assert size.parameter_bits == 54
    assert size.equalities == 60
    assert size.bits_per_parameter <= 1.1


def test_a_threshold_unit_has_no_private_bits():
    unit = threshold_unit(4, weights=TERNARY, bias_bits=2)
    inputs = every_input(4)
    assembly = assemble(unit, inputs, np.ones(16, int), loss=SquaredLoss(2.0))
    assert assembly.qcbo.n_bits == unit.n_bits
    assert not assembly.encodings
