"""Intervals of mean shares by likelihood: known cases, symmetry, and what they agree with."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom

from cim_hal.study.hardness import mean_interval


def interval(counts, runs, level=0.95):
    return mean_interval(tuple(map(float, counts)), tuple(map(float, runs)), level)


@pytest.mark.parametrize(("hits", "runs"), [(500, 1000), (3, 1000), (40, 64)])
def test_models_that_are_alike_have_the_likelihood_interval_of_all_runs(hits, runs):
    n, k = 60 * runs, 60 * hits
    top = binom.logpmf(k, n, k / n)

    def fall(p):
        return top - binom.logpmf(k, n, p) - 0.5 * 1.959964**2

    expected = brentq(fall, 1e-9, k / n), brentq(fall, k / n, 1 - 1e-9)
    found = interval([hits] * 60, [runs] * 60)
    width = expected[1] - expected[0]
    assert found == pytest.approx(expected, abs=0.08 * width)


def test_successes_and_failures_change_places():
    counts, runs = [0, 3, 10, 64, 50], [64, 64, 64, 64, 100]
    low, high = interval(counts, runs)
    mirrored = interval([n - k for k, n in zip(counts, runs, strict=True)], runs)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=2e-3)


def test_the_order_of_models_does_not_matter_and_a_higher_level_is_wider():
    counts, runs = [0, 3, 10, 64, 50], [64, 64, 64, 64, 100]
    assert interval(counts, runs) == pytest.approx(interval(counts[::-1], runs[::-1]))
    narrow, wide = interval(counts, runs, 0.8), interval(counts, runs, 0.99)
    assert wide[0] < narrow[0] < np.mean(np.divide(counts, runs)) < narrow[1] < wide[1]


@pytest.mark.parametrize("runs", [1, 64, 10**6])
def test_numbers_of_runs_of_all_sizes_have_an_interval(runs):
    low, high = interval([runs, 0, 0, runs, 0], [runs] * 5)
    assert 0 < low < 0.4 < high < 1
    low, high = interval([1, 0, 0, 0, 0], [runs] * 5)
    assert 0 <= low < 1 / (5 * runs) < high < 1
