"""Keys outlive results, and the same key is the same job."""

from __future__ import annotations

from cim_wire import SteppedCore, done, replies, runs, sample_request

from cim_hal.errors import DriverFaultError
from cim_hal.protocol.jobs.records import Accepted, Dropped, Ended, Forgotten, Started
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.jobs.table import body_digest, job_id
from cim_hal.protocol.wire.messages import AckJob, Bye, FetchResult, ListJobs, WaitJob
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.protocol.wire.roles import ANONYMOUS, Role, User


def _kinds(bench: SteppedCore) -> list[type]:
    return [type(record) for record in bench.core.records]


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
    job = done(bench, session)
    told = bench.ask(AckJob(job=job), session)
    assert (told.state, told.gone) == (JobState.DONE, True)
    (again,) = replies(effects := bench.sample(session))
    assert (again.job, again.state, again.gone) == (job, JobState.DONE, True)
    assert runs(effects) == []
    assert bench.ask(sample_request(seed=8), session).code == "protocol.conflict"
    assert bench.ask(AckJob(job=job), session).gone  # sent again, it does no harm


def test_a_key_outlives_its_result_by_its_own_time(bench, session):
    job = done(bench, session)
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
        job = done(bench, session, key)
        bench.ask(AckJob(job=job), session)
    bench.now = 10.0
    (fault,) = replies(bench.sample(session, 5))
    assert (fault.code, fault.details["retry_after_s"]) == ("job.key_limit", 990.0)
    assert replies(bench.sample(session, 4))[0].gone
    anonymous, bench.user = bench.user, User("ben", Role.USER)
    bens = bench.hello()
    assert len(runs(bench.sample(bens, 5))) == 1  # another user's keys
    bench.ask(Bye(), bens)
    bench.user = anonymous
    bench.now = 1000.0
    bench.core.tick(bench.now)
    assert replies(bench.sample(session, 5))[0].t == "job.status"


def test_a_failed_job_keeps_its_reason_when_its_key_is_all_that_is_left(bench, session):
    (run,) = runs(bench.sample(session))
    bench.core.finish(run.job, DriverFaultError("the laser is off"), 0.0)
    told = bench.ask(AckJob(job=run.job), session)
    assert (told.state, told.error.message, told.gone) == ("failed", "the laser is off", True)
    assert bench.ask(FetchResult(job=run.job), session).code == "device.driver_fault"


def test_a_request_that_acknowledges_jobs_is_handled_after_that(bench, session):
    jobs = [done(bench, session, key) for key in (1, 2)]
    bench.user = User("bob", Role.OPERATOR)
    bench.load(bobs := bench.hello())
    others = done(bench, bobs, 4)
    bench.user = ANONYMOUS
    (run,) = runs(bench.sample(session, 3))

    def left(*acknowledged: str) -> set[str]:
        packet = Packet(Kind.REQUEST, b"i" * 16, ListJobs(), session, acknowledged=acknowledged)
        (answer,) = replies(bench.core.receive(b"p", packet, 0.0, user=bench.user))
        return {info.job for info in answer.jobs} & {*jobs, run.job, others}

    assert left(jobs[0], run.job, others, "f" * 32) == {jobs[1], run.job, others}
    bench.core.disk.is_full = True  # no reason to refuse the request
    assert jobs[1] in left(jobs[1])
    bench.core.disk.is_full = False
    bench.user = User(ANONYMOUS.name, Role.OBSERVER)
    assert jobs[1] in left(jobs[1])


def test_a_job_that_has_not_ended_cannot_be_acknowledged(bench, session):
    (run,) = runs(bench.sample(session))
    assert bench.ask(AckJob(job=run.job), session).code == "protocol.local"
