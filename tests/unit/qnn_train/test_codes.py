from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnn_train import AssemblyError, bias_code, weight_code

CODES = ["binary", "ternary", "1bit", "2bit", "3-bit", "8bit"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("binary", (-1, 1)),
        ("ternary", (-1, 0, 1)),
        ("1bit", (-1, 1)),
        ("2bit", (-3, -1, 1, 3)),
        ("3bit", (-7, -5, -3, -1, 1, 3, 5, 7)),
    ],
)
def test_a_code_has_the_values_it_is_named_for(name, values):
    assert weight_code(name).values == values


@pytest.mark.parametrize("name", CODES)
def test_decoding_undoes_encoding(name):
    code = weight_code(name)
    values = np.array([code.values, code.values[::-1]])
    assert code.encode(values).shape == (*values.shape, code.bits)
    np.testing.assert_array_equal(code.decode(code.encode(values)), values)


@pytest.mark.parametrize("name", CODES)
def test_every_word_decodes_to_a_value_of_the_code(name):
    code = weight_code(name)
    words = list(product((0, 1), repeat=code.bits))
    assert set(code.decode(words)) == set(code.values)


def test_without_bits_a_parameter_is_zero():
    none = bias_code(0)
    assert none.values == (0,)
    np.testing.assert_array_equal(none.decode(np.zeros((3, 2, 0))), np.zeros((3, 2)))
    assert none.encode([0, 0]).shape == (2, 0)


@given(st.integers(1, 8))
def test_bias_codes_are_symmetric_and_odd(bits):
    values = np.array(bias_code(bits).values)
    np.testing.assert_array_equal(values, -values[::-1])
    assert (values % 2 == 1).all()
    assert len(values) == 2**bits


@pytest.mark.parametrize("name", ["float", "0bit", "9bit", "-1bit", "", "bit"])
def test_an_unknown_code_is_refused_with_what_exists(name):
    with pytest.raises(AssemblyError, match="binary, ternary"):
        weight_code(name)


def test_a_value_outside_the_code_is_refused():
    with pytest.raises(AssemblyError, match="ternary"):
        weight_code("ternary").encode([2])
