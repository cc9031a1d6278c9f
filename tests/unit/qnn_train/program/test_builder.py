"""Tables of variables: names, shapes, and bits there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnn_train import AssemblyError
from qnn_train.program import VariableTable
from qnn_train.program.builder import Affine


@given(st.lists(st.lists(st.integers(0, 3), max_size=3), max_size=5), st.integers(0, 2**32 - 1))
def test_decoding_a_table_undoes_encoding(shapes, seed):
    table = VariableTable()
    for index, shape in enumerate(shapes):
        table.block(f"block/{index}", tuple(shape))
    bits = np.random.default_rng(seed).integers(0, 2, table.n_bits, dtype=np.int8)
    np.testing.assert_array_equal(table.encode(table.decode(bits)), bits)


def test_a_table_refuses_names_and_shapes_that_do_not_match():
    table = VariableTable()
    table.block("weight", (2,))
    with pytest.raises(AssemblyError, match="twice"):
        table.block("weight", (1,))
    with pytest.raises(AssemblyError, match="missing or unknown"):
        table.encode({})
    with pytest.raises(AssemblyError, match="shape"):
        table.encode({"weight": [1]})


@given(
    st.integers(2, 9),
    st.integers(-50, 50),
    st.dictionaries(st.integers(0, 9), st.integers(-50, 50), max_size=4),
)
def test_a_function_is_divided_by_what_all_of_it_share(divisor, constant, terms):
    whole = Affine(divisor * constant, {bit: divisor * c for bit, c in terms.items()})
    assert whole.over(divisor) == Affine(constant, terms)
    whole.terms[10] = 1
    assert whole.over(divisor) == whole
