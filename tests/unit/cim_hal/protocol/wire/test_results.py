from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cim_hal import Trace
from cim_hal.protocol.wire.results import (
    Result,
    pack_spins,
    result_bytes,
    rows_from,
    trace_rows_from,
    unpack_spins,
)


def _measured(n_runs: int, n_spins: int, *, amplitudes: bool) -> Result:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((n_runs, n_spins)).astype(np.float32)
    spins = pack_spins(np.where(values < 0, -1, 1).astype(np.int8))
    return Result(spins, values if amplitudes else None, n_spins, 0.1)


def test_the_first_spin_is_the_least_significant_bit_and_plus_one_is_one():
    packed = pack_spins(np.array([[1, -1, 1, -1, -1, -1, -1, -1, 1]], dtype=np.int8))
    np.testing.assert_array_equal(packed, [[0b101, 0b1]])


@pytest.mark.parametrize("n_spins", [1, 7, 8, 9, 64, 65])
def test_unpacking_undoes_packing(n_spins):
    spins = np.random.default_rng(n_spins).choice(np.array([-1, 1], np.int8), (5, n_spins))
    back = unpack_spins(pack_spins(spins), n_spins)
    np.testing.assert_array_equal(back, spins)
    assert back.dtype == np.int8


@pytest.mark.parametrize("amplitudes", [True, False])
def test_batches_from_any_row_make_the_whole_and_no_buffer_exceeds_a_mebibyte(amplitudes):
    measured = _measured(5000, 301, amplitudes=amplitudes)
    parts, first = [], 0
    while first < 5000:
        buffers = rows_from(measured, first)
        assert all(len(array) == len(buffers[0]) and array.nbytes <= 2**20 for array in buffers)
        parts.append(buffers)
        first += len(buffers[0])
    spins, *values = (np.concatenate(column) for column in zip(*parts, strict=True))
    np.testing.assert_array_equal(spins, measured.spins)
    assert len(values) == amplitudes
    if amplitudes:
        assert len(parts) > 1
        np.testing.assert_array_equal(values[0], measured.amplitudes)


@pytest.mark.parametrize("amplitudes", [True, False])
def test_the_announced_size_of_a_result_is_its_size(amplitudes):
    measured = _measured(3, 17, amplitudes=amplitudes)
    assert result_bytes(3, 17, amplitudes=amplitudes) == measured.n_bytes


@pytest.mark.parametrize("shape", [(7, 3, 40_000), (3000, 2, 100), (200_000, 1, 1)])
def test_batches_of_a_trace_make_the_whole_and_no_buffer_exceeds_a_mebibyte(shape):
    rng = np.random.default_rng(1)
    n_frames, n_runs = shape[:2]
    amplitudes = rng.standard_normal(shape).astype(np.float32)
    trace = Trace(np.arange(1, n_frames + 1), rng.random(n_frames), amplitudes)
    parts, first = [], 0
    while first < n_frames * n_runs:
        parts.append(trace_rows_from(trace, first))
        assert all(len(array) == len(parts[-1][0]) for array in parts[-1])
        assert all(array.nbytes <= 2**20 for array in parts[-1])
        first += len(parts[-1][0])
    round_trips, pump, rows = (np.concatenate(column) for column in zip(*parts, strict=True))
    assert len(parts) > 1
    np.testing.assert_array_equal(rows.reshape(shape), amplitudes)
    np.testing.assert_array_equal(round_trips, np.repeat(trace.round_trips, n_runs))
    np.testing.assert_array_equal(pump, np.repeat(trace.pump, n_runs))


def test_a_trace_counts_among_the_bytes_kept():
    plain = _measured(3, 17, amplitudes=True)
    trace = Trace(np.array([1]), np.array([1.0]), np.zeros((1, 2, 17), np.float32))
    traced = replace(plain, trace=trace)
    assert traced.n_bytes == plain.n_bytes + 4 * 2 * 17
