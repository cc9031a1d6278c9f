"""The kernels of single flips, beside a search that computes every value anew."""

from __future__ import annotations

import numpy as np

from qnn_train.solve.flips import anneal, descend


def form(n, seed):
    Q = np.random.default_rng(seed).normal(size=(n, n))
    Q = Q + Q.T
    coupling = 2 * Q
    np.fill_diagonal(coupling, 0)
    return Q, coupling, Q.diagonal().copy()


def steepest(Q, x):
    def value(y):
        return y.astype(float) @ Q @ y

    flips = 0
    while True:
        values = [value(y) for y in x ^ np.eye(len(x), dtype=np.int8)]
        if min(values) >= value(x) - 1e-9:
            return x, flips
        x, flips = x ^ np.eye(len(x), dtype=np.int8)[np.argmin(values)], flips + 1


def test_a_descent_takes_the_steepest_flips():
    for seed in range(10):
        Q, coupling, linear = form(15, seed)
        starts = np.random.default_rng(seed).integers(0, 2, (4, 15), np.int8)
        ends, flips = starts.copy(), np.zeros(4, np.int64)
        descend(coupling, linear, ends, 1e-12, flips)
        for start, end, count in zip(starts, ends, flips, strict=True):
            expected, expected_count = steepest(Q, start)
            assert np.array_equal(end, expected)
            assert count == expected_count


def test_annealing_at_one_temperature_draws_from_its_boltzmann_distribution():
    Q, coupling, linear = form(3, 1)
    count = 20_000
    bits = np.zeros((count, 3), np.int8)
    streams = np.random.default_rng(0).integers(0, 2**64, count, np.uint64)
    anneal(coupling, linear, bits, np.full(60, 3.0), streams)
    every = (np.arange(8)[:, None] >> np.arange(3)) & 1
    weights = np.exp(-np.einsum("rn,nm,rm->r", every, Q, every) / 3.0)
    expected = weights / weights.sum()
    seen = np.bincount(bits @ (1 << np.arange(3)), minlength=8) / count
    assert np.abs(seen - expected).max() < 5 * np.sqrt(0.25 / count)
