"""Runs that are handed over before the end of their job, and news that come unasked."""

from __future__ import annotations

import numpy as np
import pytest
from cim_wire import SteppedCore, replies, runs

from cim_hal.errors import DriverFaultError, EmergencyStopError, JobCancelledError
from cim_hal.protocol.effects import Effect, Reply
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.messages import (
    AckJob,
    AskMetrics,
    Bye,
    CancelJob,
    EmergencyStop,
    FetchResult,
    ListJobs,
    Progress,
    WaitJob,
)
from cim_hal.protocol.wire.packet import Kind
from cim_hal.protocol.wire.results import Result, pack_spins

SPINS = np.where(np.arange(20).reshape(10, 2) % 3, 1, -1).astype(np.int8)
PACKED = pack_spins(SPINS)


@pytest.fixture
def bench() -> SteppedCore:
    return SteppedCore(session_s=9000.0)


@pytest.fixture
def session(bench: SteppedCore) -> str:
    token = bench.hello()
    bench.load(token)
    return token


def _first(n_runs: int) -> Result:
    return Result(PACKED[:n_runs], None, 2, 0.1 * n_runs)


def _begun(bench: SteppedCore, session: str, key: int = 1) -> str:
    (run,) = runs(bench.sample(session, key, n_runs=10))
    return run.job


def _rows(bench: SteppedCore, session: str, job: str, first: int) -> np.ndarray:
    """The rows of the answer, or the code of the error."""
    (effect,) = bench.send(FetchResult(job=job, first=first, partial=True), session)
    body = effect.packet.body
    return body.code if body.t == "error" else effect.packet.buffers[0]


def _events(effects: list[Effect]) -> list[object]:
    sent = [effect.packet for effect in effects if isinstance(effect, Reply)]
    return [packet.body for packet in sent if packet.kind is Kind.EVENT]


# ---- runs that are ready --------------------------------------------------------------------


def test_runs_that_were_delivered_can_be_fetched_by_number_while_the_job_runs(bench, session):
    job = _begun(bench, session)
    assert _rows(bench, session, job, 0) == "protocol.local"
    bench.core.deliver(job, _first(3), 1.0)
    told = bench.ask(WaitJob(job=job), session)
    assert (told.state, told.ready) == (JobState.RUNNING, 3)
    np.testing.assert_array_equal(_rows(bench, session, job, 0), PACKED[:3])
    np.testing.assert_array_equal(_rows(bench, session, job, 2), PACKED[2:3])
    assert _rows(bench, session, job, 3) == "protocol.local"
    bench.core.deliver(job, _first(7), 2.0)
    np.testing.assert_array_equal(_rows(bench, session, job, 3), PACKED[3:7])


def test_a_batch_says_how_many_runs_there_will_be_and_when_these_were_there(bench, session):
    job = _begun(bench, session)
    bench.core.deliver(job, _first(3), 1.0)
    batch = bench.ask(FetchResult(job=job, first=1, partial=True), session)
    assert (batch.n_runs, batch.first, batch.n_spins) == (10, 1, 2)
    assert (batch.record.device_s, batch.record.notes) == (pytest.approx(0.3), {})


def test_without_being_asked_for_runs_of_a_job_that_is_not_done_are_no_result(bench, session):
    job = _begun(bench, session)
    bench.core.deliver(job, _first(3), 1.0)
    assert bench.ask(FetchResult(job=job), session).code == "protocol.local"
    bench.core.finish(job, DriverFaultError("smoke"), 2.0)
    assert bench.ask(FetchResult(job=job), session).code == "device.driver_fault"


def test_the_runs_of_a_done_job_are_asked_for_in_either_way(bench, session):
    job = _begun(bench, session)
    bench.core.deliver(job, _first(3), 1.0)
    bench.core.finish(job, _first(10), 2.0)
    assert bench.ask(WaitJob(job=job), session).ready == 10
    np.testing.assert_array_equal(_rows(bench, session, job, 3), PACKED[3:])
    assert bench.ask(FetchResult(job=job), session).n_runs == 10
    assert _rows(bench, session, job, 10) == "protocol.local"


@pytest.mark.parametrize("outcome", [DriverFaultError("smoke"), JobCancelledError("stopped")])
def test_what_there_was_of_a_job_that_is_not_done_stays_and_so_does_the_reason(
    bench, session, outcome
):
    job = _begun(bench, session)
    bench.core.deliver(job, _first(4), 1.0)
    bench.core.finish(job, outcome, 2.0)
    told = bench.ask(WaitJob(job=job), session)
    assert (told.error.code, told.ready) == (outcome.code, 4)
    np.testing.assert_array_equal(_rows(bench, session, job, 0), PACKED[:4])
    assert _rows(bench, session, job, 4) == outcome.code
    (info,) = bench.ask(ListJobs(), session).jobs
    assert (info.n_bytes, info.reason) == (4, outcome.code)
    bench.ask(AckJob(job=job), session)
    assert _rows(bench, session, job, 0) == outcome.code


def test_an_interrupted_job_ends_for_the_reason_of_who_stopped_it(bench, session):
    job = _begun(bench, session)
    bench.core.deliver(job, _first(4), 1.0)
    bench.send(EmergencyStop(reason="smoke"), session)
    bench.core.finish(job, JobCancelledError("stopped"), 2.0)
    told = bench.ask(WaitJob(job=job), session)
    assert (told.error.code, told.ready) == (EmergencyStopError.code, 4)


