"""A core under any sequence of requests, outcomes, time, crashes and full disks, against a model.

Whatever happens: a job runs once at most and ends once, as the machine and its user had it; nothing
is told that a crash could undo; a result is there until it is let go of or old, a key longer; a
key means one job; nobody sees the jobs of another user; and nothing waits without a reason.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cim_stories import Stories
from cim_wire import CAPABILITIES, CONTENT, Crashed, Disk, SteppedCore, measured, sample_request
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cim_hal.errors import DriverFaultError, JobCancelledError
from cim_hal.protocol.couplings.content import lower_encoded
from cim_hal.protocol.effects import Effect, Lower, Persist, Reply, Run, Stop
from cim_hal.protocol.jobs.state import TERMINAL, JobEvent, JobState
from cim_hal.protocol.jobs.table import IdempotencyRules, body_digest, job_id
from cim_hal.protocol.wire.messages import (
    AckJob,
    Bye,
    CancelJob,
    ErrorMessage,
    FetchResult,
    JobStatus,
    ListJobs,
    Message,
    Progress,
    WaitJob,
)
from cim_hal.protocol.wire.packet import Kind, Packet
from cim_hal.protocol.wire.roles import Role, User

if TYPE_CHECKING:
    from collections.abc import Iterator

ALICE, BOB = User("alice", Role.USER), User("bob", Role.USER)
QUEUE, KEYS = 3, 4  # keys are of one user
RESULT_S, KEY_S, WAIT_S, SESSION_S, RETRY_S = 50.0, 400.0, 10.0, 200.0, 1.0
# How far a job is; of two states with the same number only one can be.
PROGRESS = dict.fromkeys(JobState, 2) | {
    JobState.QUEUED: 0,
    JobState.RUNNING: 1,
    JobState.STOPPING: 1,
}


@dataclass
class Waiting:
    """A ``job.wait`` that is not answered yet."""

    job: str
    until: float
    state: JobState | None  # where the job was, for those who wait for any news
    session: str


class Core(RuleBasedStateMachine):
    """One machine, a few sessions of two users, five keys with two bodies each."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk()
        self.stories = Stories(result_s=RESULT_S, key_s=KEY_S)
        self.now = 0.0
        self.n_measured = 0
        self.start()

    # ---- the server and what it does --------------------------------------------------------

    def start(self) -> None:
        """Begin on what the disk holds, as a server that was killed and started again."""
        self.sessions: dict[str, User] = {}
        self.heard_at: dict[str, float] = {}
        self.waiting: dict[bytes, Waiting] = {}
        self.running: Run | None = None
        self.disk.crash = self.disk.fills_after = None
        self.is_settled = True  # nothing was refused by the disk since a tick put it right
        was_full, self.disk.is_full = self.disk.is_full, False
        self.bench = SteppedCore(
            keys=IdempotencyRules(kept_s=KEY_S, max_keys=2 * KEYS),
            disk=self.disk,
            queue_length=QUEUE,
            result_s=RESULT_S,
            session_s=SESSION_S,
            wait_s=3 * WAIT_S,
        )
        self.bench.now = self.now
        for story in self.stories.jobs.values():
            story.session, story.event, story.seq = "", None, 0
            story.delivered = None
            story.is_stopping = story.may_go = False
        self.bench.core.restore(list(self.disk.jobs.values()), self.now)
        self.take()
        self.disk.is_full = was_full
        self.hello(ALICE)

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Call the core; where it is killed, what it did before has happened."""
        refused = self.disk.n_refused
        try:
            yield
        except Crashed:
            self.take()
            for record in self.disk.records[self.stories.n_taken :]:
                self.stories.take(record, self.now)
            self.start()
        if self.disk.n_refused > refused:
            self.is_settled, self.refused_at = False, self.now

    def take(self) -> None:
        """Take what the last call of the core came to."""
        for effect in self.bench.core.done:
            match effect:
                case Persist(record=record):
                    self.stories.take(record, self.now)
                case Run(job=job):
                    story = self.stories.jobs[job]
                    assert self.running is None
                    assert story.state is JobState.RUNNING
                    assert not story.was_run
                    story.was_run, self.running = True, effect
                case Stop(job=job):
                    story = self.stories.jobs[job]
                    assert story.state is JobState.RUNNING
                    assert not story.is_stopping
                    story.is_stopping = True
                case Lower(source=None):
                    outcome = lower_encoded(CONTENT, effect.coupling, CAPABILITIES)
                    self.bench.core.lowered(effect, outcome, self.now)
                    self.take()
                case Reply(packet=packet):
                    self.waiting.pop(packet.id, None)
                    if isinstance(packet.body, JobStatus):
                        self.hear(packet.body)

    def hear(self, status: JobStatus) -> None:
        """Check that what is told is written, and goes with what was told before."""
        story, state = self.stories.jobs[status.job], status.state
        assert PROGRESS[state] == PROGRESS[story.state]
        assert state is story.state or state is JobState.STOPPING
        assert PROGRESS[state] >= PROGRESS[story.told]
        assert state is story.told or story.told not in TERMINAL
        reason = status.error.code if status.error else ""
        assert reason == (story.reason if story.has_ended else "")
        assert status.gone is story.is_gone
        assert status.gone or status.seq >= story.seq
        story.told, story.seq = state, max(status.seq, story.seq)

    def say(self, session: str, body: Message, *acknowledged: str) -> Message | None:
        """Say something in a session; return the answer, if it comes at once."""
        self.bench.user, self.heard_at[session] = self.sessions[session], self.now
        number = next(self.bench.ids).to_bytes(16, "big")
        packet = Packet(Kind.REQUEST, number, body, session, acknowledged=acknowledged)
        effects = self.bench.core.receive(b"p", packet, self.now, user=self.bench.user)
        if isinstance(body, WaitJob):
            story = self.stories.jobs.get(body.job)
            state = story.state if story and body.since else None
            self.waiting[number] = Waiting(body.job, self.now + body.timeout_s, state, session)
        self.take()
        return next((e.packet.body for e in effects if _answers(e, number)), None)

    # ---- sessions ---------------------------------------------------------------------------

    def hello(self, user: User) -> None:
        self.bench.user = user
        session = self.bench.hello()
        self.bench.load(session)
        self.sessions[session], self.heard_at[session] = user, self.now

    @precondition(lambda self: len(self.sessions) < 4)
    @rule(user=st.sampled_from([ALICE, BOB]))
    def another_session(self, user):
        self.hello(user)

    def note_gone(self, sessions: set[str]) -> None:
        """Take note that jobs end with their sessions, and that those are not answered any more."""
        for story in self.stories.jobs.values():
            if story.session in sessions:
                story.may_go = True

    def check_gone(self, sessions: set[str]) -> None:
        """Check that what goes with those sessions has ended, or is about to."""
        for story in self.stories.jobs.values():
            if story.session in sessions:
                assert story.has_ended or story.is_stopping
                assert story.is_gone or story.state is not JobState.DONE

    @rule(data=st.data())
    def bye(self, data):
        session = data.draw(st.sampled_from(sorted(self.sessions)))
        self.note_gone({session})
        is_whole = self.disk.is_whole
        with self.calling():
            self.say(session, Bye())
            self.sessions.pop(session)
            if is_whole:
                self.check_gone({session})
        if not self.sessions:
            self.hello(BOB)

    # ---- jobs -------------------------------------------------------------------------------

    @rule(
        data=st.data(),
        key=st.integers(1, 5),
        seed=st.sampled_from([7, 7, 7, 8]),
        keep=st.booleans(),
    )
    def sample(self, data, key, seed, keep):
        session = data.draw(st.sampled_from(sorted(self.sessions)))
        request = sample_request(key, seed=seed, keep=keep)
        job, digest = job_id(self.sessions[session].name, request.key), body_digest(request)
        known = self.stories.jobs.get(job)
        n_waiting = self.stories.count(JobState.QUEUED)
        user = self.sessions[session].name
        n_keys = sum(story.user == user for story in self.stories.jobs.values())
        refused = self.disk.n_refused
        with self.calling():
            answer = self.say(session, request)
            if known is not None and known.digest != digest:
                assert answer.code == "protocol.conflict"
            elif isinstance(answer, ErrorMessage):
                assert known is None
                assert job not in self.stories.jobs
                why = {
                    "job.queue_full": n_waiting >= QUEUE,
                    "job.key_limit": n_keys >= KEYS,
                    "server.storage": self.disk.n_refused > refused,
                }
                assert why[answer.code]
            else:
                assert answer.job == job
                assert known or (n_waiting < QUEUE and n_keys < KEYS)
        story = self.stories.jobs.get(job)
        if story is not None and story.session == "?":
            story.session = session if session in self.sessions else ""

    def draw_job(self, data) -> tuple[str, str, bool]:
        """Return a session, a job, and whether the one may ask for the other."""
        session = data.draw(st.sampled_from(sorted(self.sessions)))
        job = data.draw(st.sampled_from(sorted(self.stories.jobs)))
        return session, job, self.stories.jobs[job].user == self.sessions[session].name

    @precondition(lambda self: self.stories.jobs)
    @rule(data=st.data(), news=st.booleans())
    def wait(self, data, news):
        session, job, is_mine = self.draw_job(data)
        since = self.stories.jobs[job].seq if news else 0
        with self.calling():
            answer = self.say(session, WaitJob(job=job, timeout_s=WAIT_S, since=since))
            assert is_mine or answer.code == "protocol.unknown_reference"

    @precondition(lambda self: self.stories.jobs)
    @rule(data=st.data())
    def cancel(self, data):
        session, job, is_mine = self.draw_job(data)
        story = self.stories.jobs[job]
        before, refused = replace(story), self.disk.n_refused
        with self.calling():
            answer = self.say(session, CancelJob(job=job))
            if not is_mine or before.has_ended:
                assert story.state is before.state
                assert is_mine or answer.code == "protocol.unknown_reference"
            elif before.state is JobState.RUNNING:
                assert answer.state is JobState.STOPPING
                assert story.is_stopping
            elif isinstance(answer, ErrorMessage):
                assert answer.code == "server.storage"
                assert self.disk.n_refused > refused
                assert story.state is JobState.QUEUED
            else:
                assert answer.state is story.state is JobState.CANCELLED

    @precondition(lambda self: self.stories.jobs)
    @rule(data=st.data())
    def fetch(self, data):
        session, job, is_mine = self.draw_job(data)
        story = self.stories.jobs[job]
        answer = self.say(session, FetchResult(job=job))
        if not is_mine or (story.state is JobState.DONE and story.is_gone):
            assert answer.code == "protocol.unknown_reference"
        elif story.state is JobState.DONE:
            assert answer.record.device_s == story.result.device_s
        else:
            assert answer.code == (story.reason if story.has_ended else "protocol.local")

    @precondition(lambda self: self.stories.jobs)
    @rule(data=st.data())
    def fetch_what_is_ready(self, data):
        session, job, is_mine = self.draw_job(data)
        story = self.stories.jobs[job]
        answer = self.say(session, FetchResult(job=job, partial=True))
        if not is_mine or (story.state is JobState.DONE and story.is_gone):
            assert answer.code == "protocol.unknown_reference"
        elif story.ready is not None:
            assert answer.record.device_s == story.ready.device_s
        else:
            assert answer.code == (story.reason if story.has_ended else "protocol.local")

    @precondition(lambda self: self.stories.jobs)
    @rule(data=st.data())
    def acknowledge(self, data):
        session, job, is_mine = self.draw_job(data)
        story = self.stories.jobs[job]
        refused = self.disk.n_refused
        story.may_go |= is_mine and story.has_ended
        with self.calling():
            answer = self.say(session, AckJob(job=job))
            if not is_mine:
                assert answer.code == "protocol.unknown_reference"
            elif not story.has_ended:
                assert answer.code == "protocol.local"
            elif isinstance(answer, ErrorMessage):
                assert answer.code == "server.storage"
                assert self.disk.n_refused > refused
            else:
                assert story.is_gone

    @precondition(lambda self: self.stories.jobs)
    @rule(data=st.data())
    def acknowledge_with_another_request(self, data):
        session, job, is_mine = self.draw_job(data)
        story = self.stories.jobs[job]
        was_gone, refused = story.is_gone, self.disk.n_refused
        may_drop = is_mine and story.has_ended
        story.may_go |= may_drop
        with self.calling():
            answer = self.say(session, ListJobs(), job)
            is_written = self.disk.n_refused == refused
            assert story.is_gone is (was_gone or (may_drop and is_written))
            assert not (story.is_gone and any(info.job == job for info in answer.jobs))

    # ---- the machine ------------------------------------------------------------------------

    @precondition(lambda self: self.running)
    @rule(done=st.integers(0, 5))
    def progress(self, done):
        self.bench.core.progress(
            self.running.job, Progress(done=done, total=5, unit="round trips"), self.now
        )
        self.take()
        assert not any(w.job == self.running.job and w.state for w in self.waiting.values())

    @precondition(lambda self: self.running)
    @rule()
    def deliver(self):
        story, whole = self.stories.jobs[self.running.job], measured(self.running.program)
        story.delivered = replace(whole, spins=whole.spins[:1], device_s=self.now + 1.0)
        self.bench.core.deliver(self.running.job, story.delivered, self.now)
        self.take()
        assert not any(w.job == self.running.job and w.state for w in self.waiting.values())

    @precondition(lambda self: self.running)
    @rule(
        ending=st.sampled_from(["measured", "measured", "fault", "stopped"]),
        fills_after=st.sampled_from([None, None, None, 0, 1, 2]),
    )
    def finish(self, ending, fills_after):
        self.disk.fills_after = fills_after  # the end of this one, the start of the next
        run, self.running = self.running, None
        story = self.stories.jobs[run.job]
        self.n_measured += 1
        outcome, story.event = {
            "measured": (
                replace(measured(run.program), device_s=self.n_measured / 8),
                JobEvent.MEASURE,
            ),
            "fault": (DriverFaultError("smoke"), JobEvent.FAULT),
            "stopped": (JobCancelledError("stopped"), JobEvent.STOPPED),
        }[ending]
        story.result = outcome if ending == "measured" else None
        with self.calling():
            self.bench.core.finish(run.job, outcome, self.now)
            self.take()

    # ---- time and trouble -------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1.0, 1.5, 2.0, 10.0, 30.0, 60.0, 250.0]))
    def time_passes(self, seconds):
        self.now = self.bench.now = self.now + seconds
        silent = {name for name in self.sessions if self.heard_at[name] < self.now - SESSION_S}
        self.note_gone(silent)
        is_whole = self.disk.is_whole
        with self.calling():
            self.bench.core.tick(self.now)
            self.take()
            if is_whole:
                self.check_gone(silent)
                # A server that was put off tries everything again after a second.
                self.bench.core.tick(self.now)
                self.take()
                self.is_settled = True
            for session in silent:
                self.sessions.pop(session)
        if not self.sessions:
            self.hello(ALICE)
        assert all(wait.until > self.now for wait in self.waiting.values())

    @rule(
        what=st.sampled_from(
            ["kill", "kill before", "kill after", "full", "full 1", "room", "room", "room"]
        )
    )
    def trouble(self, what):
        """Kill the server, now or at the next record, or change what the disk takes."""
        match what.split():
            case ["full", records]:
                self.disk.fills_after = int(records)
            case ["kill"]:
                self.start()
            case ["kill", when]:
                self.disk.crash = when
            case [state]:
                self.disk.is_full = state == "full"

    def teardown(self):
        """Let all be well: every job ends, every wait is answered, every key is forgotten."""
        self.trouble("room")
        self.disk.crash = self.disk.fills_after = None
        self.time_passes(1.0)
        self.check_waits()
        while self.running:
            self.finish("measured", None)
        self.time_passes(1.0)
        self.all_that_waits_has_a_reason()
        assert all(story.has_ended for story in self.stories.jobs.values())
        assert not self.waiting
        for seconds in (RESULT_S, KEY_S):
            self.time_passes(seconds)
        assert self.stories.jobs == {}

    def check_waits(self) -> None:
        """Check that who waits for a job that runs hears of it: of news, or when time is over."""
        if self.running is None:
            return
        story = self.stories.jobs[self.running.job]
        self.hello(next(user for user in (ALICE, BOB) if user.name == story.user))
        session = list(self.sessions)[-1]
        self.say(session, WaitJob(job=self.running.job, timeout_s=0.0))
        for since in (story.seq, 0):
            self.say(session, WaitJob(job=self.running.job, timeout_s=WAIT_S, since=since))
        assert len([wait for wait in self.waiting.values() if wait.session == session]) == 2
        self.progress(3)
        assert len([wait for wait in self.waiting.values() if wait.session == session]) == 1
        self.time_passes(WAIT_S)

    # ---- at any time ------------------------------------------------------------------------

    @invariant()
    def all_that_waits_has_a_reason(self):
        if not self.is_settled:
            return
        if self.running is None:
            assert self.stories.count(JobState.QUEUED) == 0
            assert self.stories.count(JobState.RUNNING) == 0
        for wait in self.waiting.values():
            story = self.stories.jobs[wait.job]
            assert not story.has_ended
            assert wait.state in {None, story.state}

    @invariant()
    def the_disk_tells_the_same_story(self):
        for job, saved in self.disk.jobs.items():
            story = self.stories.jobs[job]
            assert (saved.state, saved.user) == (story.state, story.user)
            assert (saved.accepted is None) == story.is_gone
        assert len(self.disk.jobs) == len(self.stories.jobs)

    @invariant()
    def users_see_their_own_jobs(self):
        for user in (ALICE, BOB):
            self.bench.user = user
            session = self.bench.hello()
            listed = {info.job: info for info in self.bench.ask(ListJobs(), session).jobs}
            self.bench.core.receive(b"p", _bye(session), self.now, user=user)
            kept = {
                j: story for j, story in self.stories.of(user.name).items() if not story.is_gone
            }
            assert set(listed) == set(kept)
            for job, story in kept.items():
                assert PROGRESS[listed[job].state] == PROGRESS[story.state]
                assert listed[job].reason == (story.reason if story.has_ended else "")


def _answers(effect: Effect, number: bytes) -> bool:
    return isinstance(effect, Reply) and effect.packet.id == number


def _bye(session: str) -> Packet:
    return Packet(Kind.REQUEST, b"y" * 16, Bye(), session)


TestCore = Core.TestCase
TestCore.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
