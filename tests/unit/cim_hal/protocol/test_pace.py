from __future__ import annotations

import pytest

from cim_hal.protocol.jobs.pace import JobSize, RunTimeEstimator


def test_nothing_is_known_before_the_first_job():
    assert RunTimeEstimator().estimate(JobSize(100, 10, 1000)) is None


def test_a_job_takes_as_long_as_its_round_trips_times_its_runs():
    pace = RunTimeEstimator()
    pace.learn(JobSize(100, 10, 1000), 0.5)
    assert pace.estimate(JobSize(100, 20, 1000)) == pytest.approx(1.0)
    assert pace.estimate(JobSize(100, 10, 5000)) == pytest.approx(2.5)


def test_a_size_has_its_own_rate_and_another_one_the_nearest():
    pace = RunTimeEstimator()
    pace.learn(JobSize(10, 1, 100), 0.1)
    pace.learn(JobSize(1000, 1, 100), 10.0)
    assert pace.estimate(JobSize(15, 1, 100)) == pytest.approx(0.1)
    assert pace.estimate(JobSize(2000, 1, 100)) == pytest.approx(10.0)


def test_a_machine_that_became_slower_is_believed_in_time():
    pace = RunTimeEstimator()
    pace.learn(JobSize(10, 1, 100), 1.0)
    for _ in range(20):
        pace.learn(JobSize(10, 1, 100), 2.0)
    assert pace.estimate(JobSize(10, 1, 100)) == pytest.approx(2.0, rel=0.8**20)
