"""Keys that outlive results, acknowledgements, waiting for news, restarts, and full disks."""

from __future__ import annotations

import pytest
from cim_wire import CAPABILITIES, CONTENT, Bench, measured, replies, runs, sample_request

from cim_hal.errors import DriverFaultError, UnknownReferenceError
from cim_hal.protocol.couplings.content import lower_encoded
from cim_hal.protocol.effects import Effect, Lower, Run, Stop
from cim_hal.protocol.jobs.records import Accepted, Dropped, Ended, Forgotten, Saved, Started
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.jobs.table import IdempotencyRules, body_digest, job_id
from cim_hal.protocol.wire.messages import (
    AckJob,
    Bye,
    CancelJob,
    Describe,
    FetchResult,
    Hello,
    ListJobs,
    Ping,
    Progress,
    WaitJob,
)
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.protocol.wire.roles import LOCAL, Role, User


@pytest.fixture
def bench() -> Bench:
    return Bench(keys=IdempotencyRules(kept_s=1000.0, max_keys=4), result_s=100.0, session_s=9000.0)


@pytest.fixture
def session(bench: Bench) -> str:
    token = bench.hello()
    bench.load(token)
    return token


def _kinds(bench: Bench) -> list[type]:
    return [type(record) for record in bench.core.records]


def _done(bench: Bench, session: str, key: int = 1, **changes) -> str:
    (run,) = runs(bench.sample(session, key, **changes))
    bench.core.finish(run.job, measured(run.program), bench.now)
    return run.job


# ---- keys -----------------------------------------------------------------------------------


def test_a_key_makes_one_id_for_a_user_and_another_for_the_next():
    key = "0" * 32
    assert job_id("alice", key) == job_id("alice", key)
    assert job_id("alice", key) != job_id("bob", key)
    assert len(job_id("alice", key)) == 32


def test_requests_that_differ_only_in_their_key_have_the_same_digest():
    assert body_digest(sample_request(1)) == body_digest(sample_request(2))
    assert body_digest(sample_request(1)) != body_digest(sample_request(1, seed=8))
    assert body_digest(sample_request(1)) != body_digest(sample_request(1, keep=True))


def test_settings_in_another_order_are_the_same_request():
    there, back = {"a": 1.0, "b": 2.0}, {"b": 2.0, "a": 1.0}
    assert body_digest(sample_request(settings=there)) == body_digest(sample_request(settings=back))


def test_a_key_whose_result_was_acknowledged_never_runs_again(bench, session):
    job = _done(bench, session)
    told = bench.ask(AckJob(job=job), session)
    assert (told.state, told.gone) == (JobState.DONE, True)
    (again,) = replies(effects := bench.sample(session))
    assert (again.job, again.state, again.gone) == (job, JobState.DONE, True)
    assert runs(effects) == []
    assert bench.ask(sample_request(seed=8), session).code == "protocol.conflict"
    assert bench.ask(AckJob(job=job), session).gone  # sent again, it does no harm


def test_a_key_outlives_its_result_by_its_own_time(bench, session):
    job = _done(bench, session)
    bench.now = 100.0
    bench.core.tick(bench.now)
    assert bench.ask(WaitJob(job=job), session).gone
    bench.now = 999.0
    bench.core.tick(bench.now)
    assert replies(bench.sample(session))[0].gone
    bench.now = 1000.0
    bench.core.tick(bench.now)
    assert bench.ask(WaitJob(job=job), session).code == "protocol.unknown_reference"
    assert _kinds(bench) == [Accepted, Started, Ended, Dropped, Forgotten]


def test_young_keys_are_not_forgotten_for_new_jobs(bench, session):
    for key in (1, 2, 3, 4):
        job = _done(bench, session, key)
        bench.ask(AckJob(job=job), session)
    bench.now = 10.0
    (fault,) = replies(bench.sample(session, 5))
    assert (fault.code, fault.details["retry_after_s"]) == ("job.key_limit", 990.0)
    assert replies(bench.sample(session, 4))[0].gone
    bench.now = 1000.0
    bench.core.tick(bench.now)
    assert len(runs(bench.sample(session, 5))) == 1


