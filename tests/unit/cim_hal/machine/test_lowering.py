"""Levels, steps and what rounding costs."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from cim_hal import Capabilities, IsingModel, lower, max_level, quantize


@pytest.mark.parametrize(("bits", "top"), [(2, 1), (8, 127), (14, 8191), (16, 32767)])
def test_levels_are_symmetric(bits, top):
    assert max_level(bits) == top
    q = quantize(
        np.array([[0, 1e-3], [1e-3, 0]]), np.array([-7.0, 3.0]), bits=bits, field_bits=bits
    )
    assert q.field_levels.min() == -top


def test_integers_that_fit_are_taken_as_they_are():
    J = np.array([[0, -3, 5], [-3, 0, 127], [5, 127, 0]], dtype=float)
    q = quantize(J, np.zeros(3), bits=8, field_bits=8)
    assert q.step == 1
    assert (q.levels == J).all()


def test_an_entry_that_dominates_takes_all_levels():
    # The Kaiwu pages' example: 0.22 against 50 becomes 1 against 127.
    J = np.array([[0, 0.22, 50], [0.22, 0, 0], [50, 0, 0]])
    q = quantize(J, np.zeros(3), bits=8, field_bits=8)
    assert q.levels[0].tolist() == [0, 1, 127]


def test_couplings_and_field_share_a_step():
    J = np.array([[0, 1.0], [1.0, 0]])
    q = quantize(J, np.array([10.5, 5.0]), bits=8, field_bits=8)
    assert q.field_levels.tolist() == [127, 60]
    assert q.levels[0, 1] == 12


def test_a_finer_field_does_not_cost_the_couplings_levels():
    J = np.array([[0, 1.0], [1.0, 0]])
    assert quantize(J, np.array([9.5, 0]), bits=8, field_bits=16).levels[0, 1] == 127


def test_sparse_and_dense_give_the_same_levels():
    rng = np.random.default_rng(0)
    J = np.triu(rng.normal(size=(9, 9)) * (rng.random((9, 9)) < 0.3), 1)
    J = J + J.T
    dense = quantize(J, np.zeros(9), bits=6, field_bits=6)
    sparse = quantize(sp.csr_array(J), np.zeros(9), bits=6, field_bits=6)
    assert sparse.levels.dtype == np.int16
    assert (sparse.levels.toarray() == dense.levels).all()


@pytest.mark.parametrize("scale", [0.0, 5e-324, 1e-300, 1e300])
def test_extreme_scales_neither_overflow_nor_divide_by_zero(scale):
    q = quantize(np.array([[0, scale], [scale, 0]]), np.zeros(2), bits=8, field_bits=8)
    assert abs(q.step * q.levels[0, 1] - scale) <= q.step / 2


def test_the_error_of_uniform_couplings_is_that_of_a_uniform_quantizer():
    # Rounding error uniform over a step: variance step**2 / 12; its estimate has the relative
    # standard error sqrt((9/5 - 1) / n).
    n = 400
    rng = np.random.default_rng(1)
    J = np.triu(rng.uniform(-1, 1, size=(n, n)), 1)
    q = quantize(J + J.T, np.zeros(n), bits=8, field_bits=8)
    error = (J - q.step * q.levels)[np.triu_indices(n, 1)]
    tolerance = 5 * np.sqrt(0.8 / error.size)
    assert error.var() == pytest.approx(q.step**2 / 12, rel=tolerance)


MACHINE = Capabilities(name="bench", max_spins=100, coupling_bits=16)


@pytest.mark.parametrize(
    ("dtype", "top", "bits", "kept"),
    [
        (np.int8, 1, 16, np.int8),
        (np.int8, 127, 16, np.int8),
        (np.int8, -128, 16, np.int16),  # whose negative is no int8
        (np.int16, 300, 16, np.int16),
        (np.int16, 300, 8, np.int8),
        (np.float64, 300, 16, np.int16),
        (np.float64, 0.3, 8, np.int8),
    ],
)
@pytest.mark.parametrize("gauge_seed", [None, 3])
def test_levels_take_no_more_bytes_than_they_need_and_drivers_get_int16(
    dtype, top, bits, kept, gauge_seed
):
    J = np.array([[0, top, 0], [top, 0, -1], [0, -1, 0]], dtype)
    lowering = lower(IsingModel.from_couplings(J), MACHINE, bits=bits, gauge_seed=gauge_seed)
    assert lowering.levels.dtype == kept
    assert lowering.coupling.dtype == np.int16
    signs = lowering.gauge.astype(int)
    expected = np.rint(J / lowering.report.step) * signs[:, None] * signs
    np.testing.assert_array_equal(lowering.coupling, expected)


def test_a_field_larger_than_the_couplings_is_not_cut_off_by_their_type():
    J = np.array([[0, 3], [3, 0]], np.int8)
    lowering = lower(IsingModel.from_couplings(J, [300, -5]), MACHINE)
    np.testing.assert_array_equal(lowering.coupling, [[0, 3, 300], [3, 0, -5], [300, -5, 0]])
    small = lower(IsingModel.from_couplings(J, [100, -5]), MACHINE)
    assert small.levels.dtype == np.int8
    assert small.field.dtype == np.int16


def test_a_machine_of_real_numbers_gets_float64_whatever_is_kept():
    J = np.array([[0, 3], [3, 0]], np.int8)
    real = Capabilities(name="bench", max_spins=100, coupling_bits=None, has_field=True)
    lowering = lower(IsingModel.from_couplings(J), real)
    assert lowering.levels.dtype == np.int8
    assert lowering.coupling.dtype == np.float64
