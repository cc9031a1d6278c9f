from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cim_wire import CAPABILITIES, PAYLOAD, REF, Bench, measured, replies, runs, sample_request

from cim_hal import Setting, Trace
from cim_hal.errors import DriverFaultError, JobCancelledError, ModelError
from cim_hal.protocol.core import registered
from cim_hal.protocol.couplings.content import lower_encoded
from cim_hal.protocol.effects import Lower, Reply, Run, Stop
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.messages import (
    REQUESTS,
    AckJob,
    BeginCouplings,
    Bye,
    CancelJob,
    CommitCouplings,
    CouplingChunk,
    Describe,
    FetchResult,
    FetchTrace,
    Hello,
    ListJobs,
    Ping,
    Pong,
    Schedule,
    TraceSpec,
    WaitJob,
)
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.protocol.wire.roles import Role, User
from cim_hal.protocol.wire.version import NEWEST


@pytest.fixture
def bench() -> Bench:
    return Bench(queue_length=2, max_sessions=3, result_s=100.0, session_s=1000.0)


@pytest.fixture
def session(bench: Bench) -> str:
    token = bench.hello()
    bench.load(token)
    return token


def _nothing(*_):
    return []


def test_a_message_with_two_handlers_is_refused():
    with pytest.raises(ValueError, match="a message has two handlers"):
        registered({Ping: _nothing}, {Ping: _nothing, Bye: _nothing})


def test_a_request_without_a_handler_is_refused():
    handlers = dict.fromkeys(set(REQUESTS) - {Hello}, _nothing)
    assert registered(handlers) == handlers
    del handlers[Ping]
    with pytest.raises(ValueError, match=r"no handler for .*Ping"):
        registered(handlers)


def _code(bench: Bench, body, session: str = "") -> str:
    return bench.ask(body, session).code


# ---- sessions -------------------------------------------------------------------------------


def test_the_welcome_says_who_is_there_and_what_it_takes(bench):
    welcome = bench.ask(Hello(protocols=((1, 0), (1, 9))))
    assert welcome.protocol == NEWEST
    assert welcome.capabilities == CAPABILITIES
    assert welcome.limits.queue_length == 2
    assert bench.ask(Hello(protocols=((1, 0), (1, 0)))).instance == welcome.instance


def test_a_client_from_the_future_is_told_both_versions(bench):
    fault = bench.ask(Hello(protocols=((2, 0), (3, 1))))
    assert fault.code == "protocol.version"
    assert fault.details == {"client": "2.0 to 3.1", "server": "{}.{}".format(*NEWEST)}


@pytest.mark.parametrize("body", [Ping(), Describe(), Bye(), WaitJob(job="0" * 32)])
def test_nothing_is_answered_without_a_session(bench, body):
    fault = bench.ask(body, "f" * 32)
    assert (fault.code, fault.details["kind"]) == ("protocol.unknown_reference", "session")


def test_sessions_are_bounded_and_end_with_a_bye(bench):
    tokens = [bench.hello() for _ in range(3)]
    hello = Hello(protocols=((1, 0), (1, 0)))
    assert _code(bench, hello) == "capability"
    bench.ask(Bye(), tokens[0])
    assert bench.ask(hello).t == "welcome"


def test_a_silent_session_is_forgotten_and_one_that_talks_is_not(bench):
    silent, lively = bench.hello(), bench.hello()
    bench.now = 900.0
    assert isinstance(bench.ask(Ping(), lively), Pong)
    bench.now = 1001.0
    bench.core.tick(bench.now)
    assert _code(bench, Ping(), silent) == "protocol.unknown_reference"
    assert isinstance(bench.ask(Ping(), lively), Pong)


def test_a_client_that_sends_a_reply_is_refused(bench):
    (reply,) = replies(bench.core.receive(b"p", Packet(Kind.REPLY, bytes(16), Pong()), 0.0))
    assert reply.code == "protocol.local"


def test_describe_counts_the_jobs(bench, session):
    bench.sample(session, 1)
    bench.sample(session, 2)
    description = bench.ask(Describe(), session)
    assert (description.queued, description.busy) == (1, True)


# ---- couplings ------------------------------------------------------------------------------


def test_couplings_that_do_not_fit_the_machine_are_refused_at_the_commit(bench):
    token = bench.hello()
    opened = bench.ask(BeginCouplings(coupling=REF, spec=PAYLOAD.spec), token)
    bench.ask(CouplingChunk(upload=opened.upload, offset=0), token, PAYLOAD.data)
    (task,) = bench.send(CommitCouplings(upload=opened.upload), token)
    assert isinstance(task, Lower)
    (fault,) = replies(bench.core.lowered(task, ModelError("not symmetric"), 0.0))
    assert (fault.code, fault.message) == ("model", "not symmetric")


