"""Reports of a server to those who watch it."""

from __future__ import annotations

import pytest
from cim_wire import SteppedCore, finish, metrics_of, runs, status_of

from cim_hal.errors import DriverFaultError, JobCancelledError
from cim_hal.protocol import monitoring
from cim_hal.protocol.wire.codec import decode, encode
from cim_hal.protocol.wire.limits import MAX_SHOWN
from cim_hal.protocol.wire.messages import (
    Bye,
    CancelJob,
    Progress,
    WaitJob,
)
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.protocol.wire.roles import Role, User

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


def test_a_server_at_rest_is_idle(bench, session):
    bench.now = 60.0
    status = status_of(bench, session)
    assert (status.state, status.queued, status.running, status.recent) == ("idle", 0, None, ())
    assert (status.device, status.uptime_s, status.n_sessions) == ("bench", 60.0, 1)
    (seen,) = status.sessions
    assert (seen.user, seen.age_s, seen.idle_s) == ("alice", 60.0, 0.0)
    assert session.endswith(seen.session)
    assert len(seen.session) == 8


def test_a_job_is_seen_waiting_running_and_ended(bench, session):
    (first,) = runs(bench.sample(session, 1))
    bench.sample(session, 2, n_runs=5)
    bench.now = 10.0
    status = status_of(bench, session)
    assert (status.state, status.queued) == ("running", 1)
    assert (status.running.job, status.running.ran_s) == (first.job, 10.0)
    (waiting,) = status.queue
    assert (waiting.state, waiting.n_runs, waiting.waited_s) == ("queued", 5, 10.0)
    assert (waiting.user, waiting.n_spins, waiting.round_trips) == ("alice", 2, 1000)

    (second,) = runs(finish(bench, first))
    bench.now = 13.0
    assert second.job == waiting.job
    assert runs(finish(bench, second, DriverFaultError("no light"))) == []
    bench.now = 14.0
    status = status_of(bench, session)
    assert (status.state, status.ended) == ("idle", {"done": 1, "failed": 1})
    last, before = status.recent
    assert (last.state, last.reason, last.message) == (
        "failed",
        "device.driver_fault",
        "no light",
    )
    assert (last.waited_s, last.ran_s, last.ended_ago_s) == (10.0, 3.0, 1.0)
    assert (before.state, before.reason, before.waited_s) == ("done", "", 0.0)


def test_how_far_a_job_is_is_seen(bench, session):
    (run,) = runs(bench.sample(session))
    assert status_of(bench, session).running.progress is None
    bench.core.progress(run.job, Progress(done=1, total=4, unit="runs"), bench.now)
    bench.core.progress("0" * 32, Progress(done=4, total=4, unit="runs"), bench.now)
    assert status_of(bench, session).running.progress == 0.25


def test_a_job_that_is_to_stop_is_stopping_and_then_cancelled(bench, session):
    (run,) = runs(bench.sample(session))
    bench.send(CancelJob(job=run.job), session)
    assert status_of(bench, session).state == "stopping"
    finish(bench, run, JobCancelledError("it was"))
    (seen,) = status_of(bench, session).recent
    assert (seen.state, seen.reason) == ("cancelled", "job.cancelled")


def test_a_job_that_never_ran_ends_too(bench, session):
    (run,) = runs(bench.sample(session, 1))
    bench.sample(session, 2)
    other = bench.hello()
    bench.now = 5.0
    bench.ask(Bye(), session)
    assert status_of(bench, other).queued == 0
    (seen,) = status_of(bench, other).recent
    assert (seen.state, seen.waited_s, seen.ran_s) == ("cancelled", 5.0, 0.0)
    finish(bench, run, JobCancelledError("it was"))
    assert [job.state for job in status_of(bench, other).recent] == ["cancelled"] * 2
    assert metrics_of(bench, other).value("jobs_total", end="cancelled") == 2.0


def test_an_observer_may_look(bench, session):
    bench.user = OSKAR
    theirs = bench.hello()
    assert status_of(bench, theirs).n_sessions == 2
    assert metrics_of(bench, theirs).value("sessions") == 2.0


def test_events_are_those_of_the_audit_log_newest_first(bench, session):
    (run,) = runs(bench.sample(session))
    finish(bench, run)
    bench.now = 3.0
    events = status_of(bench, session).events
    assert [event.event for event in events] == ["job ended", "job started", "job", "session"]
    assert {event.facts.get("job") for event in events[:3]} == {run.job}
    assert [event.ago_s for event in events] == [3.0] * 4
    assert "coupling" in events[2].facts


def test_waits_that_are_never_answered_do_not_pile_up(bench, session, monkeypatch):
    monkeypatch.setattr(monitoring, "MAX_PENDING", 100)
    (run,) = runs(bench.sample(session))
    for _ in range(110):
        bench.send(WaitJob(job=run.job, timeout_s=20.0), session)
    assert len(bench.core._state.events._pending) == 100


def test_the_fullest_report_fits_a_header():
    bench = SteppedCore(queue_length=64, max_sessions=64)
    bench.user = User("é" * 300, Role.USER)
    sessions = [bench.hello() for _ in range(40)]
    bench.load(sessions[0])
    (run,) = runs(bench.sample(sessions[0], 0))
    for key in range(1, 2 * MAX_SHOWN):
        bench.sample(sessions[0], key)
        (run,) = runs(finish(bench, run, DriverFaultError("ü" * 5000)))
    for key in range(100, 150):
        bench.sample(sessions[0], key)
    status, metrics = status_of(bench, sessions[0]), metrics_of(bench, sessions[0])
    assert len(status.queue) == len(status.recent) == len(status.events) == MAX_SHOWN
    assert status.queued == 50
    for report in (status, metrics):
        packet = Packet(Kind.REPLY, bytes(16), report)
        assert decode(encode(packet)).body == report
