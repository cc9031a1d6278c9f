"""Results that nobody fetched stay, whoever else does what; new jobs are refused instead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cim_wire import CAPABILITIES, SteppedCore, done, measured, replies, runs
from hypothesis import given, settings
from hypothesis import strategies as st

from cim_hal.errors import DriverFaultError
from cim_hal.model.sampleset import Trace
from cim_hal.protocol.jobs.records import Fetched
from cim_hal.protocol.wire.messages import AckJob, FetchResult, FetchTrace, ListJobs, TraceSpec
from cim_hal.protocol.wire.roles import Role, User

ANN, BEN = User("ann", Role.USER), User("ben", Role.USER)


class _Users:
    """Two users of one server, each with a session."""

    def __init__(self, bench: SteppedCore) -> None:
        self.bench = bench
        self.sessions = {}
        for user in (ANN, BEN):
            bench.user = user
            self.sessions[user] = bench.hello()
            bench.load(self.sessions[user])

    def done(self, user: User, key: int, **changes) -> str:
        self.bench.user = user
        return done(self.bench, self.sessions[user], key, **changes)

    def refused(self, user: User, key: int, **changes) -> object:
        self.bench.user = user
        (fault,) = replies(self.bench.sample(self.sessions[user], key, **changes))
        return fault

    def fetch(self, user: User, job: str) -> str:
        self.bench.user = user
        return self.bench.ask(FetchResult(job=job), self.sessions[user]).t


def test_a_user_with_too_many_results_that_nobody_fetched_is_refused_and_others_are_not():
    users = _Users(SteppedCore(kept_jobs=8))
    bens = users.done(BEN, 1)
    anns = [users.done(ANN, key) for key in range(1, 5)]
    fault = users.refused(ANN, 5)
    assert (fault.code, fault.details["what"]) == ("session.quota", "user_kept_jobs")
    assert "fetch or acknowledge" in fault.hint
    users.done(BEN, 2)
    assert [users.fetch(ANN, job) for job in anns] == ["job.batch"] * 4
    assert users.fetch(BEN, bens) == "job.batch"
    users.done(ANN, 5)


def test_jobs_that_have_not_ended_count_with_the_bytes_that_they_may_have():
    users = _Users(SteppedCore(kept_bytes=200))  # 100 of them for each; a run takes a byte
    users.bench.user = ANN
    (run,) = runs(users.bench.sample(users.sessions[ANN], 1, n_runs=60))
    fault = users.refused(ANN, 2, n_runs=60)
    assert (fault.details["what"], fault.details["used"]) == ("user_kept_bytes", 120)
    users.bench.sample(users.sessions[ANN], 3, n_runs=40)
    users.bench.core.finish(run.job, DriverFaultError("smoke"), 0.0)  # it has no result after all
    assert users.refused(ANN, 4, n_runs=60).t == "job.status"


def test_the_first_job_is_taken_however_large_its_result():
    users = _Users(SteppedCore(kept_bytes=8))
    job = users.done(ANN, 1, n_runs=50)
    assert users.refused(ANN, 2).details["what"] == "user_kept_bytes"
    users.bench.core.tick(1.0)
    assert users.fetch(ANN, job) == "job.batch"


def test_where_all_together_keep_too_much_who_keeps_nothing_still_gets_a_job():
    users = _Users(SteppedCore(kept_jobs=4, user_kept_jobs=4))
    for key in range(1, 5):
        users.done(ANN, key)
    assert users.refused(ANN, 5).details["what"] == "user_kept_jobs"
    users.done(BEN, 1)
    assert (users.refused(BEN, 2).code, users.refused(BEN, 2).details["what"]) == (
        "capability",
        "kept_jobs",
    )


def test_what_was_fetched_makes_room_the_oldest_first_and_only_for_its_own_user():
    users = _Users(SteppedCore(kept_jobs=8))
    bens = [users.done(BEN, key) for key in range(1, 5)]
    assert {users.fetch(BEN, job) for job in bens} == {"job.batch"}
    anns = []
    for key in range(1, 20):
        anns.append(users.done(ANN, key))
        assert users.fetch(ANN, anns[-1]) == "job.batch"
    assert [users.fetch(BEN, job) for job in bens] == ["job.batch"] * 4
    assert [users.fetch(ANN, job) for job in anns[-6:]] == ["error"] * 2 + ["job.batch"] * 4


def test_jobs_without_a_result_make_room_and_are_never_in_the_way():
    users = _Users(SteppedCore(kept_jobs=8))
    users.bench.user = ANN
    for key in range(1, 20):
        (run,) = runs(users.bench.sample(users.sessions[ANN], key))
        users.bench.core.finish(run.job, DriverFaultError("smoke"), float(key))
    assert len(users.bench.ask(ListJobs(), users.sessions[ANN]).jobs) == 4
    users.done(ANN, 20)


def test_a_result_with_a_trace_is_fetched_when_both_are():
    capabilities = CAPABILITIES.model_copy(update={"reports_trace": True})
    users = _Users(SteppedCore(capabilities, kept_jobs=2))
    users.bench.user, session = ANN, users.sessions[ANN]
    (run,) = runs(users.bench.sample(session, 1, trace=TraceSpec(every=100, runs=1)))
    trace = Trace(np.arange(2), np.ones(2), np.zeros((2, 1, 2), np.float32))
    users.bench.core.finish(run.job, replace(measured(run.program), trace=trace), 0.0)
    users.fetch(ANN, run.job)
    assert users.refused(ANN, 2).code == "session.quota"
    users.bench.ask(FetchTrace(job=run.job), session)
    assert users.refused(ANN, 2).t == "job.status"


def test_what_was_fetched_is_known_after_a_restart():
    users = _Users(SteppedCore(kept_jobs=8))
    jobs = [users.done(ANN, key, keep=True) for key in range(1, 5)]
    for job in jobs[:3]:
        users.fetch(ANN, job)
    users.bench.ask(AckJob(job=jobs[0]), users.sessions[ANN])
    users.bench.core.tick(0.1)
    (record,) = [r for r in users.bench.core.records if isinstance(r, Fetched)]
    assert record.jobs == (jobs[1], jobs[2])
    again = SteppedCore(kept_jobs=2, disk=users.bench.core.disk)
    again.core.restore(list(users.bench.core.disk.jobs.values()), 1.0)
    again.user = ANN
    assert [info.job for info in again.ask(ListJobs(), again.hello()).jobs] == [jobs[3]]


@pytest.mark.parametrize("how", ["acknowledged", "old"])
def test_what_is_acknowledged_or_too_old_is_no_promise_any_more(how):
    users = _Users(SteppedCore(kept_jobs=2, result_s=100.0, session_s=1e9))
    job = users.done(ANN, 1)
    assert users.refused(ANN, 2).code == "session.quota"
    if how == "old":
        users.bench.now = 100.0
        users.bench.core.tick(users.bench.now)
    else:
        users.bench.ask(AckJob(job=job), users.sessions[ANN])
    assert users.refused(ANN, 2).t == "job.status"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([ANN, BEN]), st.sampled_from(["run", "fail", "fetch", "ack"])),
        max_size=60,
    )
)
def test_no_result_is_lost_before_it_was_fetched_whoever_does_what(moves):
    users = _Users(SteppedCore(kept_jobs=6, kept_bytes=20, session_s=1e9))
    bench, kept, fetched = users.bench, {ANN: [], BEN: []}, set()
    for key, (user, move) in enumerate(moves, start=1):
        bench.user, session = user, users.sessions[user]
        waiting = [job for job in kept[user] if job not in fetched]
        if move in {"run", "fail"}:
            for run in runs(bench.sample(session, key)):
                outcome = measured(run.program) if move == "run" else DriverFaultError("off")
                bench.core.finish(run.job, outcome, bench.now)
                if move == "run":
                    kept[user].append(run.job)
        elif waiting and move == "fetch":
            assert users.fetch(user, waiting[0]) == "job.batch"
            fetched.add(waiting[0])
        elif waiting:
            bench.ask(AckJob(job=waiting[0]), session)
            fetched.add(waiting[0])
        bench.now += 1.0
        bench.core.tick(bench.now)
    for user, jobs in kept.items():
        for job in jobs:
            assert job in fetched or users.fetch(user, job) == "job.batch"
        bench.user = user
        assert len(bench.ask(ListJobs(), users.sessions[user]).jobs) <= 3 + 1
