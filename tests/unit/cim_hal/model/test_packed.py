"""Numbers of one and two bits: any slice of them is that of the array they were packed from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cim_hal.model.packed import BITS, TRITS, PackedValues, pack, packed_bits

KINDS = {BITS: [-1, 1], TRITS: [-1, 0, 1]}


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_every_slice_is_that_of_the_array(kind, data):
    values = np.array(data.draw(st.lists(st.sampled_from(KINDS[kind]), max_size=40)), np.int8)
    packed = PackedValues(kind, pack(kind, values), len(values))
    start = data.draw(st.integers(0, len(values) + 3))
    part = slice(start, start + data.draw(st.integers(0, 40)))
    np.testing.assert_array_equal(packed[part], values[part])
    np.testing.assert_array_equal(np.asarray(packed), values)
    assert packed.nbytes == -(-len(values) * packed_bits(kind) // 8)


def test_bits_are_those_that_the_protocol_says():
    assert pack(TRITS, np.array([1, 0, -1, 1, -1])).tolist() == [0b01_11_00_01, 0b11]
    assert pack(BITS, np.array([1, -1, 1])).tolist() == [0b101]
    assert packed_bits("|i1") == 0