def test_a_commit_sent_twice_is_prepared_once_and_answered_twice(bench):
    token = bench.hello()
    opened = bench.ask(BeginCouplings(coupling=REF, spec=PAYLOAD.spec), token)
    bench.ask(CouplingChunk(upload=opened.upload, offset=0), token, PAYLOAD.data)
    commit = CommitCouplings(upload=opened.upload)
    (task,) = bench.send(commit, token)
    assert bench.send(commit, token, peer=b"q") == []
    outcome = lower_encoded(task.source, task.coupling, CAPABILITIES)
    effects = bench.core.lowered(task, outcome, 0.0)
    assert [effect.peer for effect in effects] == [b"p", b"q"]
    assert {body.t for body in replies(effects)} == {"couplings.loaded"}


def test_a_sample_of_unknown_couplings_is_refused(bench):
    fault = bench.ask(sample_request(), bench.hello())
    assert (fault.code, fault.details["kind"]) == ("protocol.unknown_reference", "coupling")


# ---- jobs -----------------------------------------------------------------------------------


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
    bench = Bench(result_bytes=1)
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


# ---- settings and traces --------------------------------------------------------------------

WITH_SETTINGS = CAPABILITIES.model_copy(
    update={
        "settings": (Setting(name="gain", default=1.0, low=0.5, high=2.0),),
        "reports_trace": True,
    }
)
NEWS = {"settings": {"gain": 1.5}, "trace": TraceSpec(every=400, runs=2)}


@pytest.fixture
def tuned() -> tuple[Bench, str]:
    bench = Bench(WITH_SETTINGS)
    session = bench.hello()
    bench.load(session)
    return bench, session


def test_settings_and_trace_reach_the_program_and_the_record(tuned):
    bench, session = tuned
    _, run = bench.sample(session, **NEWS)
    assert run.program.settings == {"gain": 1.5}
    assert (run.program.trace.every, run.program.trace.runs) == (400, 2)
    outcome = replace(measured(run.program), notes={"relocks": 4})
    bench.core.finish(run.job, outcome, 0.0)
    record = bench.ask(FetchResult(job=run.job), session).record
    assert (record.settings, record.notes) == ({"gain": 1.5}, {"relocks": 4})


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"settings": {"gian": 1.0}}, "settings"),
        ({"settings": {"gain": 2.1}}, "settings.gain"),
        ({"settings": {"gain": float("nan")}}, "settings.gain"),
        (
            {
                "trace": TraceSpec(every=1, runs=10**9),
                "n_runs": 100,
                "schedule": Schedule(pump=(1.0,), round_trips=100_000),
            },
            "trace_bytes",
        ),
    ],
)
def test_settings_and_traces_that_do_not_fit_are_refused(tuned, changes, what):
    bench, session = tuned
    fault = bench.ask(sample_request(**changes), session)
    assert (fault.code, fault.details["what"]) == ("capability", what)
    assert bench.ask(Describe(), session).busy is False


def test_a_machine_without_settings_and_traces_refuses_both(bench, session):
    for name in ("settings", "trace"):
        assert _code(bench, sample_request(**{name: NEWS[name]}), session) == "capability"


def test_a_trace_counts_as_part_of_the_result():
    bench = Bench(WITH_SETTINGS, result_bytes=49)
    session = bench.hello()
    bench.load(session)
    assert bench.sample(session)[0].packet.body.t == "job.status"
    fault = bench.ask(sample_request(2, **NEWS), session)
    assert (fault.code, fault.details["what"]) == ("capability", "result_bytes")


def test_a_trace_is_fetched_from_any_row(tuned):
    bench, session = tuned
    _, run = bench.sample(session, **NEWS)
    amplitudes = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    trace = Trace(np.array([400, 800, 1000]), np.array([0.8, 1.6, 2.0]), amplitudes)
    bench.core.finish(run.job, replace(measured(run.program), trace=trace), 0.0)
    (effect,) = bench.send(FetchTrace(job=run.job, first=3), session)
    batch, (round_trips, pump, rows) = effect.packet.body, effect.packet.buffers
    assert (batch.n_frames, batch.n_runs, batch.n_spins, batch.first) == (3, 2, 2, 3)
    assert round_trips.tolist() == [800, 1000, 1000]
    assert pump.tolist() == [1.6, 2.0, 2.0]
    assert rows.tolist() == [[6, 7], [8, 9], [10, 11]]
    assert _code(bench, FetchTrace(job=run.job, first=6), session) == "protocol.local"


