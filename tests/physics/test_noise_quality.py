"""Noise at 10^8 values: its law to the tails, and independence along every coordinate."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from numba import njit
from scipy import stats

from emulator.noise import Draw, fill_normals, normals

pytestmark = pytest.mark.slow

SIDE, ROUND_TRIPS = 1000, 100  # spins and runs of a block; 10^8 values in all
BITS = 12
BINS = 2**BITS
EDGES = stats.norm.ppf(np.arange(1, BINS) / BINS)
SIGMAS = 5.0
LAGS = {"spin": (1, 2, 3, 16), "run": (1, 2, 16, 64), "round trip": (1, 2)}


@njit
def count(values, edges, bits, counts):
    """Add to `counts` how many values lie in each of 2^bits bins, by bisection without branches."""
    for value in values:
        k = 0
        for bit in range(bits - 1, -1, -1):
            step = 1 << bit
            k += step * (value >= edges[k + step - 1])
        counts[k] += 1


class Correlation:
    """Sums of products of x and y, of their squares, and of each with the other's square.

    For independent standard normals the terms have the variances 1, 4, 2 and 2.
    """

    def __init__(self) -> None:
        self.sums, self.n = np.zeros(4), 0

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        a, b = x * x - 1, y * y - 1
        pairs = ((x, y), (a, b), (x, b), (a, y))
        self.sums += [np.einsum("ij,ij->", one, other) for one, other in pairs]
        self.n += x.size

    @property
    def sigmas(self) -> np.ndarray:
        return self.sums / np.sqrt(self.n * np.array([1, 4, 2, 2]))


class Census(NamedTuple):
    """What one pass over 10^8 values of one seed counts."""

    n: int
    powers: np.ndarray
    counts: np.ndarray
    beyond: np.ndarray
    largest: float
    polar: np.ndarray
    correlations: dict[str, Correlation]


def polar_counts(even: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """Count pairs in 64 x 64 bins of equal probability of their radius and angle."""
    share = np.exp(-0.5 * (even * even + odd * odd))
    turn = np.arctan2(odd, even) / (2 * np.pi) + 0.5
    cells = np.minimum((64 * share).astype(np.int64), 63) * 64
    cells += np.minimum((64 * turn).astype(np.int64), 63)
    return np.bincount(cells.ravel(), minlength=64 * 64)


@pytest.fixture(scope="module")
def census() -> Census:
    powers, counts, beyond = np.zeros(6), np.zeros(BINS, np.int64), np.zeros(3, np.int64)
    polar, largest = np.zeros(64 * 64, np.int64), 0.0
    names = [f"{axis} {lag}" for axis, lags in LAGS.items() for lag in lags]
    correlations = {name: Correlation() for name in (*names, "cosine and sine")}
    block, past = np.empty((SIDE, SIDE), np.float32), []
    for round_trip in range(ROUND_TRIPS):
        fill_normals(Draw.of_seed(12345, round_trip=round_trip), block)
        w = block.astype(np.float64)
        count(w.ravel(), EDGES, BITS, counts)
        power = np.ones_like(w)
        for k in range(6):
            power *= w
            powers[k] += power.sum()
        magnitude = np.abs(w)
        beyond += [np.count_nonzero(magnitude > limit) for limit in (4, 5, 6)]
        largest = max(largest, float(magnitude.max()))
        polar += polar_counts(w[::2], w[1::2])
        correlations["cosine and sine"].add(w[::2], w[1::2])
        for lag in LAGS["spin"]:
            correlations[f"spin {lag}"].add(w[lag:], w[:-lag])
        for lag in LAGS["run"]:
            correlations[f"run {lag}"].add(w[:, lag:], w[:, :-lag])
        for lag, old in zip(LAGS["round trip"], past, strict=False):
            correlations[f"round trip {lag}"].add(w, old)
        past = [w, *past][: max(LAGS["round trip"])]
    n = ROUND_TRIPS * SIDE**2
    return Census(n, powers, counts, beyond, largest, polar, correlations)


def test_moments_up_to_the_sixth_are_those_of_a_normal_law(census):
    # E w^2m = 1, 3, 15, 105, 945, 10395
    even = [1, 1, 3, 15, 105, 945, 10395]
    for k, total in enumerate(census.powers, start=1):
        expected = even[k // 2] if k % 2 == 0 else 0
        error = np.sqrt((even[k] - expected**2) / census.n)
        sigmas = (total / census.n - expected) / error
        assert abs(sigmas) < SIGMAS, k


def test_4096_equally_likely_bins_hold_equally_many(census):
    expected = census.n / BINS
    square = np.sum((census.counts - expected) ** 2) / expected
    assert 1e-4 < stats.chi2.sf(square, BINS - 1) < 1 - 1e-4


def test_the_distribution_function_is_that_of_kolmogorovs_test(census):
    # at the edges of the bins only, which makes the distance smaller, not larger
    found = np.cumsum(census.counts)[:-1] / census.n
    distance = np.abs(found - np.arange(1, BINS) / BINS).max()
    assert stats.kstwobign.sf(distance * np.sqrt(census.n)) > 1e-4


def test_tails_are_as_heavy_as_they_should_be_and_end_at_6_7_deviations(census):
    for found, limit in zip(census.beyond, (4, 5, 6), strict=True):
        law = stats.poisson(2 * stats.norm.sf(limit) * census.n)
        assert min(law.cdf(found), law.sf(found - 1)) > 1e-4, limit
    assert 5 < census.largest <= np.sqrt(2 * 33 * np.log(2))


def test_radius_and_angle_of_a_pair_are_uniform_together(census):
    cells = census.polar.size
    expected = census.polar.sum() / cells
    square = np.sum((census.polar - expected) ** 2) / expected
    assert 1e-4 < stats.chi2.sf(square, cells - 1) < 1 - 1e-4


def test_spins_runs_and_round_trips_are_uncorrelated_and_so_are_their_squares(census):
    for name, correlation in census.correlations.items():
        assert correlation.n > 0.4 * census.n
        assert (np.abs(correlation.sigmas) < SIGMAS).all(), name


@pytest.mark.parametrize("stride", [1, 2**32], ids=["low word", "high word"])
def test_neighbouring_seeds_are_uncorrelated(stride):
    correlation, moments, old = Correlation(), np.zeros(4), None
    side, seeds = 316, 1000
    for k in range(seeds):
        w = normals(k * stride, round_trip=3, n_spins=side, n_runs=side).astype(np.float64)
        square = w * w
        moments += [x.sum() for x in (w, square, square * w, square * square)]
        if old is not None:
            correlation.add(w, old)
        old = w
    n = seeds * side**2
    assert (np.abs(correlation.sigmas) < SIGMAS).all()
    error = np.sqrt(np.array([1, 2, 15, 96]) / n)
    assert (np.abs(moments / n - [0, 1, 0, 3]) < SIGMAS * error).all()
