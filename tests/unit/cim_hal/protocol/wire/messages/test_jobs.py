from __future__ import annotations

import pytest
from cim_wire import REF
from pydantic import ValidationError

from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.messages.jobs import (
    AckJob,
    CancelJob,
    FetchResult,
    FetchTrace,
    JobStatus,
    ListJobs,
    Sample,
    Schedule,
    TraceSpec,
    WaitJob,
)
from cim_hal.protocol.wire.roles import Role

JOB = "0" * 32
SAMPLE = Sample(key=JOB, coupling=REF, schedule=None, n_runs=1, seed=0)


@pytest.mark.parametrize(
    ("cls", "role"),
    [
        (Sample, Role.USER),
        (CancelJob, Role.USER),
        (AckJob, Role.USER),
        (WaitJob, Role.OBSERVER),
        (FetchResult, Role.OBSERVER),
        (FetchTrace, Role.OBSERVER),
        (ListJobs, Role.OBSERVER),
    ],
)
def test_who_only_looks_changes_no_job(cls, role):
    assert cls.role is role


def test_jobs_of_others_are_ended_and_listed_by_operators_and_read_by_nobody():
    assert CancelJob.of_others is ListJobs.of_others is Role.OPERATOR
    assert not hasattr(FetchResult, "of_others")
    assert not hasattr(AckJob, "of_others")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"key": "short"}, "key"),
        ({"n_runs": -1}, "n_runs"),
        ({"seed": 2**63}, "seed"),
        ({"priority": 10}, "priority"),
        ({"priority": -10}, "priority"),
        ({"settings": {"": 1.0}}, "settings"),
        ({"trace": {"every": 0, "runs": 1}}, "every"),
    ],
)
def test_a_sample_beyond_its_bounds_is_refused_with_the_field(changes, name):
    with pytest.raises(ValidationError, match=name):
        Sample.model_validate(SAMPLE.model_dump() | changes)


@pytest.mark.parametrize("n_knots", [0, 1025])
def test_a_schedule_has_1_to_1024_knots(n_knots):
    Schedule(pump=(1.0,) * 1024, round_trips=1)
    with pytest.raises(ValidationError, match="pump"):
        Schedule(pump=(1.0,) * n_knots, round_trips=1)


def test_a_state_is_a_word_on_the_wire():
    status = JobStatus.model_validate({"job": JOB, "state": "running"})
    assert status.state is JobState.RUNNING
    assert (status.seq, status.ready, status.gone) == (0, 0, False)
    assert TraceSpec(every=1, runs=1).model_dump() == {"every": 1, "runs": 1}
    with pytest.raises(ValidationError, match="state"):
        JobStatus.model_validate({"job": JOB, "state": "asleep"})
