"""Times to solution: known cases, and how often an optimum is taken for bracketed that is not."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import betaincinv

from cim_hal import Capabilities
from cim_hal.study.shares import Interval
from cim_hal.study.solution_times import (
    Length,
    bracketed,
    optimum_of,
    run_error,
    run_seconds,
    said_of,
    solution_time,
)


def length(round_trips: float, p: float) -> Length:
    hits = np.round(400 * np.clip(p + np.linspace(-0.02, 0.02, 20) * (0 < p < 1), 0, 1))
    return Length(round_trips, 1e-5 * round_trips, hits.astype(int), np.full(20, 400))


def test_a_time_is_the_repeats_times_a_run_and_without_a_success_it_has_no_end():
    found = solution_time(Interval(0.5, 0.0, 0.99), 0.01)
    assert found.value == pytest.approx(0.01 * math.log(0.01) / math.log(0.5))
    assert (found.low, found.high) == (0.01, math.inf)


def test_a_run_takes_its_round_trips_where_the_machine_says_how_long_one_is():
    machine = Capabilities(
        name="m", max_spins=8, coupling_bits=8, round_trip_s=2e-5, default_round_trips=100
    )
    assert run_seconds(None, [], machine) == pytest.approx(2e-3)
    assert run_seconds(50, [], machine) == pytest.approx(1e-3)


def test_of_other_machines_a_run_takes_the_median_over_jobs_whatever_one_had_to_wait_for():
    machine = Capabilities(name="m", max_spins=8, coupling_bits=8)
    seconds = 0.8, 0.0016, 0.0032, 0.0016, 0.0016
    jobs: list[Any] = [SimpleNamespace(device_s=each, runs=16) for each in seconds]
    assert run_seconds(50, jobs, machine) == pytest.approx(1e-4)
    assert run_error(jobs, machine) == 0  # most took as long
    assert run_error(jobs[:1], machine) == math.inf
    assert run_error(jobs[1:3], machine) == pytest.approx(0.438, abs=1e-3)


def test_an_optimum_between_the_lengths_is_stated():
    found = optimum_of([length(800, 0.6), length(50, 0.05), length(100, 0.3), length(200, 0.4)])
    assert (found.round_trips, found.doubt) == (100, "")
    said = said_of(found, {"noise": 1})
    assert said["is_bracketed"]
    assert said["verdict"].startswith("noise = 1: 0.0129 s [")


@pytest.mark.parametrize("best", [0.3, 1.0])  # paired, and by intervals
def test_a_length_is_not_shown_to_be_slower_by_times_that_are_not_known(best):
    lengths = [length(50, 0.05), length(100, best), length(800, best)]
    assert not optimum_of(lengths).doubt
    for error in (0.01, 2.0, math.inf):
        found = optimum_of([replace(one, run_error=error) for one in lengths])
        assert bool(found.doubt) == (error > 1)


def test_of_lengths_at_which_one_run_is_enough_the_shorter_is_better():
    runs, hits = np.full(40, 1000), np.repeat([999, 1000], 20)
    few = Length(20, 2e-4, np.full(40, 50), runs)
    lengths = [Length(t, 1e-5 * t, hits, runs) for t in (50.0, 100.0)]
    found = optimum_of([few, *lengths])
    assert (found.round_trips, found.doubt) == (50, "")


@pytest.mark.parametrize(
    ("lengths", "doubt"),
    [
        ([length(50, 0.5), length(100, 0.5), length(200, 0.5)], "no shorter length was measured"),
        ([length(50, 0.01), length(100, 0.1), length(200, 0.5)], "no longer length was measured"),
        ([length(50, 0.225), length(100, 0.4), length(200, 0.45)], "no shorter length is shown"),
        ([length(50, 0.01), length(100, 0.4), length(200, 0.638)], "no longer length is shown"),
        ([length(50, 0.1), length(100, 0.5)], "fewer than three"),
        ([length(50, 0), length(100, 0), length(200, 0)], "no shorter length was measured"),
    ],
)
def test_an_optimum_that_may_lie_beyond_is_a_bound(lengths, doubt):
    said = said_of(optimum_of(lengths), {})
    assert "optimum not bracketed: an upper bound only" in said["verdict"]
    assert doubt in said["verdict"]
    assert said["tts"] is None


@pytest.mark.slow
@pytest.mark.parametrize("concentration", [3, 1e6])
@pytest.mark.parametrize("n_models", [20, 100])
def test_an_optimum_at_an_end_is_rarely_taken_for_bracketed(n_models, concentration):
    """All lengths but the longest are as good as the shortest, which is the hardest case."""
    rng, n_studies, wrong = np.random.default_rng(n_models), 300, 0
    trips = np.array([1, 2, 4, 8, 64])
    p = 1 - 0.95 ** np.minimum(trips, 8)[:, None]
    runs = np.full(n_models, 64)
    for _ in range(n_studies):
        hard = rng.random(n_models)  # of a model, the same at all lengths
        hits = rng.binomial(64, betaincinv(p * concentration, (1 - p) * concentration, hard))
        lengths = [Length(t, t, k, runs) for t, k in zip(trips.tolist(), hits, strict=True)]
        wrong += not bracketed(lengths, 0.05)[1]
    assert wrong / n_studies < 0.05 + 4 * math.sqrt(0.05 * 0.95 / n_studies)