@pytest.mark.parametrize(("n_delivered", "n_kept"), [(0, 0), (4, 10)])
def test_of_a_job_that_was_done_before_it_saw_the_cancel_all_is_kept_or_nothing(
    bench, session, n_delivered, n_kept
):
    job = _begun(bench, session)
    if n_delivered:
        bench.core.deliver(job, _first(n_delivered), 1.0)
    bench.send(CancelJob(job=job), session)
    bench.core.finish(job, _first(10), 2.0)
    told = bench.ask(WaitJob(job=job), session)
    assert (told.state, told.ready) == (JobState.CANCELLED, n_kept)


def test_a_delivery_that_comes_after_the_end_changes_nothing(bench, session):
    job = _begun(bench, session)
    bench.core.finish(job, DriverFaultError("smoke"), 1.0)
    assert bench.core.deliver(job, _first(4), 2.0) == []
    assert bench.ask(WaitJob(job=job), session).ready == 0


def test_after_a_restart_what_ran_is_gone_and_what_had_ended_is_there(bench, session):
    ended = _begun(bench, session, 1)
    bench.core.deliver(ended, _first(4), 1.0)
    bench.core.finish(ended, DriverFaultError("smoke"), 2.0)
    ran = _begun(bench, session, 2)
    bench.core.deliver(ran, _first(4), 3.0)
    new = SteppedCore(disk=bench.core.disk)
    new.core.restore(list(bench.core.disk.jobs.values()), 50.0)
    token = new.hello()
    assert new.ask(WaitJob(job=ended), token).ready == 4
    told = new.ask(WaitJob(job=ran), token)
    assert (told.error.code, told.ready) == ("device.restarted", 0)
    np.testing.assert_array_equal(_rows(new, token, ended, 0), PACKED[:4])


def test_a_job_that_runs_when_its_session_ends_is_cancelled_and_its_runs_stay_a_while(
    bench, session
):
    job = _begun(bench, session)
    bench.core.deliver(job, _first(4), 1.0)
    bench.ask(Bye(), session)
    other = bench.hello()
    assert bench.ask(WaitJob(job=job), other).state is JobState.STOPPING
    bench.core.finish(job, JobCancelledError("stopped"), 2.0)
    told = bench.ask(WaitJob(job=job), other)
    assert (told.state, told.ready) == (JobState.CANCELLED, 4)


# ---- news that come unasked -----------------------------------------------------------------


def _half(done: int) -> Progress:
    return Progress(done=done, total=10, unit="runs")


def test_changes_are_told_while_a_wait_goes_on_and_its_answer_comes_with_the_end(bench, session):
    job = _begun(bench, session)
    (now,) = _events(bench.send(WaitJob(job=job, timeout_s=20.0, events=True), session))
    assert now.state is JobState.RUNNING
    (told,) = _events(bench.core.progress(job, _half(5), 1.0))
    assert (told.progress, told.seq > now.seq) == (_half(5), True)
    (told,) = _events(bench.core.deliver(job, _first(5), 1.0))
    assert told.ready == 5
    assert bench.core.tick(2.0) == []
    effects = bench.core.finish(job, _first(10), 3.0)
    assert _events(effects) == []
    (answer,) = replies(effects)
    assert (answer.state, answer.ready) == (JobState.DONE, 10)
    assert bench.core.tick(4.0) == []


def test_an_event_has_the_id_of_its_request(bench, session):
    job = _begun(bench, session)
    bench.send(WaitJob(job=job, timeout_s=20.0, events=True), session, peer=b"q")
    (event,) = bench.core.progress(job, _half(1), 1.0)
    (reply,) = [e for e in bench.core.finish(job, _first(10), 3.0) if isinstance(e, Reply)]
    assert (event.peer, event.packet.id) == (reply.peer, reply.packet.id)
    assert (event.packet.kind, reply.packet.kind) == (Kind.EVENT, Kind.REPLY)


def test_what_was_seen_already_is_no_news(bench, session):
    job = _begun(bench, session)
    seq = bench.ask(WaitJob(job=job), session).seq
    wait = WaitJob(job=job, timeout_s=20.0, since=seq, events=True)
    assert bench.send(wait, session) == []
    assert len(_events(bench.core.progress(job, _half(1), 1.0))) == 1


def test_a_wait_with_events_is_answered_when_its_time_is_over_and_tells_no_more(bench, session):
    job = _begun(bench, session)
    bench.send(WaitJob(job=job, timeout_s=2.0, events=True), session)
    bench.core.progress(job, _half(1), 1.0)
    (answer,) = bench.core.tick(2.0)
    assert (answer.packet.kind, answer.packet.body.progress) == (Kind.REPLY, _half(1))
    assert bench.core.progress(job, _half(2), 3.0) == []


def test_a_wait_that_is_sent_again_is_told_everything_once(bench, session):
    job = _begun(bench, session)
    wait = WaitJob(job=job, timeout_s=20.0, events=True)
    bench.ids = iter([7, 7])
    for _ in range(2):
        bench.send(wait, session)
    assert len(_events(bench.core.progress(job, _half(1), 1.0))) == 1


def test_events_are_not_counted_as_answers(bench, session):
    job = _begun(bench, session)
    bench.send(WaitJob(job=job, timeout_s=20.0, events=True), session)
    bench.core.progress(job, _half(1), 1.0)
    waits = {"type": "job.wait", "outcome": "ok"}
    assert bench.ask(AskMetrics(), session).value("requests_total", **waits) == 0
    bench.core.finish(job, _first(10), 3.0)
    assert bench.ask(AskMetrics(), session).value("requests_total", **waits) == 1
