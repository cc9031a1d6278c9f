"""The safe region: what it says, and how often a point is called safe that is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import betaincinv

from cim_hal.study.safe import safe_places, said_of_region
from cim_hal.study.shares import share_of


def lows_of(hits: np.ndarray, runs: int = 64):
    """Return what gives the low end of each point, whose models are a row of `hits`."""

    def low_of(row: np.ndarray):
        return lambda level: share_of(row, np.full(len(row), runs), level=level).of_family.low

    return [low_of(row) for row in hits]


def test_what_is_safe_is_so_for_all_points_together():
    hits = np.array([[52], [44], [33], [6]]) + 4 * (np.arange(20) % 4) - 6
    assert safe_places(lows_of(hits), 0.5, 0.95) == [0, 1]
    assert safe_places(lows_of(hits), 0.3, 0.95) == [0, 1, 2]


def test_the_error_of_an_interval_may_lie_on_one_side():
    """Of 5 skewed models nearly all of it does: half of the error is not enough."""
    asked = list[float]()

    def low(level: float) -> float:
        asked.append(level)
        return 0.0

    assert safe_places([low, low], 0.5, 0.95) == []
    assert asked == pytest.approx([0.975, 0.975])


def test_a_region_is_said_by_the_levels_of_the_first_factor():
    points = [{"bits": bits, "noise": noise} for bits in (2, 4, 8) for noise in (0, 1)]
    said = said_of_region(points, [2, 4, 5], 0.5, 0.95, "success probability")
    assert said["verdict"] == (
        "success probability is at least 0.5, with 95 % for all together, at 3 of 6 points: "
        "bits = 4, 8 at noise = 0; bits = 8 at noise = 1"
    )
    none = said_of_region(points, [], 0.5, 0.95, "success probability")
    assert none["verdict"].endswith("at 0 of 6 points")


@pytest.mark.slow
@pytest.mark.parametrize("concentration", [1, 1e6])
def test_points_that_are_just_not_safe_are_rarely_called_so(concentration):
    at_least, n_models = 0.5, 20  # others, and more studies: benchmarks/figure_coverage.py
    rng, n_studies, wrong = np.random.default_rng(n_models), 60, 0
    shape = at_least * concentration, (1 - at_least) * concentration
    for _ in range(n_studies):
        hits = rng.binomial(64, betaincinv(*shape, rng.random(n_models)), (6, n_models))
        wrong += bool(safe_places(lows_of(hits), at_least, 0.95))
    assert wrong / n_studies < 0.05 + 4 * math.sqrt(0.05 * 0.95 / n_studies)