def test_a_failed_job_keeps_its_reason_when_its_key_is_all_that_is_left(bench, session):
    (run,) = runs(bench.sample(session))
    bench.core.finish(run.job, DriverFaultError("the laser is off"), 0.0)
    told = bench.ask(AckJob(job=run.job), session)
    assert (told.state, told.error.message, told.gone) == ("failed", "the laser is off", True)
    assert bench.ask(FetchResult(job=run.job), session).code == "device.driver_fault"


def test_a_job_that_has_not_ended_cannot_be_acknowledged(bench, session):
    (run,) = runs(bench.sample(session))
    assert bench.ask(AckJob(job=run.job), session).code == "protocol.local"


# ---- sessions -------------------------------------------------------------------------------


def test_a_hello_that_is_sent_again_opens_one_session():
    bench = Bench(max_sessions=1)
    hello = Packet(Kind.REQUEST, b"h" * 16, Hello(protocols=((1, 0), (1, 0))))
    (first,) = replies(bench.core.receive(b"p", hello, 0.0))
    (again,) = replies(bench.core.receive(b"another connection", hello, 1.0))
    assert first == again


def test_a_hello_that_comes_after_its_session_ended_opens_none():
    bench = Bench()
    hello = Packet(Kind.REQUEST, b"h" * 16, Hello(protocols=((1, 0), (1, 0))))
    (welcome,) = replies(bench.core.receive(b"p", hello, 0.0))
    bye = Packet(Kind.REQUEST, b"b" * 16, Bye(), welcome.session)
    bench.core.receive(b"p", bye, 1.0)
    (fault,) = replies(bench.core.receive(b"p", hello, 2.0))
    assert fault.details == {"kind": "session"}


def test_the_hello_of_another_user_with_the_same_id_is_another_session():
    bench = Bench()
    hello = Packet(Kind.REQUEST, b"h" * 16, Hello(protocols=((1, 0), (1, 0))))
    (mine,) = replies(bench.core.receive(b"p", hello, 0.0, user=LOCAL))
    (theirs,) = replies(bench.core.receive(b"p", hello, 0.0, user=User("bob", Role.USER)))
    assert mine.session != theirs.session


def test_a_job_that_is_kept_outlives_its_session_and_is_found_in_another(bench, session):
    (run,) = runs(bench.sample(session, 1, keep=True))
    bench.sample(session, 2)
    bench.ask(Bye(), session)
    other = bench.hello()
    states = [info.state for info in bench.ask(ListJobs(), other).jobs]
    assert states == [JobState.RUNNING, JobState.CANCELLED]
    bench.core.finish(run.job, measured(run.program), 1.0)
    assert bench.ask(FetchResult(job=run.job), other).n_runs == 2


def test_the_result_of_a_job_that_is_not_kept_goes_with_its_session(bench, session):
    job = _done(bench, session)
    bench.ask(Bye(), session)
    assert bench.ask(WaitJob(job=job), bench.hello()).gone


# ---- news -----------------------------------------------------------------------------------


def test_a_wait_since_a_number_is_answered_by_the_next_change(bench, session):
    first, run = bench.sample(session)
    seq = first.packet.body.seq
    started = bench.ask(WaitJob(job=run.job, timeout_s=5.0, since=seq), session)
    assert (started.state, started.seq > seq) == (JobState.RUNNING, True)
    assert bench.send(WaitJob(job=run.job, timeout_s=5.0, since=started.seq), session) == []
    half = Progress(done=1, total=2, unit="runs")
    (told,) = replies(bench.core.progress(run.job, half, 1.0))
    assert (told.progress, told.state) == (half, JobState.RUNNING)


def test_a_wait_without_a_number_is_answered_by_the_end_alone(bench, session):
    (run,) = runs(bench.sample(session))
    bench.send(WaitJob(job=run.job, timeout_s=5.0), session)
    half = Progress(done=1, total=2, unit="runs")
    assert replies(bench.core.progress(run.job, half, 1.0)) == []
    assert len(replies(bench.core.finish(run.job, measured(run.program), 2.0))) == 1


# ---- lists ----------------------------------------------------------------------------------