def test_a_job_without_a_trace_has_none_to_fetch(tuned):
    bench, session = tuned
    _, run = bench.sample(session)
    assert _code(bench, FetchTrace(job=run.job), session) == "protocol.local"
    bench.core.finish(run.job, measured(run.program), 0.0)
    assert _code(bench, FetchTrace(job=run.job), session) == "protocol.local"


# ---- cancelling -----------------------------------------------------------------------------


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


# ---- memory ---------------------------------------------------------------------------------


def test_old_results_are_dropped(bench, session):
    _, run = bench.sample(session)
    bench.core.finish(run.job, measured(run.program), 0.0)
    bench.core.tick(99.0)
    assert bench.ask(FetchResult(job=run.job), session).t == "job.batch"
    bench.core.tick(100.0)
    fault = bench.ask(FetchResult(job=run.job), session)
    assert (fault.code, fault.details["kind"]) == ("protocol.unknown_reference", "result")


def test_the_oldest_results_make_room_and_the_newest_stays():
    bench = Bench(kept_bytes=3)
    session = bench.hello()
    bench.load(session)
    jobs = []
    for key in (1, 2, 3):
        _, run = bench.sample(session, key)
        bench.core.finish(run.job, measured(run.program), float(key))
        jobs.append(run.job)
    found = [bench.ask(FetchResult(job=job), session).t for job in jobs]
    assert found == ["error", "error", "job.batch"]


# ---- many users -----------------------------------------------------------------------------


def _run_all(bench: Bench, started: list[Run], seconds: float) -> list[int]:
    """Let each job take as long; return the seeds in the order they ran."""
    order = []
    while started:
        (run,) = started
        order.append(run.program.seed)
        bench.now += seconds
        started = runs(bench.core.finish(run.job, measured(run.program), bench.now))
    return order


def test_users_take_turns_in_device_seconds():
    bench = Bench(slice_s=2.0)
    started: list[Run] = []
    for first, name in ((10, "alice"), (20, "bob")):
        bench.user = User(name, Role.USER)
        session = bench.hello()
        bench.load(session)
        for seed in range(first, first + 4):
            started += runs(bench.sample(session, seed, seed=seed))
    assert _run_all(bench, started, 1.0) == [10, 11, 20, 21, 12, 13, 22, 23]


def test_a_user_says_what_goes_first(bench, session):
    started = runs(bench.sample(session, 1, seed=1))
    bench.sample(session, 2, seed=2)
    bench.sample(session, 3, seed=3, priority=1)
    assert _run_all(bench, started, 1.0) == [1, 3, 2]


def test_a_user_cannot_fill_the_queue_for_others():
    bench = Bench(queue_length=3, user_queue_length=2)
    session = bench.hello()
    bench.load(session)
    for key in (1, 2, 3):
        bench.sample(session, key)
    (fault,) = replies(bench.sample(session, 4))
    assert (fault.code, fault.details["queue_length"]) == ("job.queue_full", 2)
    assert fault.message.startswith("2 jobs of anonymous wait")
    bench.user = User("bob", Role.USER)
    theirs = bench.hello()
    assert replies(bench.sample(theirs, 1))[0].state is JobState.QUEUED
    (fault,) = replies(bench.sample(theirs, 2))
    assert fault.message.startswith("3 jobs wait")


def test_a_full_queue_says_how_long_it_is_and_what_it_will_take(bench, session):
    (run,) = runs(bench.sample(session, 1))
    bench.now = 4.0
    bench.core.finish(run.job, measured(run.program), bench.now)
    for key in (2, 3, 4):
        bench.sample(session, key, n_runs=2 * key)
    bench.now += 3.0
    (fault,) = replies(bench.sample(session, 5))
    # 2 runs took 4 s; 4 runs have run for 3 s of 8, and 6 and 8 runs wait.
    assert fault.details["depth"] == 2
    assert fault.details["expected_wait_s"] == pytest.approx(5.0 + 12.0 + 16.0)


def test_nothing_is_expected_of_a_machine_without_history(bench, session):
    for key in (1, 2, 3):
        bench.sample(session, key)
    (fault,) = replies(bench.sample(session, 4))
    assert fault.details["expected_wait_s"] is None
