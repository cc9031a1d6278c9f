from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cim_wire import (
    CAPABILITIES,
    PAYLOAD,
    REF,
    SteppedCore,
    measured,
    replies,
    runs,
    sample_request,
)

from cim_hal import Setting, Trace
from cim_hal.errors import ModelError
from cim_hal.protocol.core import registered
from cim_hal.protocol.couplings.content import lower_encoded
from cim_hal.protocol.effects import Lower, Run
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.messages import (
    REQUESTS,
    AskDevice,
    AskMetrics,
    AskStatus,
    BeginCouplings,
    Bye,
    CancelCalibration,
    CancelJob,
    CommitCouplings,
    CouplingChunk,
    Describe,
    EmergencyStop,
    FetchResult,
    FetchTrace,
    Hello,
    LockDevice,
    LockInfo,
    Ping,
    Pong,
    ResetDevice,
    SafetyInfo,
    Schedule,
    TraceSpec,
    UnlockDevice,
    WaitJob,
)
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.protocol.wire.roles import Role, User
from cim_hal.protocol.wire.version import NEWEST


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


def _code(bench: SteppedCore, body, session: str = "") -> str:
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


# With fields that matter to nobody here; `bye` alone is about a session.
FOR_SAFETY = [
    EmergencyStop(),
    ResetDevice(stop=1),
    SafetyInfo(),
    AskStatus(),
    AskMetrics(),
    AskDevice(),
    LockInfo(),
    UnlockDevice(),
    CancelJob(job="0" * 32),
    CancelCalibration(key="0" * 32),
]


def test_these_requests_are_for_safety():
    kinds = {kind for kind in REQUESTS if kind.safety}
    assert kinds == {type(body) for body in FOR_SAFETY} | {Bye}


@pytest.mark.parametrize("token", ["", "f" * 32, "of another"])
@pytest.mark.parametrize("body", FOR_SAFETY, ids=lambda body: body.t)
def test_what_is_for_safety_needs_no_session_and_no_rate(body, token):
    bench = SteppedCore(user_messages_per_s=1.0)
    bench.user = User("ulf", Role.USER)
    token = bench.hello() if token == "of another" else token
    bench.user = User("olga", Role.OPERATOR)
    while bench.ask(Ping(), "f" * 32).code != "session.rate_limited":
        pass
    reply = bench.send(body, token)[-1].packet.body
    job_or_key = {"job", "calibration"}
    assert reply.t != "error" or reply.details["kind"] in job_or_key


def test_the_token_of_another_user_is_of_no_use():
    bench = SteppedCore()
    bench.user = User("ulf", Role.USER)
    holder = bench.hello()
    bench.ask(LockDevice(key="1" * 32), holder)
    bench.user = User("eve", Role.USER)
    assert bench.ask(UnlockDevice(), holder).code == "session.locked"
    assert not bench.ask(LockInfo(), holder).is_yours


def test_a_question_without_a_session_renews_no_lock_and_one_with_it_does():
    bench = SteppedCore(lease_s=30.0)
    holder = bench.hello()
    epoch = bench.ask(LockDevice(key="1" * 32), holder).epoch
    for at, token, left in ((10.0, "", 20.0), (20.0, holder, 30.0)):
        bench.now = at
        (reply,) = replies(bench.send(LockInfo(), token, epoch=epoch))
        assert reply.expires_in_s == left


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


# ---- settings and traces --------------------------------------------------------------------

WITH_SETTINGS = CAPABILITIES.model_copy(
    update={
        "settings": (Setting(name="gain", default=1.0, low=0.5, high=2.0),),
        "reports_trace": True,
    }
)
NEWS = {"settings": {"gain": 1.5}, "trace": TraceSpec(every=400, runs=2)}


@pytest.fixture
def tuned() -> tuple[SteppedCore, str]:
    bench = SteppedCore(WITH_SETTINGS)
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
    bench = SteppedCore(WITH_SETTINGS, result_bytes=49)
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


# ---- memory ---------------------------------------------------------------------------------


def test_old_results_are_dropped(bench, session):
    _, run = bench.sample(session)
    bench.core.finish(run.job, measured(run.program), 0.0)
    bench.core.tick(99.0)
    assert bench.ask(FetchResult(job=run.job), session).t == "job.batch"
    bench.core.tick(100.0)
    fault = bench.ask(FetchResult(job=run.job), session)
    assert (fault.code, fault.details["kind"]) == ("protocol.unknown_reference", "result")


# ---- many users -----------------------------------------------------------------------------


def _run_all(bench: SteppedCore, started: list[Run], seconds: float) -> list[int]:
    """Let each job take as long; return the seeds in the order they ran."""
    order = []
    while started:
        (run,) = started
        order.append(run.program.seed)
        bench.now += seconds
        started = runs(bench.core.finish(run.job, measured(run.program), bench.now))
    return order


def test_users_take_turns_in_device_seconds():
    bench = SteppedCore(slice_s=2.0)
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
    bench = SteppedCore(queue_length=3, user_queue_length=2)
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
