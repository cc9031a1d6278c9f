"""What a program costs is known before it is made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cim_hal import IsingModel
from qnn_train import (
    AssemblyError,
    ProgramSize,
    Spline,
    SquaredLoss,
    ZeroOneLoss,
    assemble,
    count_spins,
    dynamic_range,
    layered_network,
    spins_needed,
)

INPUTS = np.random.default_rng(1).choice([-1, 1], (5, 9))
LABELS = np.array([1, -1, 1, 1, -1])


def test_the_parts_of_the_count_are_those_of_the_formula():
    """9-3-1 of ±1 weights and 1-bit biases: sums of ten ±1 reach -10, -8, ..., 10."""
    count = count_spins(layered_network((9, 3, 1), biases="1bit"), INPUTS)
    assert count.parameters == 3 * 10 + 4
    assert count.indicators == 5 * 3
    assert count.slack == 5 * 3 * 3  # 5 values below zero, 6 from zero on
    assert count.products == 5 * 3
    assert count.total == 34 + 5 * (3 + 9 + 3)


def test_a_loss_with_indicators_takes_a_word_a_margin():
    network = layered_network((9, 3, 1), biases="1bit")
    squared = count_spins(network, INPUTS, LABELS, loss=SquaredLoss(1))
    zero_one = count_spins(network, INPUTS, LABELS, loss=ZeroOneLoss())
    assert squared.loss == 0
    assert zero_one.loss == 5 * (1 + 2)  # margins -4, -2, ..., 4
    with pytest.raises(AssemblyError, match="depend on labels"):
        count_spins(network, INPUTS, loss=ZeroOneLoss())


def test_a_reduction_by_one_hot_products_takes_one_bit_more_for_each_weight_bit():
    activation = Spline.tanh(4, scale=3, levels=3)
    network = layered_network((9, 3, 1), weights=("binary", "ternary"), activation=activation)
    rosenberg = count_spins(network, INPUTS)
    one_hot = count_spins(network, INPUTS, reduction="one-hot")
    assert rosenberg.products == 5 * 3 * 2 * 3
    assert one_hot.products == 5 * 3 * 2 * 4
    assert spins_needed(network, INPUTS, reduction="one-hot") == one_hot.total


def test_the_size_counts_every_constraint():
    network = layered_network((2, 2, 1), weights="codebook(-2,0,1)", activation=Spline.relu())
    assembly = assemble(network, INPUTS[:2, :2], LABELS[:2], loss=SquaredLoss(1))
    size = ProgramSize.of(assembly)
    assert size.spins == spins_needed(network, INPUTS[:2, :2])
    assert size.equalities == 6 + 2 * 2
    assert size.products == len(assembly.derived)
    assert size.gates == sum(len(p.encoding.gates) * len(p.bits) for p in assembly.encodings) > 0
    assert size.dynamic_range == dynamic_range(assembly.qcbo.penalized(1.0)[0]) > 1
    assert size.bits_per_parameter == 3


@given(st.integers(2, 7), st.integers(0, 2**32 - 1), st.floats(0.01, 100))
def test_the_dynamic_range_is_that_of_couplings_and_fields_and_has_no_unit(n, seed, scale):
    rng = np.random.default_rng(seed)
    Q = rng.integers(-3, 4, (n, n)).astype(float)
    model = IsingModel.from_qubo(Q)
    numbers = np.abs([*model.J[np.triu_indices(n, 1)], *model.h])
    numbers = numbers[numbers > 0]
    expected = numbers.max() / numbers.min() if numbers.size else 1.0
    assert dynamic_range(Q) == pytest.approx(expected)
    assert dynamic_range(scale * Q) == pytest.approx(expected)


def test_the_ising_form_is_narrower_than_the_qubo():
    """Why machines are given spins: the diagonal of the QUBO is far larger than its couplings."""
    network = layered_network((9, 3, 1), biases="2bit")
    Q, _ = assemble(network, INPUTS, LABELS, loss=SquaredLoss(2)).qcbo.penalized(10.0)
    entries = np.abs((Q + Q.T).toarray())
    entries[np.diag_indices_from(entries)] /= 2
    entries = entries[entries > 0]
    assert dynamic_range(Q) < 0.8 * entries.max() / entries.min()
