from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from cim_hal.protocol.wire.messages.status import (
    EventSummary,
    JobSummary,
    LockSummary,
    MetricReading,
    MetricsReport,
    SessionSummary,
)

JOB = {
    "job": "0" * 32,
    "user": "ann",
    "state": "running",
    "n_spins": 3,
    "n_runs": 4,
    "round_trips": 5,
    "waited_s": 0.5,
}
REQUESTS = MetricReading(
    name="requests_total",
    kind="counter",
    labels=("type", "outcome"),
    series=(
        (("sample", "ok"), 5.0, ()),
        (("sample", "error"), 2.0, ()),
        (("ping", "ok"), 8.0, ()),
    ),
)
REPORT = MetricsReport(uptime_s=9.0, meters=(REQUESTS,))


@pytest.mark.parametrize(
    ("labels", "total"),
    [
        ({}, 15.0),
        ({"type": "sample"}, 7.0),
        ({"outcome": "ok"}, 13.0),
        ({"outcome": "ok", "type": "ping"}, 8.0),
        ({"type": "bye"}, 0.0),
    ],
)
def test_labels_that_are_not_named_are_summed_over(labels, total):
    assert REPORT.value("requests_total", **labels) == total


def test_what_was_never_counted_is_zero():
    assert REPORT.value("jobs_total", end="done") == 0.0


@pytest.mark.parametrize("progress", [-0.1, 1.1, math.nan])
def test_a_share_is_between_none_and_all(progress):
    assert JobSummary.model_validate(JOB | {"progress": 1.0}).progress == 1.0
    with pytest.raises(ValidationError, match="progress"):
        JobSummary.model_validate(JOB | {"progress": progress})


@pytest.mark.parametrize("seconds", [-1.0, math.inf, math.nan])
def test_times_are_ages_and_durations(seconds):
    with pytest.raises(ValidationError, match="waited_s"):
        JobSummary.model_validate(JOB | {"waited_s": seconds})


def test_a_token_is_not_told_to_others():
    with pytest.raises(ValidationError, match="session"):
        SessionSummary(session="0" * 32, user="ann", client="", age_s=1.0, idle_s=0.0)


def test_a_lock_without_an_end_is_told_so_and_facts_are_bounded():
    assert LockSummary(holder="ann", epoch=1).expires_in_s is None
    with pytest.raises(ValidationError, match="facts"):
        EventSummary(event="job", user="ann", ago_s=0.0, facts={str(i): i for i in range(17)})
