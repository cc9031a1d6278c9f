"""Jobs and the ends of their sessions, waiting for news, and lists of jobs."""

from __future__ import annotations

from cim_wire import SteppedCore, done, measured, replies, runs

from cim_hal.protocol.effects import Run, Stop
from cim_hal.protocol.jobs.records import Accepted, Ended, Started
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.messages import Bye, FetchResult, Hello, ListJobs, Progress, WaitJob
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.protocol.wire.roles import LOCAL, Role, User

# ---- sessions -------------------------------------------------------------------------------


def test_a_hello_that_is_sent_again_opens_one_session():
    bench = SteppedCore(max_sessions=1)
    hello = Packet(Kind.REQUEST, b"h" * 16, Hello(protocols=((1, 0), (1, 0))))
    (first,) = replies(bench.core.receive(b"p", hello, 0.0))
    (again,) = replies(bench.core.receive(b"another connection", hello, 1.0))
    assert first == again


def test_a_hello_that_comes_after_its_session_ended_opens_none():
    bench = SteppedCore()
    hello = Packet(Kind.REQUEST, b"h" * 16, Hello(protocols=((1, 0), (1, 0))))
    (welcome,) = replies(bench.core.receive(b"p", hello, 0.0))
    bye = Packet(Kind.REQUEST, b"b" * 16, Bye(), welcome.session)
    bench.core.receive(b"p", bye, 1.0)
    (fault,) = replies(bench.core.receive(b"p", hello, 2.0))
    assert fault.details == {"kind": "session"}


def test_the_hello_of_another_user_with_the_same_id_is_another_session():
    bench = SteppedCore()
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
    job = done(bench, session)
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
    (end,) = replies(bench.core.finish(run.job, measured(run.program), 2.0))
    whole = Progress(done=2, total=2, unit="runs")  # the last report may come too late
    assert (end.state, end.progress) == (JobState.DONE, whole)
    assert bench.ask(ListJobs(job=run.job), session).jobs[0].progress == whole


# ---- lists ----------------------------------------------------------------------------------


def test_a_list_has_the_jobs_of_the_user_page_by_page_and_by_state():
    bench = SteppedCore(kept_jobs=100)
    session = bench.hello()
    bench.load(session)
    jobs = [done(bench, session, key) for key in range(1, 41)]
    first = bench.ask(ListJobs(), session)
    rest = bench.ask(ListJobs(after=first.cursor), session)
    assert [info.job for info in first.jobs + rest.jobs] == jobs
    assert (first.more, rest.more) == (True, False)
    assert bench.ask(ListJobs(states=("queued",)), session).jobs == ()
    (one,) = bench.ask(ListJobs(job=jobs[7]), session).jobs
    assert (one.n_runs, one.seed, one.n_bytes, one.keep) == (2, 7, 2, False)


def test_an_operator_lists_the_jobs_of_all(bench, session):
    done(bench, session)
    bench.user = User("olga", Role.OPERATOR)
    (info,) = bench.ask(ListJobs(), bench.hello()).jobs
    assert info.owner == "anonymous"


# ---- restarts -------------------------------------------------------------------------------


def test_a_job_whose_session_ends_at_the_tick_that_starts_it_never_touches_the_machine():
    """Its start was refused by a full disk, and the next attempt comes with the session's end."""
    bench = SteppedCore(session_s=50.0)
    bench.load(session := bench.hello())
    bench.core.disk.fills_after = 1
    assert runs(bench.sample(session)) == []
    bench.core.disk.is_full = False
    bench.now += 60.0
    effects = bench.core.tick(bench.now)
    assert not any(isinstance(effect, Run | Stop) for effect in effects)
    assert [type(record) for record in bench.core.records] == [Accepted, Started, Ended]
    assert bench.core.records[-1].state is JobState.CANCELLED