def test_a_list_has_the_jobs_of_the_user_page_by_page_and_by_state():
    bench = Bench(kept_jobs=100)
    session = bench.hello()
    bench.load(session)
    jobs = [_done(bench, session, key) for key in range(1, 41)]
    first = bench.ask(ListJobs(), session)
    rest = bench.ask(ListJobs(after=first.cursor), session)
    assert [info.job for info in first.jobs + rest.jobs] == jobs
    assert (first.more, rest.more) == (True, False)
    assert bench.ask(ListJobs(states=("queued",)), session).jobs == ()
    (one,) = bench.ask(ListJobs(job=jobs[7]), session).jobs
    assert (one.n_runs, one.seed, one.n_bytes, one.keep) == (2, 7, 2, False)


def test_an_operator_lists_the_jobs_of_all(bench, session):
    _done(bench, session)
    bench.user = User("olga", Role.OPERATOR)
    (info,) = bench.ask(ListJobs(), bench.hello()).jobs
    assert info.owner == "anonymous"


# ---- what cannot be written -----------------------------------------------------------------


def test_a_job_that_cannot_be_written_is_refused_and_leaves_no_trace(bench, session):
    bench.core.disk.is_full = True
    (fault,) = replies(effects := bench.sample(session))
    assert (fault.code, runs(effects)) == ("server.storage", [])
    assert bench.ask(ListJobs(), session).jobs == ()
    bench.core.disk.is_full = False
    assert len(runs(bench.sample(session))) == 1


def test_a_start_that_cannot_be_written_is_put_off_and_keeps_its_place(bench, session):
    (run,) = runs(bench.sample(session, 1, seed=1))
    bench.sample(session, 2, seed=2)
    bench.sample(session, 3, seed=3)
    bench.core.finish(run.job, measured(run.program), 0.0)
    (second,) = [r for r in bench.core.records if isinstance(r, Started)][1:]
    bench.core.disk.is_full = True
    assert runs(bench.core.finish(second.job, DriverFaultError("off"), 1.0)) == []
    assert bench.ask(WaitJob(job=second.job), session).state is JobState.RUNNING
    bench.core.disk.is_full = False
    assert runs(bench.core.tick(1.5)) == []  # not at once
    (third,) = runs(bench.core.tick(2.0))
    assert third.program.seed == 3


def test_an_end_that_cannot_be_written_is_told_to_nobody_until_it_is(bench, session):
    (run,) = runs(bench.sample(session))
    bench.send(WaitJob(job=run.job, timeout_s=50.0), session)
    bench.core.disk.is_full = True
    assert bench.core.finish(run.job, measured(run.program), 1.0) == []
    assert bench.ask(WaitJob(job=run.job), session).state is JobState.RUNNING
    assert bench.ask(FetchResult(job=run.job), session).code == "protocol.local"
    assert bench.ask(Describe(), session).busy
    bench.core.disk.is_full = False
    (told,) = replies(bench.core.tick(3.0))
    assert told.state is JobState.DONE
    assert bench.ask(FetchResult(job=run.job), session).n_runs == 2


def test_a_cancel_and_an_acknowledgement_that_cannot_be_written_are_refused(bench, session):
    job = _done(bench, session, 1)
    bench.sample(session, 2)
    (waiting,) = replies(bench.sample(session, 3))
    bench.core.disk.is_full = True
    for body in (AckJob(job=job), CancelJob(job=waiting.job)):
        assert bench.ask(body, session).code == "server.storage"
    assert not bench.ask(WaitJob(job=job), session).gone
    assert bench.ask(WaitJob(job=waiting.job), session).state is JobState.QUEUED


def test_couplings_a_journal_lost_are_asked_for_again(bench, session):
    packet = Packet(Kind.REQUEST, b"s" * 16, sample_request(), session)
    (effect,) = bench.core._core.receive(b"p", packet, 0.0, user=bench.user)
    missing = UnknownReferenceError("not on the disk", kind="coupling")
    (fault,) = replies(bench.core._core.unsaved(effect, missing, 0.0))
    assert fault.details["kind"] == "coupling"
    assert bench.ask(sample_request(), session).details["kind"] == "coupling"
    bench.load(session)
    assert len(runs(bench.sample(session))) == 1


