"""A core under any sequence of requests, outcomes and time, against what a job may do."""

from __future__ import annotations

from cim_wire import Bench, measured, replies, runs, sample_request
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cim_hal.errors import DriverFaultError, JobCancelledError
from cim_hal.protocol.effects import Effect, Reply, Run, Stop
from cim_hal.protocol.messages import Bye, CancelJob, Fault, FetchResult, JobStatus, WaitJob
from cim_hal.protocol.state import JOB, TERMINAL, JobState


def _reachable(state: JobState) -> set[JobState]:
    reached = {state}
    while more := {after for s in reached for after in JOB[s].values()} - reached:
        reached |= more
    return reached


class Core(RuleBasedStateMachine):
    """One machine, a few sessions, keys 1 to 6."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(queue_length=3, result_s=50.0, session_s=200.0)
        self.sessions: list[str] = []
        self.running: Run | None = None
        self.asked_to_stop = False
        self.states: dict[str, JobState] = {}
        self.started: set[str] = set()
        self.owner: dict[tuple[str, int], str] = {}

    def take(self, effects: list[Effect]) -> None:
        for run in runs(effects):
            assert self.running is None
            assert run.job not in self.started
            self.started.add(run.job)
            self.running, self.asked_to_stop = run, False
        for effect in effects:
            if isinstance(effect, Stop):
                assert self.running is not None
                assert effect.job == self.running.job
                assert not self.asked_to_stop
                self.asked_to_stop = True
        for body in replies(effects):
            if isinstance(body, JobStatus):
                assert body.state in _reachable(self.states.get(body.job, JobState.QUEUED))
                assert (body.error is not None) == (body.state in TERMINAL - {JobState.DONE})
                self.states[body.job] = body.state

    @precondition(lambda self: len(self.sessions) < 3)
    @rule()
    def hello(self):
        session = self.bench.hello()
        self.bench.load(session)
        self.sessions.append(session)

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), key=st.integers(1, 6))
    def sample(self, data, key):
        session = data.draw(st.sampled_from(self.sessions))
        known = self.owner.get((session, key))
        is_open = known is not None and self.states[known] not in TERMINAL
        effects = self.bench.send(sample_request(key), session)
        self.take(effects)
        body = next(e.packet.body for e in effects if isinstance(e, Reply))
        if isinstance(body, Fault):
            assert body.code == "job.queue_full"
            assert not is_open
        else:
            assert body.job == known or not is_open
            self.owner[session, key] = body.job

    @precondition(lambda self: self.sessions and self.states)
    @rule(data=st.data(), verb=st.sampled_from(["wait", "cancel", "fetch"]))
    def ask(self, data, verb):
        session = data.draw(st.sampled_from(self.sessions))
        job = data.draw(st.sampled_from(sorted(self.states)))
        body = {
            "wait": WaitJob(job=job, timeout_s=10.0),
            "cancel": CancelJob(job=job),
            "fetch": FetchResult(job=job),
        }[verb]
        before = self.states[job]
        effects = self.bench.send(body, session)
        self.take(effects)
        answered = [e for e in effects if isinstance(e, Reply)]
        assert len(answered) >= 1 or (verb == "wait" and before not in TERMINAL)
        if verb == "fetch" and answered[0].packet.body.t == "job.batch":
            self.states[job] = JobState.DONE

    @precondition(lambda self: self.running)
    @rule(ending=st.sampled_from(["measured", "fault", "stopped"]))
    def finish(self, ending):
        run, self.running = self.running, None
        outcome = {
            "measured": measured(run.program),
            "fault": DriverFaultError("smoke"),
            "stopped": JobCancelledError("stopped"),
        }[ending]
        self.take(self.bench.core.finish(run.job, outcome, self.bench.now))

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def bye(self, data):
        session = data.draw(st.sampled_from(self.sessions))
        self.sessions.remove(session)
        self.take(self.bench.send(Bye(), session))

    @rule(seconds=st.sampled_from([1.0, 20.0, 250.0]))
    def time_passes(self, seconds):
        self.bench.now += seconds
        self.take(self.bench.core.tick(self.bench.now))
        if seconds > 200.0:
            self.sessions.clear()

    @invariant()
    def the_machine_is_busy_exactly_while_a_run_is_out(self):
        assert self.bench.core._jobs.busy == (self.running is not None)
        assert self.running is not None or self.bench.core._jobs.queued == 0


TestCore = Core.TestCase
TestCore.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
