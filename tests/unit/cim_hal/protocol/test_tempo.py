from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cim_hal.protocol.monitoring.tempo import ThroughputCounter

STEPS = st.lists(st.tuples(st.floats(0.0, 40.0), st.booleans()), max_size=30)


@given(STEPS)
def test_busy_seconds_are_neither_lost_nor_counted_twice(steps):
    tempo = ThroughputCounter(bucket_s=2.0, n_buckets=1000)
    now, busy_s = 100.0, 0.0
    tempo.advance(now, is_busy=False)
    for step, is_busy in steps:
        now += step
        busy_s += tempo.advance(now, is_busy=is_busy)
    assert busy_s == pytest.approx(sum(step for step, is_busy in steps if is_busy))
    columns = tempo.report()
    assert sum(columns.busy_s) == pytest.approx(busy_s)
    assert all(0.0 <= busy <= 2.0 + 1e-9 for busy in columns.busy_s)
    assert len(columns.jobs) == int(now // 2.0) - 50 + 1


def test_a_job_counts_in_the_stretch_in_which_it_ends():
    tempo = ThroughputCounter(bucket_s=5.0, n_buckets=3)
    for now, n_runs in ((0.0, 2), (4.9, 3), (5.1, 4)):
        tempo.advance(now, is_busy=False)
        tempo.job_ended(n_runs)
    assert (tempo.report().jobs, tempo.report().runs) == ((2, 1), (5, 4))


def test_only_the_last_stretches_are_kept_also_after_a_long_pause():
    tempo = ThroughputCounter(bucket_s=5.0, n_buckets=3)
    tempo.advance(0.0, is_busy=False)
    tempo.job_ended(1)
    assert tempo.advance(1e9, is_busy=True) == 1e9
    report = tempo.report()
    assert report.jobs == (0, 0, 0)
    assert report.busy_s == pytest.approx((5.0, 5.0, 0.0))