# ---- restarts -------------------------------------------------------------------------------


def _prepares(effects: list[Effect]) -> list[Lower]:
    return [effect for effect in effects if isinstance(effect, Lower)]


def _saved(bench: Bench) -> list[Saved]:
    return list(bench.core.disk.jobs.values())


def test_after_a_restart_what_ran_has_failed_and_what_waited_runs(bench, session):
    for key in (1, 2, 3):
        bench.sample(session, key, seed=key)
    new = Bench(disk=bench.core.disk)
    (task,) = _prepares(new.core.restore(_saved(bench), 50.0))
    assert task.source is None
    token = new.hello()
    ran, *waiting = new.ask(ListJobs(), token).jobs
    assert (ran.state, ran.reason) == (JobState.FAILED, "device.restarted")
    assert {info.state for info in waiting} == {JobState.QUEUED}
    (run,) = runs(new.core.lowered(task, lower_encoded(CONTENT, task.coupling, CAPABILITIES), 51))
    assert run.program.seed == 2
    (run,) = runs(new.core.finish(run.job, measured(run.program), 52))
    assert run.program.seed == 3
    assert new.ask(Ping(), token).t == "pong"


def test_a_key_is_the_same_job_after_a_restart(bench, session):
    bench.sample(session, 1)
    (told,) = replies(bench.sample(session, 2))
    new = Bench(disk=bench.core.disk)
    new.core.restore(_saved(bench), 50.0)
    (again,) = replies(effects := new.sample(new.hello(), 2))
    assert again.job == told.job
    assert runs(effects) == []


def test_couplings_that_are_gone_after_a_restart_fail_the_jobs_that_wait_for_them(bench, session):
    for key in (1, 2, 3):
        bench.sample(session, key)
    new = Bench(disk=bench.core.disk)
    (task,) = _prepares(new.core.restore(_saved(bench), 50.0))
    new.core.lowered(task, UnknownReferenceError("gone", kind="coupling"), 51.0)
    infos = new.ask(ListJobs(), new.hello()).jobs
    assert [info.reason for info in infos[1:]] == ["protocol.unknown_reference"] * 2
    assert new.core.tick(52.0) == []


def test_numbers_of_changes_grow_across_a_restart(bench, session):
    before = replies(bench.sample(session, 1))[0].seq
    new = Bench(disk=bench.core.disk)
    new.core.restore(_saved(bench), 1.0)  # a second later
    new.load(token := new.hello())
    assert replies(new.sample(token, 2))[0].seq > before


def test_a_job_whose_session_ends_at_the_tick_that_starts_it_is_stopped():
    """Its start was refused by a full disk, and the next attempt comes with the session's end."""
    bench = Bench(session_s=50.0)
    bench.load(session := bench.hello())
    bench.core.disk.fills_after = 1
    assert runs(bench.sample(session)) == []
    bench.core.disk.is_full = False
    bench.now += 60.0
    effects = bench.core.tick(bench.now)
    run, stop = (effect for effect in effects if isinstance(effect, Run | Stop))
    assert (type(run), stop.job) == (Run, run.job)
    bench.core.finish(run.job, measured(run.program), bench.now)
    assert [type(record) for record in bench.core.records] == [Accepted, Started, Ended]
    assert bench.core.records[-1].state is JobState.CANCELLED


def test_a_job_that_is_to_end_when_the_disk_has_room_does_not_start_first():
    bench = Bench(session_s=1e6)
    bench.load(session := bench.hello())
    (run,) = runs(bench.sample(session, 1))
    bench.sample(session, 2)
    bench.core.disk.is_full = True
    bench.send(Bye(), session)
    bench.core.finish(run.job, measured(run.program), bench.now)
    bench.core.disk.is_full = False
    bench.now += 2.0
    assert runs(bench.core.tick(bench.now)) == []
    ended = [record.job for record in bench.core.records if isinstance(record, Ended)]
    assert sorted(ended) == sorted(bench.core.disk.jobs)
    assert [saved.state for saved in bench.core.disk.jobs.values()] == [JobState.CANCELLED] * 2
