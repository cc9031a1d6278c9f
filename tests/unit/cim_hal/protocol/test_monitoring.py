"""What a core says of itself to those who watch."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cim_wire import SteppedCore, finish, metrics_of, runs, status_of
from hypothesis import given
from hypothesis import strategies as st

from cim_hal.protocol.monitoring import METRICS, Counters, ThroughputCounter
from cim_hal.protocol.wire.messages import (
    MetricsReport,
    Ping,
    WaitJob,
)
from cim_hal.protocol.wire.roles import Role, User

PAGE = (Path(__file__).parents[4] / "docs/reference/metrics.md").read_text(encoding="utf-8")
ALICE, OSKAR = User("alice", Role.USER), User("oskar", Role.OBSERVER)


@pytest.fixture
def bench() -> SteppedCore:
    return SteppedCore()


@pytest.fixture
def session(bench) -> str:
    bench.user = ALICE
    session = bench.hello()
    bench.load(session)
    return session


def test_requests_are_counted_by_type_and_outcome(bench, session):
    bench.ask(Ping(), session)
    bench.ask(Ping(), session)
    bench.ask(Ping(), "f" * 32)
    report = metrics_of(bench, session)
    assert report.value("requests_total", type="ping", outcome="ok") == 2.0
    refused = {"type": "ping", "outcome": "protocol.unknown_reference"}
    assert report.value("requests_total", **refused) == 1.0


def test_a_reply_that_comes_later_counts_with_the_time_it_took(bench, session):
    (run,) = runs(bench.sample(session))
    bench.send(WaitJob(job=run.job, timeout_s=20.0), session)
    bench.now = 7.0
    finish(bench, run)
    report = metrics_of(bench, session)
    assert report.value("requests_total", type="job.wait", outcome="ok") == 1.0
    assert report.value("request_seconds", type="job.wait") == 7.0


def test_time_is_counted_where_it_goes(bench, session):
    (first,) = runs(bench.sample(session, 1))
    bench.sample(session, 2)
    bench.now = 4.0
    (second,) = runs(finish(bench, first))
    bench.now = 6.0
    assert metrics_of(bench, session).value("device_busy_seconds_total") == 6.0
    finish(bench, second)
    report = metrics_of(bench, session)
    assert report.value("run_seconds") == 6.0
    assert report.value("queue_wait_seconds") == 4.0
    assert report.value("runs_total") == 4.0
    assert sum(status_of(bench, session).throughput.busy_s) == 6.0


def test_an_upload_is_timed_from_its_opening(bench):
    session = bench.hello()
    bench.load(session)
    bench.load(session)  # already there: no second upload
    (reading,) = [m for m in metrics_of(bench, session).meters if m.name == "upload_seconds"]
    (((), _, counts),) = reading.series
    assert sum(counts) == 1
    assert metrics_of(bench, session).value("upload_bytes_total") == 1.0


# ---- counters and throughput ---------------------------------------------------------------


def _report(meters: Counters) -> MetricsReport:
    return MetricsReport(uptime_s=1.0, meters=meters.readings())


def test_counters_add_up_by_label():
    meters = Counters()
    meters.count("jobs_total", "done", by=2)
    meters.count("jobs_total", "failed")
    report = _report(meters)
    assert report.value("jobs_total") == 3.0
    assert report.value("jobs_total", end="done") == 2.0
    assert report.value("jobs_total", end="cancelled") == 0.0


def test_a_gauge_is_what_it_was_set_to_last():
    meters = Counters()
    meters.set("memory_bytes", 5.0, "server")
    meters.set("memory_bytes", 3.0, "server")
    assert _report(meters).value("memory_bytes", process="server") == 3.0


@pytest.mark.parametrize(("seconds", "bucket"), [(0.0, 0), (1e-4, 0), (2e-4, 1), (1e9, -1)])
def test_an_observation_falls_into_one_bucket_up_to_its_bound(seconds, bucket):
    meters = Counters()
    meters.observe("run_seconds", seconds)
    (reading,) = [each for each in meters.readings() if each.name == "run_seconds"]
    (((), total, counts),) = reading.series
    assert (total, sum(counts), counts[bucket]) == (seconds, 1, 1)
    assert len(counts) == len(reading.bounds) + 1


def test_what_was_never_counted_is_there_and_zero():
    report = _report(Counters())
    for name, meter in METRICS.items():
        (reading,) = [each for each in report.meters if each.name == name]
        assert len(reading.series) == (0 if meter.labels else 1)
        assert report.value(name) == 0.0


def test_the_names_are_those_of_the_manual():
    rows = re.findall(r"^\| `cim_hal_(\w+)` \| (\w+) \|([^|]*)\|", PAGE, re.MULTILINE)
    found = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert found.pop("uptime_seconds") == ("gauge", ())
    assert found == {name: (meter.kind, meter.labels) for name, meter in METRICS.items()}


STEPS = st.lists(st.tuples(st.floats(0.0, 40.0), st.booleans()), max_size=30)


@given(STEPS)
def test_busy_seconds_are_neither_lost_nor_counted_twice(steps):
    throughput = ThroughputCounter(bucket_s=2.0, n_buckets=1000)
    now, busy_s = 100.0, 0.0
    throughput.advance(now, is_busy=False)
    for step, is_busy in steps:
        now += step
        busy_s += throughput.advance(now, is_busy=is_busy)
    assert busy_s == pytest.approx(sum(step for step, is_busy in steps if is_busy))
    columns = throughput.report()
    assert sum(columns.busy_s) == pytest.approx(busy_s)
    assert all(0.0 <= busy <= 2.0 + 1e-9 for busy in columns.busy_s)
    assert len(columns.jobs) == int(now // 2.0) - 50 + 1


def test_a_job_counts_in_the_interval_in_which_it_ends():
    throughput = ThroughputCounter(bucket_s=5.0, n_buckets=3)
    for now, n_runs in ((0.0, 2), (4.9, 3), (5.1, 4)):
        throughput.advance(now, is_busy=False)
        throughput.job_ended(n_runs)
    assert (throughput.report().jobs, throughput.report().runs) == ((2, 1), (5, 4))


def test_only_the_last_intervals_are_kept_also_after_a_long_pause():
    throughput = ThroughputCounter(bucket_s=5.0, n_buckets=3)
    throughput.advance(0.0, is_busy=False)
    throughput.job_ended(1)
    assert throughput.advance(1e9, is_busy=True) == 1e9
    report = throughput.report()
    assert report.jobs == (0, 0, 0)
    assert report.busy_s == pytest.approx((5.0, 5.0, 0.0))
