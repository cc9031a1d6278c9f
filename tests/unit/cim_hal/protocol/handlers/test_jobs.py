"""Jobs from submission to result: keys, refusals, waits, fetches and cancels."""

from __future__ import annotations

import pytest
from cim_wire import CAPABILITIES, SteppedCore, measured, replies, runs, sample_request

from cim_hal.errors import DriverFaultError, JobCancelledError
from cim_hal.protocol.effects import Reply, Run, Stop
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.messages import (
    AckJob,
    Bye,
    CancelJob,
    Describe,
    FetchResult,
    ListJobs,
    Schedule,
    WaitJob,
)
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.protocol.wire.roles import Role, User


def _code(bench: SteppedCore, body, session: str = "") -> str:
    return bench.ask(body, session).code


def test_a_job_goes_from_submission_to_its_result(bench, session):
    reply, run = bench.sample(session)
    assert isinstance(run, Run)
    job = reply.packet.body.job
    assert run.program.n_runs == 2
    assert run.program.schedule == CAPABILITIES.default_schedule
    assert bench.send(WaitJob(job=job, timeout_s=5.0), session) == []
    (told,) = replies(bench.core.finish(job, measured(run.program), 1.0))
    assert told.state is JobState.DONE
    (effect,) = bench.send(FetchResult(job=job), session)
    batch = effect.packet.body
    assert (batch.n_runs, batch.n_spins, batch.record.seed) == (2, 2, 7)
    assert effect.packet.buffers[0].tolist() == [[3], [3]]


def test_the_answer_to_a_wait_brings_the_result_if_asked_to(bench, session):
    reply, run = bench.sample(session)
    wait = WaitJob(job=reply.packet.body.job, timeout_s=5.0, fetch=True)
    (running,) = replies(bench.send(wait.model_copy(update={"timeout_s": 0.0}), session))
    assert running.state is JobState.RUNNING
    bench.send(wait, session)
    told = bench.core.finish(run.job, measured(run.program), 1.0)
    (fetched,) = bench.send(FetchResult(job=run.job), session)
    for effect in [*told, *bench.send(wait, session)]:
        if isinstance(effect, Reply):
            assert effect.packet.body == fetched.packet.body
            assert effect.packet.buffers[0].tolist() == [[3], [3]]
    bench.send(AckJob(job=run.job), session)
    (gone,) = replies(bench.send(wait, session))
    assert (gone.state, gone.gone) == (JobState.DONE, True)


def test_a_wait_that_would_bring_a_result_tells_of_a_failure(bench, session):
    (run,) = runs(bench.sample(session))
    bench.send(WaitJob(job=run.job, timeout_s=5.0, fetch=True), session)
    (told,) = replies(bench.core.finish(run.job, DriverFaultError("off"), 1.0))
    assert (told.state, told.error.code) == (JobState.FAILED, "device.driver_fault")


def test_jobs_run_one_at_a_time_and_in_order(bench, session):
    started = runs(bench.sample(session, 1) + bench.sample(session, 2) + bench.sample(session, 3))
    assert len(started) == 1
    order = [started[0].program.seed]
    while started:
        started = runs(bench.core.finish(started[0].job, measured(started[0].program), 0.0))
        order += [run.program.seed for run in started]
    assert len(order) == 3


def test_the_same_key_and_body_is_the_same_job(bench, session):
    first, again = replies(bench.sample(session) + bench.sample(session))
    assert first.job == again.job
    assert runs(bench.sample(session)) == []


def test_the_same_key_with_another_body_is_a_conflict(bench, session):
    bench.sample(session)
    assert _code(bench, sample_request(seed=8), session) == "protocol.conflict"


def test_the_same_key_in_another_session_of_the_user_is_the_same_job(bench, session):
    first, second = replies(bench.sample(session) + bench.sample(bench.hello()))
    assert first.job == second.job


def test_a_full_queue_says_so(bench, session):
    for key in (1, 2, 3):
        bench.sample(session, key)
    (fault,) = replies(bench.sample(session, 4))
    assert (fault.code, fault.details["queue_length"]) == ("job.queue_full", 2)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"n_runs": 0}, "capability"),
        ({"n_runs": 101}, "capability"),
        ({"schedule": Schedule(pump=(9.0,), round_trips=5)}, "capability"),
        ({"schedule": Schedule(pump=(1.0,), round_trips=10**6)}, "capability"),
        ({"schedule": Schedule(pump=(1.0,), round_trips=0)}, "model.schedule"),
        ({"schedule": Schedule(pump=(float("nan"),), round_trips=5)}, "model.schedule"),
    ],
)
def test_what_does_not_fit_is_refused_and_not_queued(bench, session, changes, code):
    assert _code(bench, sample_request(**changes), session) == code
    assert bench.ask(Describe(), session).busy is False


