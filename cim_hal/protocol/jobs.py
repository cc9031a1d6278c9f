"""The jobs of a server: one queue, one machine, results kept for a while."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cim_hal.errors import (
    CimError,
    ConflictError,
    JobCancelledError,
    QueueFullError,
    UnknownReferenceError,
)
from cim_hal.protocol.effects import Audit, Effect, Reply, Run, Stop
from cim_hal.protocol.faults import as_fault
from cim_hal.protocol.messages import JobStatus
from cim_hal.protocol.pace import Pace, Work
from cim_hal.protocol.packet import Packet, answer
from cim_hal.protocol.queue import FairQueue
from cim_hal.protocol.results import Measured
from cim_hal.protocol.state import TERMINAL, JobEvent, JobState, after

if TYPE_CHECKING:
    from collections.abc import Callable

    from cim_hal.errors import Detail
    from cim_hal.machine.driver import Program
    from cim_hal.model.record import LoweringReport
    from cim_hal.model.schedule import PumpSchedule
    from cim_hal.protocol.limits import Limits
    from cim_hal.protocol.messages import CouplingRef, Sample
    from cim_hal.protocol.roles import User

__all__ = ["Job", "JobBook"]


@dataclass(frozen=True, eq=False)
class _Waiter:
    peer: bytes
    request: Packet
    deadline: float


@dataclass(eq=False)
class Job:
    """One submission.

    The program is let go of when the job ends: it holds the couplings. `epoch` is that of the lock
    under which it was submitted, 0 for none.
    """

    id: str
    session: str
    user: User
    request: Sample
    schedule: PumpSchedule
    report: LoweringReport
    program: Program | None
    epoch: int = 0
    state: JobState = JobState.QUEUED
    outcome: Measured | CimError | None = None
    reason: CimError | None = None  # why it is to end, where its user did not ask for it
    started_at: float = 0.0
    ended_at: float = 0.0
    waiters: list[_Waiter] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        """Whether the state is terminal."""
        return self.state in TERMINAL

    @property
    def work(self) -> Work:
        """What it asks of the machine."""
        return Work(self.report.machine_spins, self.request.n_runs, self.schedule.round_trips)

    def status(self) -> JobStatus:
        """Return the message that says where the job is."""
        error = as_fault(self.outcome) if isinstance(self.outcome, CimError) else None
        return JobStatus(job=self.id, state=self.state, error=error)

    def facts(self) -> dict[str, Detail]:
        """Return what the log says when the job is accepted."""
        return {
            "job": self.id,
            "session": self.session[-8:],
            "coupling": self.request.coupling.digest,
            "n_spins": self.report.machine_spins,
            "n_runs": self.request.n_runs,
            "round_trips": self.schedule.round_trips,
        }

    def end_facts(self) -> dict[str, Detail]:
        """Return what the log says when the job has ended: how, and why."""
        facts: dict[str, Detail] = {"job": self.id, "state": self.state.value}
        if isinstance(self.outcome, Measured):
            return facts | {"device_s": round(self.outcome.device_s, 6)}
        if self.outcome is not None:
            facts |= {"reason": self.outcome.code, "message": self.outcome.message}
        return facts


class JobBook:
    """All jobs a server knows, and the queue for its machine."""

    def __init__(
        self,
        limits: Limits,
        new_token: Callable[[], str],
        *,
        may_start: Callable[[Job], bool] = lambda _job: True,
    ) -> None:
        self._limits = limits
        self._may_start = may_start
        self._new_token = new_token
        self._jobs: dict[str, Job] = {}
        self._keys: dict[tuple[str, str], Job] = {}
        self._queue = FairQueue[Job](slice_s=limits.slice_s)
        self._pace = Pace()
        self._running: Job | None = None
        self._loaded: CouplingRef | None = None  # of the job that was started last
        self._ended: deque[Job] = deque()  # in the order of their end
        self._kept_bytes = 0

    @property
    def queued(self) -> int:
        """Jobs that wait for the machine."""
        return len(self._queue)

    @property
    def busy(self) -> bool:
        """Whether the machine runs a job."""
        return self._running is not None

    @property
    def running(self) -> Job | None:
        """The job that has the machine."""
        return self._running

    def couplings_in_use(self) -> set[str]:
        """Return the digests of the couplings that jobs wait for or run with."""
        running = [self._running] if self._running is not None else []
        return {job.request.coupling.digest for job in (*self._queue, *running)}

    def find(self, session: str, request: Sample) -> Job | None:
        """Return the job that this very request made before.

        Raises
        ------
        ConflictError
            Its key was used before for another request.
        """
        job = self._keys.get((session, request.key))
        if job is not None and job.request != request:
            raise ConflictError(
                "the idempotency key was used before, for another request",
                hint="make a new key for each submission",
                job=job.id,
            )
        return job

    def add(
        self,
        session: str,
        user: User,
        request: Sample,
        program: Program,
        now: float,
        *,
        epoch: int = 0,
    ) -> Job:
        """Queue a new job.

        Raises
        ------
        QueueFullError
            As many jobs wait as the server takes, of all users or of this one.
        """
        self._check_room(user, now)
        schedule, report = program.schedule, program.lowering.report
        job = Job(self._new_token(), session, user, request, schedule, report, program, epoch)
        self._jobs[job.id] = self._keys[session, request.key] = job
        self._queue.push(job, user=user.name, priority=request.priority, coupling=request.coupling)
        return job

    def get(self, session: str, job_id: str, *, of_others: bool = False) -> Job:
        """Return a job of a session, or with `of_others` of any.

        Raises
        ------
        UnknownReferenceError
            There is none, or its result was dropped.
        """
        job = self._jobs.get(job_id)
        if job is None or not (of_others or job.session == session):
            raise UnknownReferenceError(
                "the server does not know that job",
                hint="its session has ended or its result was dropped: submit it again",
                kind="job",
                job=job_id,
            )
        return job

    def start_next(self, now: float) -> list[Effect]:
        """Start the job whose turn it is, of those that may, if the machine is free."""
        if self._running is not None:
            return []
        job = self._queue.pop(loaded=self._loaded, is_allowed=self._may_start)
        if job is None:
            return []
        self._running, self._loaded, job.started_at = job, job.request.coupling, now
        program, job.program = job.program, None
        job.state = after(job.state, JobEvent.START)
        expected_s = self._pace.estimate(job.work)
        started = Audit("job started", job.user, {"job": job.id, "expected_s": expected_s})
        return [Run(job.id, program), started] if program is not None else []

    def wait(self, job: Job, peer: bytes, request: Packet, deadline: float) -> None:
        """Remember a peer that waits for the end of a job; asking twice replaces the first."""
        job.waiters = [w for w in job.waiters if (w.peer, w.request.id) != (peer, request.id)]
        job.waiters.append(_Waiter(peer, request, deadline))

    def cancel(self, job: Job, now: float) -> list[Effect]:
        """End a job early."""
        was = job.state
        job.state = after(was, JobEvent.CANCEL)
        if was is JobState.QUEUED:
            self._queue.remove(job)
            return self._end(job, job.reason or _cancelled(job), now)
        return [Stop(job.id)] if was is JobState.RUNNING else []

    def interrupt(self, reason: CimError, now: float) -> list[Effect]:
        """End the running job, if there is one, for a reason that its user will read."""
        if self._running is None:
            return []
        self._running.reason = reason
        return self.cancel(self._running, now)

    def end_waiting(self, epoch: int, reason: CimError, now: float) -> list[Effect]:
        """End the jobs that were submitted under an epoch and wait."""
        effects: list[Effect] = []
        for job in [job for job in self._queue if job.epoch == epoch]:
            job.reason = reason
            effects += self.cancel(job, now)
        return effects

    def free(self, epoch: int) -> None:
        """Make the waiting jobs of an epoch ordinary ones."""
        for job in self._queue:
            if job.epoch == epoch:
                job.epoch = 0

    def finish(self, job_id: str, outcome: Measured | CimError, now: float) -> list[Effect]:
        """Take what became of the running job, and start the next."""
        job = self._running
        if job is None or job.id != job_id:
            raise KeyError(job_id)
        self._running = None
        self._charge(job, now - job.started_at, is_whole=isinstance(outcome, Measured))
        job.state = after(job.state, _event(outcome))
        if job.state is JobState.CANCELLED and isinstance(outcome, Measured):
            outcome = _cancelled(job)
        if job.reason is not None:  # whatever the machine made of it
            outcome = job.reason
        return self._end(job, outcome, now) + self.start_next(now)

    def forget_session(self, session: str, now: float) -> list[Effect]:
        """Cancel and drop the jobs of a session; a running one is dropped when it ends."""
        effects: list[Effect] = []
        for job in [job for job in self._jobs.values() if job.session == session]:
            effects += self.cancel(job, now)
            self._forget(job)
        return effects

    def tick(self, now: float) -> list[Effect]:
        """Answer waits that are over, and drop results that are too old."""
        effects: list[Effect] = []
        for job in (*self._queue, *([self._running] if self._running else [])):
            due = [waiter for waiter in job.waiters if waiter.deadline <= now]
            job.waiters = [waiter for waiter in job.waiters if waiter.deadline > now]
            effects += _tell(due, job)
        self._drop_results(now)
        return effects

    def expected_wait_s(self, now: float) -> float | None:
        """Return the device seconds of all that runs and waits; None before the first job ended."""
        jobs = [*self._queue, *([self._running] if self._running else [])]
        total = 0.0
        for job in jobs:
            seconds = self._pace.estimate(job.work)
            if seconds is None:
                return None
            gone = now - job.started_at if job is self._running else 0.0
            total += max(seconds - gone, 0.0)
        return total

    def _check_room(self, user: User, now: float) -> None:
        limits, depth = self._limits, len(self._queue)
        own = self._queue.depth(user.name)
        if depth < limits.queue_length and own < limits.user_queue_length:
            return
        whose = f"of {user.name} " if own >= limits.user_queue_length else ""
        raise QueueFullError(
            f"{own if whose else depth} jobs {whose}wait for the machine, the most it takes",
            hint="fetch or cancel a job, or try again later",
            queue_length=limits.user_queue_length if whose else limits.queue_length,
            depth=depth,
            expected_wait_s=self.expected_wait_s(now),
        )

    def _charge(self, job: Job, seconds: float, *, is_whole: bool) -> None:
        """Put what a job took of the machine on the account of its user."""
        self._queue.charge(job.user.name, seconds)
        if is_whole:  # of one that failed or was stopped nobody knows how much was done
            self._pace.learn(job.work, seconds)

    def _end(self, job: Job, outcome: Measured | CimError, now: float) -> list[Effect]:
        job.program, job.outcome, job.ended_at = None, outcome, now
        self._ended.append(job)
        self._kept_bytes += _size(job)
        self._drop_results(now)
        waiters, job.waiters = job.waiters, []
        return [*_tell(waiters, job), Audit("job ended", job.user, job.end_facts())]

    def _drop_results(self, now: float) -> None:
        """Drop ended jobs from the oldest on: those too old, and those too many for the rest."""
        limits = self._limits
        while self._ended:
            is_old = self._ended[0].ended_at + limits.result_s <= now
            is_much = self._kept_bytes > limits.kept_bytes or len(self._ended) > limits.kept_jobs
            if not is_old and not (is_much and len(self._ended) > 1):
                return
            job = self._ended.popleft()
            self._kept_bytes -= _size(job)
            self._forget(job)

    def _forget(self, job: Job) -> None:
        self._jobs.pop(job.id, None)
        self._keys.pop((job.session, job.request.key), None)


def _event(outcome: Measured | CimError) -> JobEvent:
    if isinstance(outcome, Measured):
        return JobEvent.MEASURE
    return JobEvent.STOPPED if isinstance(outcome, JobCancelledError) else JobEvent.FAULT


def _cancelled(job: Job) -> JobCancelledError:
    return JobCancelledError("the job was cancelled", job=job.id)


def _tell(waiters: list[_Waiter], job: Job) -> list[Effect]:
    return [Reply(w.peer, answer(w.request, job.status())) for w in waiters]


def _size(job: Job) -> int:
    return job.outcome.n_bytes if isinstance(job.outcome, Measured) else 0
