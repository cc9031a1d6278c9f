"""A core under any sequence of requests, outcomes, time, crashes and full disks, against a model.

The model knows of each job what was told and what was written. Whatever happens: a job runs once
at most, nothing is told that a crash could undo, and a key means one job until it is forgotten.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from cim_wire import (
    CAPABILITIES,
    CONTENT,
    Bench,
    Crashed,
    Disk,
    measured,
    replies,
    sample_request,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cim_hal.errors import DriverFaultError, JobCancelledError
from cim_hal.protocol.couplings import prepare
from cim_hal.protocol.effects import Effect, Prepare, Reply, Run, Stop
from cim_hal.protocol.keys import KeyRules, body_digest, job_id
from cim_hal.protocol.messages import (
    AckJob,
    Bye,
    CancelJob,
    Fault,
    FetchResult,
    JobStatus,
    ListJobs,
    WaitJob,
)
from cim_hal.protocol.packet import Kind, Packet
from cim_hal.protocol.state import TERMINAL, JobState

if TYPE_CHECKING:
    from collections.abc import Iterator

# How far a job is; of two states with the same number only one can be.
PROGRESS = dict.fromkeys(JobState, 2) | {
    JobState.QUEUED: 0,
    JobState.RUNNING: 1,
    JobState.STOPPING: 1,
}
VERBS = {
    "wait": lambda job: WaitJob(job=job, timeout_s=10.0),
    "news": lambda job: WaitJob(job=job, timeout_s=10.0, since=1),
    "cancel": lambda job: CancelJob(job=job),
    "fetch": lambda job: FetchResult(job=job),
    "ack": lambda job: AckJob(job=job),
}


class Core(RuleBasedStateMachine):
    """One machine, a few sessions of one user, keys 1 to 6 with two bodies each."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk()
        self.now = 0.0
        self.told: dict[str, JobState] = {}
        self.digests: dict[str, bytes] = {}
        self.has_run: set[str] = set()
        self.start()

    def start(self) -> None:
        """Begin on what the disk holds, as a server that was killed and started again."""
        self.sessions: list[str] = []
        self.running: Run | None = None
        self.asked_to_stop = False
        self.disk.crash = None
        was_full, self.disk.is_full = self.disk.is_full, False
        self.bench = Bench(
            keys=KeyRules(kept_s=400.0, max_keys=8),
            disk=self.disk,
            queue_length=3,
            result_s=50.0,
            session_s=200.0,
        )
        self.bench.now = self.now
        interrupted = [j for j, saved in self.disk.jobs.items() if saved.state is JobState.RUNNING]
        self.take(self.bench.core.restore(list(self.disk.jobs.values()), self.now))
        for job in interrupted:
            assert self.disk.jobs[job].state is JobState.FAILED
            assert self.disk.jobs[job].error.code == "device.restarted"
        self.disk.is_full = was_full
        self.hello()

    @contextmanager
    def maybe_crashing(self) -> Iterator[None]:
        try:
            yield
        except Crashed:
            self.start()

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Run(job=job):
                    assert self.running is None
                    assert job not in self.has_run
                    assert self.disk.jobs[job].state is JobState.RUNNING
                    self.has_run.add(job)
                    self.running, self.asked_to_stop = effect, False
                case Stop(job=job):
                    assert self.running is not None
                    assert job == self.running.job
                    assert not self.asked_to_stop
                    self.asked_to_stop = True
                case Prepare(source=None):
                    outcome = prepare(CONTENT, effect.coupling, CAPABILITIES)
                    self.take(self.bench.core.prepared(effect.ticket, outcome, self.now))
        for body in replies(effects):
            if isinstance(body, JobStatus):
                self.hear(body)

    def hear(self, status: JobStatus) -> None:
        """Check that what is told is written, and goes with what was told before."""
        before, state = self.told.get(status.job, JobState.QUEUED), status.state
        assert PROGRESS[state] >= PROGRESS[before]
        assert state is before or before not in TERMINAL
        assert (status.error is not None) == (state in TERMINAL - {JobState.DONE})
        written = self.disk.jobs[status.job]
        assert PROGRESS[written.state] >= PROGRESS[state]
        assert state not in TERMINAL or written.state is state
        assert not status.gone or written.accepted is None
        self.told[status.job] = state

    def hello(self):
        session = self.bench.hello()
        self.bench.load(session)
        self.sessions.append(session)

    @precondition(lambda self: len(self.sessions) < 3)
    @rule()
    def another_session(self):
        self.hello()

    @rule(
        data=st.data(),
        key=st.integers(1, 5),
        seed=st.sampled_from([7, 7, 7, 8]),
        keep=st.booleans(),
    )
    def sample(self, data, key, seed, keep):
        session = data.draw(st.sampled_from(self.sessions))
        request = sample_request(key, seed=seed, keep=keep)
        job, digest = job_id("anonymous", request.key), body_digest(request)
        known = self.disk.jobs.get(job)
        with self.maybe_crashing():
            effects = self.bench.send(request, session)
            answer = next(e.packet.body for e in effects if isinstance(e, Reply))
            if known is not None and known.digest != digest:
                assert answer.code == "protocol.conflict"
            elif isinstance(answer, Fault):
                codes = {"job.queue_full", "job.key_limit", "server.storage"}
                assert answer.code in codes
                assert known is None
                assert job not in self.disk.jobs
            else:
                assert answer.job == job
                self.digests[job] = digest
            self.take(effects)

    @precondition(lambda self: self.told)
    @rule(data=st.data(), verb=st.sampled_from(sorted(VERBS)))
    def ask(self, data, verb):
        session = data.draw(st.sampled_from(self.sessions))
        job = data.draw(st.sampled_from(sorted(self.told)))
        with self.maybe_crashing():
            self.take(effects := self.bench.send(VERBS[verb](job), session))
            answers = [e.packet.body for e in effects if isinstance(e, Reply)]
            assert answers or verb in {"wait", "news"}
            if verb == "fetch" and answers[-1].t == "job.batch":
                assert self.disk.jobs[job].measured is not None

    @precondition(lambda self: self.running)
    @rule(ending=st.sampled_from(["measured", "fault", "stopped"]))
    def finish(self, ending):
        run, self.running = self.running, None
        outcome = {
            "measured": measured(run.program),
            "fault": DriverFaultError("smoke"),
            "stopped": JobCancelledError("stopped"),
        }[ending]
        with self.maybe_crashing():
            self.take(self.bench.core.finish(run.job, outcome, self.now))

    @rule(data=st.data())
    def bye(self, data):
        session = data.draw(st.sampled_from(self.sessions))
        self.sessions.remove(session)
        with self.maybe_crashing():
            self.take(self.bench.send(Bye(), session))
        if not self.sessions:
            self.hello()

    @rule(seconds=st.sampled_from([1.0, 1.5, 2.0, 10.0, 30.0, 60.0, 250.0]))
    def time_passes(self, seconds):
        self.now = self.bench.now = self.now + seconds
        with self.maybe_crashing():
            self.take(self.bench.core.tick(self.now))
        if seconds > 200.0:
            self.sessions.clear()
            self.hello()
        self.forget()

    @rule(what=st.sampled_from(["kill", "kill before", "kill after", "full", "room", "room"]))
    def trouble(self, what):
        """Kill the server, now or at the next record, or change what the disk takes."""
        match what.split():
            case ["kill"]:
                self.start()
            case ["kill", when]:
                self.disk.crash = when
            case [state]:
                self.disk.is_full = state == "full"

    def forget(self) -> None:
        """Let go of the keys that the server has forgotten, which it may do when they are old."""
        for job in [job for job in self.told if job not in self.disk.jobs]:
            del self.told[job]
            self.has_run.discard(job)
            self.digests.pop(job, None)

    @invariant()
    def nothing_that_was_told_is_lost(self):
        self.forget()
        for job, state in self.told.items():
            saved = self.disk.jobs[job]
            assert saved.digest == self.digests.get(job, saved.digest)
            assert PROGRESS[saved.state] >= PROGRESS[state]

    @invariant()
    def the_book_says_what_the_disk_says(self):
        session = self.bench.hello()
        listed = {info.job: info.state for info in self.bench.ask(ListJobs(), session).jobs}
        self.bench.core.receive(b"p", _bye(session), self.now, user=self.bench.user)
        kept = {job for job, saved in self.disk.jobs.items() if saved.accepted is not None}
        assert set(listed) == kept
        for job, state in listed.items():
            assert PROGRESS[state] == PROGRESS[self.disk.jobs[job].state]


def _bye(session: str) -> Packet:
    return Packet(Kind.REQUEST, b"y" * 16, Bye(), session)


TestCore = Core.TestCase
TestCore.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
