"""Blocks hold every bit of the parameters that change together."""

from __future__ import annotations

import numpy as np
import pytest
from network_problems import problem

from qnn_train.solve import SquaredError
from qnn_train.solve.blocks import block_bits, partition

REALS = SquaredError()


def test_blocks_hold_every_bit_however_neurons_are_mixed():
    architecture, *_ = problem((4, 6, 3))
    plain = partition(architecture, 40)
    mixed = partition(architecture, 40, np.random.default_rng(2))
    assert len(plain) == len(mixed)
    for blocks in (plain, mixed):
        positions = np.concatenate([block_bits(architecture, b).positions for b in blocks])
        assert set(positions.tolist()) == set(range(architecture.n_bits))


@pytest.mark.parametrize("rng", [None, 3])
def test_blocks_of_some_inputs_hold_every_weight_once(rng):
    architecture, *_ = problem((7, 5, 3))
    mixed = None if rng is None else np.random.default_rng(rng)
    blocks = partition(architecture, 30, mixed, reads=3)
    assert [block.layer for block in blocks] == 2 * [1] + 3 * 3 * [0]
    hidden = [block for block in blocks if block.layer == 0]
    weights = [(k, i) for block in hidden for k in block.units for i in block.reads]
    assert sorted(weights) == [(k, i) for k in range(5) for i in range(7)]
    assert max(len(block.reads) for block in hidden) == 3
    found = np.unique(
        np.concatenate([block_bits(architecture, block).positions for block in blocks])
    )
    assert np.array_equal(found, np.arange(architecture.n_bits))