def test_a_result_that_would_be_too_large_is_refused():
    bench = SteppedCore(result_bytes=1)
    session = bench.hello()
    bench.load(session)
    fault = bench.ask(sample_request(), session)
    assert (fault.code, fault.details["what"]) == ("capability", "result_bytes")


def test_a_fault_of_the_driver_is_the_status_and_the_answer_to_a_fetch(bench, session):
    _, run = bench.sample(session)
    bench.core.finish(run.job, DriverFaultError("the laser is off"), 0.0)
    status = bench.ask(WaitJob(job=run.job), session)
    assert (status.state, status.error.code) == (JobState.FAILED, "device.driver_fault")
    assert _code(bench, FetchResult(job=run.job), session) == "device.driver_fault"


def test_a_result_is_not_there_before_the_end_nor_beyond_its_rows(bench, session):
    _, run = bench.sample(session)
    assert _code(bench, FetchResult(job=run.job), session) == "protocol.local"
    bench.core.finish(run.job, measured(run.program), 0.0)
    assert _code(bench, FetchResult(job=run.job, first=2), session) == "protocol.local"
    assert bench.ask(FetchResult(job=run.job, first=1), session).first == 1


def test_a_wait_ends_after_its_time_and_not_before(bench, session):
    _, run = bench.sample(session)
    bench.send(WaitJob(job=run.job, timeout_s=5.0), session)
    assert replies(bench.core.tick(4.9)) == []
    (status,) = replies(bench.core.tick(5.0))
    assert status.state is JobState.RUNNING
    assert replies(bench.core.tick(6.0)) == []


def test_no_wait_is_longer_than_the_limit(bench, session):
    _, run = bench.sample(session)
    bench.send(WaitJob(job=run.job, timeout_s=1e9), session)
    assert len(replies(bench.core.tick(30.0))) == 1


def test_a_wait_sent_twice_is_answered_once(bench, session):
    _, run = bench.sample(session)
    packet = Packet(Kind.REQUEST, b"w" * 16, WaitJob(job=run.job, timeout_s=5.0), session)
    bench.core.receive(b"p", packet, 0.0, user=bench.user)
    bench.core.receive(b"p", packet, 1.0, user=bench.user)
    assert len(replies(bench.core.finish(run.job, measured(run.program), 2.0))) == 1


def test_cancelling_a_queued_job_ends_it_at_once(bench, session):
    bench.sample(session, 1)
    (status,) = replies(bench.sample(session, 2))
    told = bench.ask(CancelJob(job=status.job), session)
    assert (told.state, told.error.code) == (JobState.CANCELLED, "job.cancelled")
    assert bench.ask(Describe(), session).queued == 0


@pytest.mark.parametrize("sees_it", [True, False])
def test_cancelling_a_running_job_stops_the_driver(bench, session, sees_it):
    _, run = bench.sample(session)
    stop, reply = bench.send(CancelJob(job=run.job), session)
    assert isinstance(stop, Stop)
    assert reply.packet.body.state is JobState.STOPPING
    assert bench.ask(CancelJob(job=run.job), session).state is JobState.STOPPING
    outcome = JobCancelledError("stopped") if sees_it else measured(run.program)
    bench.core.finish(run.job, outcome, 0.0)
    status = bench.ask(WaitJob(job=run.job), session)
    assert (status.state, status.error.code) == (JobState.CANCELLED, "job.cancelled")


def test_cancelling_too_late_changes_nothing(bench, session):
    _, run = bench.sample(session)
    bench.core.finish(run.job, measured(run.program), 0.0)
    assert bench.ask(CancelJob(job=run.job), session).state is JobState.DONE


def test_a_session_that_ends_takes_its_jobs_with_it_and_frees_the_machine(bench, session):
    _, run = bench.sample(session, 1)
    bench.sample(session, 2)
    other = bench.hello()
    bench.sample(other, 3)
    effects = bench.send(Bye(), session)
    assert [type(effect) for effect in effects] == [Stop, Reply]
    (next_run,) = runs(bench.core.finish(run.job, JobCancelledError("stopped"), 0.0))
    assert bench.ask(WaitJob(job=next_run.job), other).state is JobState.RUNNING


def test_the_job_of_another_user_is_out_of_reach(bench, session):
    _, run = bench.sample(session)
    bench.user = User("bob", Role.USER)
    other = bench.hello()
    for body in (
        WaitJob(job=run.job),
        CancelJob(job=run.job),
        FetchResult(job=run.job),
        AckJob(job=run.job),
    ):
        assert _code(bench, body, other) == "protocol.unknown_reference"
    assert bench.ask(ListJobs(), other).jobs == ()
