"""Intervals of shares over models: known cases, and coverage in simulated studies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import betaincinv, ndtr
from scipy.stats import binom, binomtest

from cim_hal.study.shares import Interval, mean_of, of_models, repeats, share_of, wilson


@pytest.mark.parametrize(("right", "count"), [(0, 10), (81, 263), (10, 10)])
def test_the_interval_of_a_share_is_wilsons(right, count):
    expected = binomtest(right, count).proportion_ci(method="wilson")
    found = wilson(right / count, count)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("share", "count"), [(2.0, 9), (-0.1, 9), (0.5, 0)])
def test_a_share_that_is_none_is_refused(share, count):
    with pytest.raises(ValueError, match="a share of"):
        wilson(share, count)


def test_one_model_has_wilsons_interval_for_itself_and_a_bound_for_its_kind():
    share = share_of([30], [64])
    wilson = binomtest(30, 64).proportion_ci(method="wilson")
    assert share.of_these.low == pytest.approx(wilson.low)
    assert share.of_these.high == pytest.approx(wilson.high)
    assert share.is_bounded
    assert share.of_family.low < 0.02
    assert share.of_family.high > 0.95


@pytest.mark.parametrize("hits", [0, 64])
def test_models_without_a_success_or_a_failure_have_an_interval_with_width(hits):
    share = share_of([hits] * 20, [64] * 20)
    expected = binomtest(20 * hits // 64, 20).proportion_ci(0.9, method="exact")
    assert (share.of_family.low, share.of_family.high) == pytest.approx(
        (expected.low, expected.high)
    )
    assert 0 < share.of_these.high - share.of_these.low < 0.01


@pytest.mark.parametrize(
    ("successes", "runs"), [([], []), ([1], [0]), ([3], [2]), ([-1], [2]), ([1], [2, 3])]
)
def test_counts_that_cannot_be_are_refused(successes, runs):
    with pytest.raises(ValueError, match=r"numbers of runs|successes must be"):
        share_of(successes, runs)


def test_repeats_fall_with_the_share_and_are_infinite_without_a_success():
    found = repeats(Interval(0.5, 0.0, 0.99))
    assert found.value == pytest.approx(math.log(0.01) / math.log(0.5))
    assert found.low == 1
    assert found.high == math.inf


def test_shares_that_are_known_have_wilsons_interval():
    found = of_models([1, 1, 1, 0, 1])
    bound = binomtest(4, 5).proportion_ci(0.9, method="exact")  # 5 % on each side: it is wider
    assert (found.low, found.high) == pytest.approx((bound.low, bound.high))


def test_the_mean_of_what_is_not_negative_is_known_to_a_factor():
    found = mean_of(np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    half = 2.776445 * np.std([0.1, 0.2, 0.3, 0.4, 0.5], ddof=1) / math.sqrt(5)
    assert (found.low, found.high) == pytest.approx((0.3 * math.exp(-half / 0.3), 0.09 / found.low))
    for unknown in ([0.3], [0.0, 0.0]):
        assert (mean_of(np.array(unknown)).low, mean_of(np.array(unknown)).high) == (0, math.inf)


@pytest.mark.parametrize("concentration", [0.5, 2.0])  # of a gamma distribution
def test_the_interval_of_a_mean_holds_it_for_skewed_quantities(concentration):
    drawn = np.random.default_rng(1).gamma(concentration, 1 / concentration, (2000, 20))
    ends = np.array([(found.low, found.high) for found in map(mean_of, drawn)])
    assert (
        (ends[:, 0] <= 1) & (ends[:, 1] >= 1)
    ).mean() > 0.92  # Student's of the mean: .897, .932


@pytest.mark.parametrize("count", [5, 16, 64, 320])
def test_the_interval_of_a_share_covers_rare_successes_too(count):
    """Exact, over shares from .001 to .999: Wilson's alone falls to .83."""
    hits, shares = np.arange(count + 1), np.geomspace(0.001, 0.5, 60)
    low, high = np.array([(e.low, e.high) for e in (wilson(k / count, count) for k in hits)]).T
    held = (low <= shares[:, None]) & (shares[:, None] <= high)
    assert (held * binom.pmf(hits, count, shares[:, None])).sum(axis=1).min() > 0.92


# A Beta of concentration 1 has many models near 0 and near 1; one of 1e6 has equal models. Other
# kinds, fewer and more models, and more studies: benchmarks/interval_coverage.py
@pytest.mark.slow
@pytest.mark.parametrize("concentration", [1, 1e6])
@pytest.mark.parametrize("p", [0.01, 0.5])
def test_intervals_hold_the_mean_of_the_family_as_often_as_they_say(p, concentration):
    rng, n_studies, n_models = np.random.default_rng(int(100 * p)), 150, 20
    shares = rng.beta(p * concentration, (1 - p) * concentration, (n_studies, n_models))
    found = [share_of(row, [64] * n_models).of_family for row in rng.binomial(64, shares).tolist()]
    assert np.mean([each.low <= p <= each.high for each in found]) > 0.9


def coverage_on_machines(p: float, n_models: int, n_machines: int, of_machines: float) -> float:
    """Return the share of studies whose interval holds the mean over models and machines.

    `of_machines` is the part of the variance (of a normal copula) that is of machines alone.
    """
    rng, held, n_studies = np.random.default_rng([n_models, n_machines]), 0, 2000
    parts = np.sqrt([0.6 * (1 - of_machines), of_machines, 0.4 * (1 - of_machines)])
    shapes = [(n_models, 1), (1, n_machines), (n_models, n_machines)]
    runs = np.full((n_models, n_machines), 32)
    for _ in range(n_studies):
        z = sum(part * rng.normal(size=shape) for part, shape in zip(parts, shapes, strict=True))
        hits = rng.binomial(32, betaincinv(3 * p, 3 * (1 - p), ndtr(z)))
        ends = share_of(hits, runs).of_family
        held += ends.low <= p <= ends.high
    return held / n_studies


@pytest.mark.slow
@pytest.mark.parametrize("of_machines", [0, 0.3, 0.9])
@pytest.mark.parametrize(("n_models", "n_machines"), [(20, 3), (20, 10), (100, 5)])
@pytest.mark.parametrize("p", [0.02, 0.5, 0.9])
def test_intervals_hold_the_mean_over_models_and_machines(p, n_models, n_machines, of_machines):
    assert coverage_on_machines(p, n_models, n_machines, of_machines) > 0.92


def test_machines_that_differ_widen_what_one_machine_hides():
    """Of ten machines one fails: no number of models on another one shows it."""
    hits = np.full((20, 10), 60)
    hits[:, 0] = 10
    alone = share_of(hits[:, 1], np.full(20, 64)).of_family
    drawn = share_of(hits, np.full((20, 10), 64)).of_family
    assert alone.low > 0.9
    assert drawn.low < 0.75
