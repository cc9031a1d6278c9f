"""Records: what cannot be written has not happened, and a restart goes on from what was."""

from __future__ import annotations

from cim_wire import (
    CAPABILITIES,
    CONTENT,
    SteppedCore,
    done,
    measured,
    replies,
    runs,
    sample_request,
)

from cim_hal.errors import UnknownReferenceError
from cim_hal.protocol.couplings.content import lower_encoded
from cim_hal.protocol.effects import Effect, Lower
from cim_hal.protocol.jobs.records import Ended, Saved
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.messages import (
    AckJob,
    Bye,
    CancelJob,
    Describe,
    FetchResult,
    ListJobs,
    Ping,
    WaitJob,
)
from cim_hal.protocol.wire.packet import Kind, Packet


def test_a_job_that_cannot_be_written_is_refused_and_leaves_no_trace(bench, session):
    bench.core.disk.is_full = True
    (fault,) = replies(effects := bench.sample(session))
    assert (fault.code, runs(effects)) == ("server.storage", [])
    assert bench.ask(ListJobs(), session).jobs == ()
    bench.core.disk.is_full = False
    assert len(runs(bench.sample(session))) == 1


def test_a_start_that_cannot_be_written_is_put_off_and_keeps_its_place(bench, session):
    (run,) = runs(bench.sample(session, 1, seed=1))
    (accepted,) = replies(bench.sample(session, 2, seed=2))
    second = accepted.job
    bench.sample(session, 3, seed=3)
    bench.core.disk.is_full = True
    assert runs(bench.core.finish(run.job, measured(run.program), 1.0)) == []
    assert bench.ask(WaitJob(job=run.job), session).state is JobState.RUNNING
    assert bench.ask(WaitJob(job=second), session).state is JobState.QUEUED
    bench.core.disk.is_full = False
    assert runs(bench.core.tick(1.5)) == []  # not at once
    (begun,) = runs(bench.core.tick(2.0))
    assert begun.program.seed == 2


def test_the_end_of_a_job_and_the_start_of_the_next_are_one_record(bench, session):
    (run,) = runs(bench.sample(session, 1, seed=1))
    (accepted,) = replies(bench.sample(session, 2, seed=2))
    second = accepted.job
    (begun,) = runs(bench.core.finish(run.job, measured(run.program), 1.0))
    assert isinstance(record := bench.core.records[-1], Ended)
    assert (record.job, record.next) == (run.job, begun.job) == (run.job, second)
    states = [bench.core.disk.jobs[job].state for job in (run.job, begun.job)]
    assert states == [JobState.DONE, JobState.RUNNING]


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
    job = done(bench, session, 1)
    bench.sample(session, 2)
    (waiting,) = replies(bench.sample(session, 3))
    bench.core.disk.is_full = True
    for body in (AckJob(job=job), CancelJob(job=waiting.job)):
        assert bench.ask(body, session).code == "server.storage"
    assert not bench.ask(WaitJob(job=job), session).gone
    assert bench.ask(WaitJob(job=waiting.job), session).state is JobState.QUEUED


def test_couplings_a_journal_lost_are_asked_for_again(bench, session):
    packet = Packet(Kind.REQUEST, b"s" * 16, sample_request(), session)
    effect, start = bench.core._core.receive(b"p", packet, 0.0, user=bench.user)
    missing = UnknownReferenceError("not on the disk", kind="coupling")
    (fault,) = replies(bench.core._core.unsaved(effect, missing, 0.0))
    assert runs(bench.core._core.saved(start, 0.0)) == []
    assert fault.details["kind"] == "coupling"
    assert bench.ask(sample_request(), session).details["kind"] == "coupling"
    bench.load(session)
    assert len(runs(bench.sample(session))) == 1


def _prepares(effects: list[Effect]) -> list[Lower]:
    return [effect for effect in effects if isinstance(effect, Lower)]


def _saved(bench: SteppedCore) -> list[Saved]:
    return list(bench.core.disk.jobs.values())


def test_after_a_restart_what_ran_has_failed_and_what_waited_runs(bench, session):
    for key in (1, 2, 3):
        bench.sample(session, key, seed=key)
    new = SteppedCore(disk=bench.core.disk)
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
    new = SteppedCore(disk=bench.core.disk)
    new.core.restore(_saved(bench), 50.0)
    (again,) = replies(effects := new.sample(new.hello(), 2))
    assert again.job == told.job
    assert runs(effects) == []


def test_couplings_that_are_gone_after_a_restart_fail_the_jobs_that_wait_for_them(bench, session):
    for key in (1, 2, 3):
        bench.sample(session, key)
    new = SteppedCore(disk=bench.core.disk)
    (task,) = _prepares(new.core.restore(_saved(bench), 50.0))
    new.core.lowered(task, UnknownReferenceError("gone", kind="coupling"), 51.0)
    infos = new.ask(ListJobs(), new.hello()).jobs
    assert [info.reason for info in infos[1:]] == ["protocol.unknown_reference"] * 2
    assert new.core.tick(52.0) == []


def test_numbers_of_changes_grow_across_a_restart(bench, session):
    before = replies(bench.sample(session, 1))[0].seq
    new = SteppedCore(disk=bench.core.disk)
    new.core.restore(_saved(bench), 1.0)  # a second later
    new.load(token := new.hello())
    assert replies(new.sample(token, 2))[0].seq > before


def test_a_job_that_is_to_end_when_the_disk_has_room_does_not_start_first():
    bench = SteppedCore(session_s=1e6)
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
