"""The jobs of a server: one queue, one machine, results kept until they are acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cim_hal.errors import (
    CimError,
    ConflictError,
    DeviceRestartedError,
    JobCancelledError,
    UnknownReferenceError,
)
from cim_hal.protocol.effects import Audit, Effect, Run, Stop
from cim_hal.protocol.faults import as_fault
from cim_hal.protocol.job import Job
from cim_hal.protocol.keys import KeyRules, body_digest, job_id
from cim_hal.protocol.ledger import Closed, Ledger
from cim_hal.protocol.records import Accepted, Dropped, Ended, Forgotten, Started
from cim_hal.protocol.results import Measured
from cim_hal.protocol.saving import Saver
from cim_hal.protocol.shelf import Shelf
from cim_hal.protocol.state import JobEvent, JobState, after
from cim_hal.protocol.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cim_hal.machine.driver import Program
    from cim_hal.protocol.limits import Limits
    from cim_hal.protocol.messages import CouplingRef, Progress, Sample
    from cim_hal.protocol.records import Saved
    from cim_hal.protocol.roles import User
    from cim_hal.protocol.saving import Otherwise, Then
    from cim_hal.protocol.sessions import Session

__all__ = ["JobBook"]

RETRY_S = 1.0  # after a record that could not be written


class JobBook:
    """All jobs a server knows, and the queue for its machine.

    A move that must outlast a crash is made when its record is written, and not before: until
    then the book stands as it did, and where the record cannot be written it goes on so.
    """

    def __init__(
        self,
        limits: Limits,
        rules: KeyRules | None = None,
        *,
        may_start: Callable[[Job], bool] = lambda _job: True,
    ) -> None:
        self._may_start = may_start
        self._saver = Saver()
        self._jobs: dict[str, Job] = {}
        self._ledger = Ledger(rules or KeyRules())
        self._queue = Turns(limits)
        self._running: Job | None = None
        self._is_starting = self._is_expiring = False  # the record of it is being written
        self._held: Measured | CimError | None = None  # of the running job, not written yet
        self._retry_at = 0.0
        self._shelf = Shelf(limits)
        self._seq = 0
        self.saved = self._saver.saved
        self.unsaved = self._saver.unsaved

    @property
    def saver(self) -> Saver:
        """Where other moves wait for the journal too."""
        return self._saver

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

    # ---- finding ----------------------------------------------------------------------------

    def find(self, user: User, request: Sample) -> Job | Closed | None:
        """Return the job that this very request made before.

        Raises
        ------
        ConflictError
            Its key was used before for another request.
        """
        job = job_id(user.name, request.key)
        known = self._jobs.get(job) or self._ledger.get(job)
        if known is None:
            return None
        digest = known.accepted.digest if isinstance(known, Job) else known.digest
        if digest != body_digest(request):
            raise ConflictError(
                "the idempotency key was used before, for another request",
                hint="make a new key for each submission",
                job=job,
            )
        return known

    def get(self, user: User, job: str, *, of_others: bool = False) -> Job | Closed:
        """Return a job of a user, or with `of_others` of anybody.

        Raises
        ------
        UnknownReferenceError
            There is no such job, or not any more.
        """
        known = self._jobs.get(job) or self._ledger.get(job)
        owner = known.user.name if isinstance(known, Job) else known and known.user
        if known is None or (owner != user.name and not of_others):
            raise UnknownReferenceError(
                "the server does not know that job",
                hint="its key was forgotten, or it is of another user",
                kind="job",
                job=job,
            )
        return known

    def of(self, user: User | None) -> list[Job]:
        """Return the jobs of a user, or of all where it is None, that still have their request."""
        jobs = self._jobs.values()
        return [job for job in jobs if user is None or job.user.name == user.name]

    # ---- moving -----------------------------------------------------------------------------

    def submit(
        self,
        session: Session,
        request: Sample,
        program: Program,
        now: float,
        *,
        epoch: int = 0,
        then: Then,
        otherwise: Otherwise,
    ) -> list[Effect]:
        """Queue a new job, start it where the machine is free, and go on with `then`.

        Raises
        ------
        QueueFullError
            As many jobs wait as the server takes, of all users or of this one.
        KeyLimitError
            As many keys are remembered as the server takes.
        """
        self._queue.check_room(session.user, self._running, now)
        self._ledger.check_room(len(self._jobs), now)
        user, job = session.user, job_id(session.user.name, request.key)
        report, digest = program.lowering.report, body_digest(request)
        record = Accepted(job, user, request, digest, program.schedule, report, now)
        accepted = Job(record, "" if request.keep else session.token, program, epoch)

        def admit(now: float) -> list[Effect]:
            self._jobs[job] = accepted
            self._queue.push(accepted)
            news = self._changed(accepted, now)
            facts = accepted.facts() | {"session": session.token[-8:]}  # kept or not
            audit = Audit("job", accepted.user, facts)
            return [*news, *then(now), audit, *self.start_next(now)]

        return self._saver.ask(record, admit, otherwise)

    def start_next(self, now: float) -> list[Effect]:
        """Start the job whose turn it is, of those that may, if the machine is free."""
        if self._running is not None or self._is_starting or now < self._retry_at:
            return []
        job = self._queue.next(lambda job: job.program is not None and self._may_start(job))
        if job is None:
            return []
        self._is_starting = True

        def start(now: float) -> list[Effect]:
            self._is_starting = False
            self._running = job
            self._queue.begin(job, now)
            program, job.program = job.program, None
            job.state = after(job.state, JobEvent.START)
            runs: list[Effect] = [Run(job.id, program)] if program is not None else []
            facts = {"job": job.id, "expected_s": self._queue.expected_s(job)}
            started = Audit("job started", job.user, facts)
            return [*self._changed(job, now), *runs, started]

        def put_back(error: CimError, now: float) -> list[Effect]:
            self._queue.put_back()
            return self._put_off(error, now)

        return self._saver.ask(Started(job.id), start, put_back)

    def cancel(
        self,
        job: Job,
        now: float,
        *,
        then: Then | None = None,
        otherwise: Otherwise | None = None,
    ) -> list[Effect]:
        """End a job early, and go on with `then`; too late is no mistake."""
        then, otherwise = then or _nothing, otherwise or self._put_off
        if job.state is JobState.QUEUED:
            error = job.reason or _cancelled(job)
            return self._end_queued(job, JobState.CANCELLED, error, now, then, otherwise)
        was, job.state = job.state, after(job.state, JobEvent.CANCEL)
        stops: list[Effect] = [Stop(job.id)] if was is JobState.RUNNING else []
        news = self._changed(job, now) if job.state is not was else []
        return [*stops, *news, *then(now)]

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

    def report(self, job: str, progress: Progress, now: float) -> list[Effect]:
        """Take how far the running job is."""
        if self._running is None or self._running.id != job:
            return []
        self._running.progress = progress
        return self._changed(self._running, now)

    def finish(self, job_id: str, outcome: Measured | CimError, now: float) -> list[Effect]:
        """Take what became of the running job, and start the next.

        The job runs on, for all to see, until that is written.
        """
        job = self._running
        if job is None or job.id != job_id:
            raise KeyError(job_id)
        state = after(job.state, _event(outcome))
        measured, error = (outcome, None) if isinstance(outcome, Measured) else (None, outcome)
        if state is JobState.CANCELLED and measured is not None:
            measured, error = None, _cancelled(job)
        if job.reason is not None:  # whatever the machine made of it
            measured, error = None, job.reason
        record = Ended(job.id, state, error and as_fault(error), measured, now)

        def end(now: float) -> list[Effect]:
            self._running = self._held = None
            self._queue.charge(job, now, is_whole=isinstance(outcome, Measured))
            return [*self._end(job, record, now), *self.start_next(now)]

        def hold(error: CimError, now: float) -> list[Effect]:
            self._held = outcome
            return self._put_off(error, now)

        return self._saver.ask(record, end, hold)

    def acknowledge(self, jobs: Iterable[Job], then: Then, otherwise: Otherwise) -> list[Effect]:
        """Drop the results of jobs that have ended; their keys stay."""
        dropped = tuple(jobs)

        def close(now: float) -> list[Effect]:
            for job in dropped:
                self._close(job)
            return then(now)

        return self._saver.ask(Dropped(tuple(job.id for job in dropped)), close, otherwise)

    def end_session(self, session: str, now: float) -> list[Effect]:
        """Cancel the jobs that go with a session, and drop the results of those that are done."""
        jobs = [job for job in self._jobs.values() if job.session == session]
        effects: list[Effect] = []
        for job in jobs:
            if not job.has_ended:
                job.reason = _cancelled(job)
                effects += self.cancel(job, now)
        done = [job for job in jobs if job.measured is not None]
        return effects + (self.acknowledge(done, _nothing, self._put_off) if done else [])

    def tick(self, now: float) -> list[Effect]:
        """Answer waits that are over, drop what is too old, and try again what failed."""
        effects: list[Effect] = []
        for job in (*self._queue, *([self._running] if self._running else [])):
            effects += job.tell_waiters(now)
        if now < self._retry_at:
            return effects
        if self._held is not None and self._running is not None:
            effects += self.finish(self._running.id, self._held, now)
        for job in [job for job in self._queue if job.reason is not None]:
            effects += self.cancel(job, now)
        return [*effects, *self._expire(now), *self.start_next(now)]

    # ---- after a restart --------------------------------------------------------------------

    def restore(self, saved: Iterable[Saved], now: float) -> list[Effect]:
        """Take what the journal of the server before knew, oldest first.

        A job that was running has failed: it is not run again by itself.
        """
        self._seq = int(now * 1000)
        effects: list[Effect] = []
        for known in saved:
            if known.accepted is None:
                closed = Closed(
                    known.user, known.digest, known.state, known.error, min(known.ended_at, now)
                )
                self._ledger.close(known.job, closed)
                continue
            job = self._jobs[known.job] = Job(known.accepted, "", None, state=known.state)
            if known.state is JobState.QUEUED:
                self._queue.push(job)
                effects.append(Audit("job", job.user, job.facts()))
            elif known.state is JobState.RUNNING:
                effects += self._fail_restarted(job, now)
            else:
                state = Ended(job.id, job.state, known.error, known.measured, known.ended_at)
                effects += self._end(job, state, now)
        return effects

    def unfitted(self) -> CouplingRef | None:
        """Return the couplings that the first job without a program waits for."""
        return next((j.request.coupling for j in self._queue if j.program is None), None)

    def waiting_for(self, coupling: CouplingRef) -> list[Job]:
        """Return the queued jobs that have no program yet and wait for these couplings."""
        waits = [job for job in self._queue if job.program is None]
        return [job for job in waits if job.request.coupling == coupling]

    def fail(self, job: Job, error: CimError, now: float) -> list[Effect]:
        """End a queued job that cannot be run."""
        return self._end_queued(job, JobState.FAILED, error, now, _nothing, self._put_off)

    def _fail_restarted(self, job: Job, now: float) -> list[Effect]:
        error = DeviceRestartedError(
            "the server was restarted while the job ran",
            hint="it is not run again by itself: submit it with a new key",
            job=job.id,
        )
        record = Ended(job.id, JobState.FAILED, as_fault(error), None, now)
        return self._saver.ask(record, lambda now: self._end(job, record, now), _give_up)

    # ---- inside -----------------------------------------------------------------------------

    def _end_queued(  # noqa: PLR0917
        self,
        job: Job,
        state: JobState,
        error: CimError,
        now: float,
        then: Then,
        otherwise: Otherwise,
    ) -> list[Effect]:
        def end(now: float) -> list[Effect]:
            self._queue.remove(job)
            return [*self._end(job, record, now), *then(now)]

        record = Ended(job.id, state, as_fault(error), None, now)
        return self._saver.ask(record, end, otherwise)

    def _changed(self, job: Job, now: float) -> list[Effect]:
        self._seq += 1
        job.seq = self._seq
        return job.tell_waiters(now)

    def _end(self, job: Job, record: Ended, now: float) -> list[Effect]:
        job.program, job.measured, job.error = None, record.measured, record.error
        job.state, job.ended_at = record.state, record.at
        self._shelf.put(job)
        ended = Audit("job ended", job.user, job.end_facts())
        return [*self._changed(job, now), ended, *self._expire(now)]

    def _put_off(self, _error: CimError, now: float) -> list[Effect]:
        self._is_starting = self._is_expiring = False
        self._retry_at = now + RETRY_S
        return []

    def _expire(self, now: float) -> list[Effect]:
        """Drop results that are too old or too many, and forget old keys."""
        due, keys = self._shelf.due(now), self._ledger.expired(now)
        if self._is_expiring or not (due or keys):
            return []
        self._is_expiring = True

        def forget(_now: float) -> list[Effect]:
            self._is_expiring = False
            self._ledger.forget(keys)
            return []

        def drop(now: float) -> list[Effect]:
            self._is_expiring = False
            return self._expire(now)

        if due:
            return self.acknowledge(due, drop, self._put_off)
        return self._saver.ask(Forgotten(keys), forget, self._put_off)

    def _close(self, job: Job) -> None:
        if self._shelf.take(job):
            del self._jobs[job.id]
            user, digest = job.user.name, job.accepted.digest
            self._ledger.close(job.id, Closed(user, digest, job.state, job.error, job.ended_at))


def _nothing(_now: float) -> list[Effect]:
    return []


def _give_up(error: CimError, _now: float) -> list[Effect]:
    raise error  # a server must not begin on a journal that it cannot write


def _cancelled(job: Job) -> JobCancelledError:
    return JobCancelledError("the job was cancelled", job=job.id)


def _event(outcome: Measured | CimError) -> JobEvent:
    if isinstance(outcome, Measured):
        return JobEvent.MEASURE
    return JobEvent.STOPPED if isinstance(outcome, JobCancelledError) else JobEvent.FAULT
