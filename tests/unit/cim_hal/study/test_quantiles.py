"""Quantiles of R99 over models: known cases, and coverage in simulated studies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import beta

from cim_hal.study.quantiles import quantile_of, quantiles_of
from cim_hal.study.shares import Interval, repeats


def test_one_hard_model_of_ten_is_the_time_of_the_slowest_and_not_of_the_mean():
    median, ninth, last = quantiles_of([32] * 9 + [0], [64] * 10)
    assert median.value == ninth.value == pytest.approx(math.log(0.01) / math.log(0.5))
    assert last.value == math.inf


@pytest.mark.parametrize(("quantile", "enough"), [(0.5, 6), (0.9, 37), (0.99, 387)])
def test_too_few_models_have_no_interval(quantile, enough):
    assert quantile_of([9] * (enough - 1), [64] * (enough - 1), quantile).interval is None
    found = quantile_of([9] * enough, [64] * enough, quantile)
    assert found.interval is not None
    assert found.interval.low < found.value < found.interval.high


@pytest.mark.slow
@pytest.mark.parametrize("concentration", [1, 3, 1e6])
@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize(("quantile", "n_models"), [(0.5, 20), (0.5, 100), (0.9, 50), (0.99, 400)])
def test_intervals_hold_the_quantile_of_the_family(quantile, n_models, p, concentration):
    rng = np.random.default_rng([n_models, int(1000 * p), int(concentration)])
    shape = p * concentration, (1 - p) * concentration
    share = float(beta.ppf(1 - quantile, *shape))
    true, held, n_studies = repeats(Interval(share, 0, 1)).value, 0, 2000
    for _ in range(n_studies):
        hits = rng.binomial(64, rng.beta(*shape, n_models))
        ends = quantile_of(hits.tolist(), [64] * n_models, quantile).interval
        assert ends is not None
        held += ends.low <= true <= ends.high
    assert held / n_studies > 0.95 - 4 * math.sqrt(0.05 * 0.95 / n_studies)
