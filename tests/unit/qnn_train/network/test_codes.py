from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnn_train import (
    AssemblyError,
    bias_code,
    codebook,
    parameter_code,
    range_code,
    weight_code,
)

CODES = ["binary", "ternary", "1bit", "2bit", "3-bit", "8bit"]
CODES += ["range(-2,3,2)", "codebook(-7,0,1,12)", "ternary*4", "codebook(3,-1)*2"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("binary", (-1, 1)),
        ("ternary", (-1, 0, 1)),
        ("1bit", (-1, 1)),
        ("2bit", (-3, -1, 1, 3)),
        ("3bit", (-7, -5, -3, -1, 1, 3, 5, 7)),
        ("range(0,1,1)", (0, 1)),
        ("range(-3,2,2)", (-3, -1, 1, 3)),
        ("codebook(4,-1,0)", (-1, 0, 4)),
        ("binary*3", (-3, 3)),
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


@pytest.mark.parametrize(
    "name", ["float", "0bit", "9bit", "-1bit", "", "bit", "none", "range(1,2)", "2bit*0", "3bit*x"]
)
def test_an_unknown_code_is_refused_with_what_exists(name):
    with pytest.raises(AssemblyError, match="binary, ternary"):
        weight_code(name)


def test_a_value_outside_the_code_is_refused():
    with pytest.raises(AssemblyError, match="ternary"):
        weight_code("ternary").encode([2])


@pytest.mark.parametrize("name", [*CODES, "none"])
def test_a_code_is_found_again_by_its_name(name):
    code = parameter_code(name)
    assert parameter_code(code.name) == code


def test_each_value_of_a_codebook_has_one_word_and_any_other_word_the_nearest_value():
    code = codebook([-7, 0, 1, 12])
    np.testing.assert_array_equal(code.encode([12, -7]), [[0, 0, 0, 1], [1, 0, 0, 0]])
    np.testing.assert_array_equal(code.decode([[0, 0, 1, 1], [1, 0, 1, 0], [0] * 4]), [12, -7, 0])
    assert (code.bits, code.storage_bits) == (4, 2)


def test_a_code_times_a_number_has_the_values_times_it():
    assert weight_code("2bit").times(5).values == (-15, -5, 5, 15)
    assert weight_code("2bit").times(5).times(2).name == "2bit*10"
    assert bias_code(0).times(3) == bias_code(0)
    with pytest.raises(AssemblyError, match="times 0"):
        weight_code("binary").times(0)


@pytest.mark.parametrize("values", [[1], [1, 1], range(17)])
def test_a_codebook_has_some_different_values(values):
    with pytest.raises(AssemblyError, match="codebook"):
        codebook(values)


@pytest.mark.parametrize(("step", "bits"), [(0, 1), (1, 0), (1, 9)])
def test_a_range_has_a_step_and_bits(step, bits):
    with pytest.raises(AssemblyError):
        range_code(0, step, bits)
