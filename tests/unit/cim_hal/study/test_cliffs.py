"""Cliffs between levels whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest

from cim_hal.study.cliffs import cliff_of, find_cliff, next_level
from cim_hal.study.plan import Cliff
from cim_hal.study.shares import Interval, mean_of, share_of

CLIFF, SUCCESS = Cliff(factor="noise", threshold=0.5), "success_probability"


def sure(p: float) -> Interval:
    return Interval(p, p - 0.01, p + 0.01)


def test_a_cliff_lies_between_the_levels_on_either_side_of_the_threshold():
    levels = {0.0: sure(0.9), 1.0: sure(0.8), 2.0: Interval(0.45, 0.3, 0.6), 3.0: sure(0.1)}
    found = cliff_of(levels, 0.5)
    assert found is not None
    assert found.inside == (1.0, 2.0)
    assert (found.low, found.high) == (1.0, 3.0)  # at 2 it may be on either side
    assert next_level(found, CLIFF, [0, 3], is_whole=False) == 1.5
    coarse = CLIFF.model_copy(update={"resolution": 1.0})
    assert next_level(found, coarse, [0, 3], is_whole=False) is None


@pytest.mark.parametrize(
    ("last", "says"),
    [
        (0.1, "falls below 0.5 between 2 and 3; 95 %: from 1, to 3"),
        (0.495, "falls below 0.5 between 2 and 3; 95 %: from 1, no upper bound"),
        (0.9, "crosses 0.5 nowhere between the levels"),
    ],
)
def test_a_cliff_is_told_with_the_ends_that_are_known(last, says):
    of_levels = {1: sure(0.8), 2: sure(0.505), 3: sure(last)}
    points = [
        {"factors": {"noise": level}, "success_probability": p.value, "low": p.low, "high": p.high}
        for level, p in of_levels.items()
    ]
    found = find_cliff(CLIFF, (), points, SUCCESS)
    assert found["verdict"] == f"noise: success probability {says}"


@pytest.mark.parametrize(
    ("last", "says"),
    [
        (0.9, "is not known at 1 of 3 levels"),
        (0.1, "falls below 0.5 between 1 and 3; 95 %: from 1, to 3; not known at 1 of 3 levels"),
    ],
)
def test_levels_at_which_the_figure_is_not_known_are_told(last, says):
    known = {1: sure(0.8), 3: sure(last)}
    points = [{"factors": {"noise": 2}, "success_probability": None, "low": None, "high": None}]
    points += [
        {"factors": {"noise": level}, "success_probability": p.value, "low": p.low, "high": p.high}
        for level, p in known.items()
    ]
    found = find_cliff(CLIFF, (), points, SUCCESS)
    assert found["verdict"] == f"noise: success probability {says}"
    assert found["n_levels"] == 2


def test_of_several_crossings_the_least_contradicted_is_meant_and_the_interval_holds_all():
    values = [0.9, 0.45, 0.8, 0.7, 0.55, 0.2, 0.1, 0.3]
    levels = {float(level): sure(p) for level, p in enumerate(values)}
    levels[6.0] = Interval(0.1, 0.0, 0.6)  # not sure: what lies below is not asked
    found = cliff_of(levels, 0.5)
    assert found is not None
    assert found.inside == (4.0, 5.0)
    assert (found.low, found.high) == (0.0, 7.0)


def fine_grid(rng: np.random.Generator) -> tuple[float, float]:
    """Return the interval of a cliff at .5 in a fine grid whose levels differ little."""
    at = np.linspace(0, 1, 77)
    values = np.exp(0.5 * (0.5 - at))[:, None] * rng.gamma(4, 0.25, (77, 10))
    levels = {level: mean_of(here) for level, here in zip(at.tolist(), values, strict=True)}
    found = cliff_of(levels, 1.0, "below")
    return (found.low, found.high) if found else (0.0, 1.0)


def test_the_interval_of_a_cliff_in_a_fine_grid_holds_the_true_one():
    rng = np.random.default_rng(5)
    assert np.mean([low <= 0.5 <= high for low, high in (fine_grid(rng) for _ in range(40))]) > 0.9


def test_whole_levels_stay_whole_and_end_as_neighbours():
    found = cliff_of({2: sure(0.1), 9: sure(0.9)}, 0.5)
    assert found is not None
    assert next_level(found, CLIFF, [2, 9], is_whole=True) == 5
    found = cliff_of({5: sure(0.1), 6: sure(0.9)}, 0.5)
    assert found is not None
    assert next_level(found, CLIFF, [2, 9], is_whole=True) is None


@pytest.mark.parametrize(
    ("ends", "resolution", "is_whole", "says"),
    [
        ((7, 8), 0.5, True, "between 7 and 8, to 1 and not 0.5: no level lies between"),
        ((0.5, np.nextafter(0.5, 1)), 1e-30, False, "to 1.11e-16 and not 1e-30: no level"),
    ],
)
def test_a_cliff_is_sought_no_further_than_there_are_levels(ends, resolution, is_whole, says):
    fine = CLIFF.model_copy(update={"resolution": resolution})
    low, high = ends
    found = cliff_of({low: sure(0.1), high: sure(0.9)}, 0.5)
    assert found is not None
    assert next_level(found, fine, [0, 9], is_whole=is_whole) is None
    points = [
        {"factors": {"noise": level}, "success_probability": p, "low": p - 0.01, "high": p + 0.01}
        for level, p in ((low, 0.1), (high, 0.9))
    ]
    assert says in find_cliff(fine, (), points, SUCCESS)["verdict"]


@pytest.mark.parametrize(
    ("values", "says", "fails"),
    [
        ((1.0, 2.0, np.inf), "R99 rises above 2 between 2 and 3; 95 %: from 1, to 3", "above"),
        ((9.0, 2.0, 1.0), "R99 falls below 2 between 1 and 2; 95 %: from 1, to 3", "below"),
    ],
)
def test_a_figure_that_is_enough_below_its_threshold_fails_above_it(values, says, fails):
    cliff = Cliff(factor="noise", figure="r99", threshold=2)
    points = [
        {"factors": {"noise": level}, "r99": r, "r99_low": 0.9 * r, "r99_high": 1.1 * r}
        for level, r in enumerate(values, 1)
    ]
    found = find_cliff(cliff, (), points, "r99")  # at its threshold it is enough
    assert found["verdict"] == f"noise: {says}"
    assert (found["figure"], found["fails"]) == ("r99", fails)


def test_there_is_no_cliff_where_the_figure_stays_on_one_side():
    assert cliff_of({0.0: sure(0.9), 1.0: sure(0.8)}, 0.5) is None


def bisected(rng: np.random.Generator) -> tuple[float, float, int]:
    """Return the interval of a cliff at .37 in simulated runs of 20 models, and the levels."""
    hardness, levels, found = rng.normal(0, 0.03, 20), {}, None
    queue = [0.0, 1.0]
    while queue:
        at = queue.pop()
        p = 1 / (1 + np.exp((at - 0.37 + hardness) / 0.04))
        levels[at] = share_of(rng.binomial(16, p), [16] * 20).of_family
        found = cliff_of(levels, 0.5) if len(levels) > 1 else None
        level = found and next_level(found, CLIFF, [0, 1], is_whole=False)
        queue += [] if level is None or queue else [level]
    assert found is not None
    return found.low, found.high, len(levels)


@pytest.mark.slow
def test_the_interval_of_a_bisected_cliff_holds_the_true_one():
    rng = np.random.default_rng(4)
    found = [bisected(rng) for _ in range(60)]
    held = np.mean([low <= 0.37 <= high for low, high, _ in found])
    assert held >= 0.9
    assert np.median([high - low for low, high, _ in found]) < 0.2
    assert max(n for *_, n in found) <= 10
