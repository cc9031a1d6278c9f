"""The life of the jobs of a server: one queue, one machine, results kept until acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from typing import TYPE_CHECKING

from cim_hal.protocol.effects import Audit, Effect, Persist, Run, Stop
from cim_hal.protocol.jobs.entry import JobEntry
from cim_hal.protocol.jobs.records import Accepted, Ended, Returned, Started
from cim_hal.protocol.jobs.scheduler import Scheduler
from cim_hal.protocol.jobs.state import JobEvent, JobState, after
from cim_hal.protocol.jobs.table import ClosedJob, JobTable, Retention, body_digest, job_id
from cim_hal.protocol.jobs.waits import JobNeeds, JobWaits, PendingJobs
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.results import Result

if TYPE_CHECKING:
    from cim_hal.errors import CimError
    from cim_hal.machine.driver import Program
    from cim_hal.protocol.effects import Asked, Otherwise, Then
    from cim_hal.protocol.jobs.records import Saved
    from cim_hal.protocol.jobs.table import IdempotencyRules
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.wire.messages.jobs import Progress, Sample

__all__ = ["JobLifecycle"]

RETRY_S = 1.0  # after a record that could not be written
RESOLUTION_S = 1e-6  # of the times of acceptance


class JobLifecycle:
    """Accepts jobs, starts and ends them, and drops what is kept of them when its time is over.

    A move that must outlast a crash is made once its record is written, and not before; until then
    the job makes no other move. What its user, a lock or an emergency stop want of it meanwhile is
    its `reason` to end, and is looked at as soon as the record is there. Where the record cannot be
    written, the jobs stay as they were. `may_start` says whether a job may have the machine now, as
    far as locks and emergency stops go.
    """

    def __init__(
        self,
        limits: Limits,
        rules: IdempotencyRules | None = None,
        *,
        may_start: Callable[[JobEntry], bool] = lambda _job: True,
    ) -> None:
        self._may_start = may_start
        self.table = JobTable(limits, rules)
        self.waits = JobWaits(limits)
        self.retention = Retention(self.table, self._put_off)
        self._scheduler = Scheduler(limits)
        self._queue = self._scheduler.queue
        self._running: JobEntry | None = None
        self.accepting = PendingJobs()
        self._starting: JobEntry | None = None  # the record of its start is being written
        self._accepted_at = 0.0  # of the last job
        self._held: Result | CimError | None = None  # of the running job, not written yet
        self._retry_at = 0.0
        self._seq = 0
        self._to_end: dict[str, JobEntry] = {}  # queued jobs whose end could not be written
        self.needs = JobNeeds()

    @property
    def queued(self) -> int:
        """How many jobs wait for the machine."""
        return len(self._queue)

    @property
    def waiting(self) -> list[JobEntry]:
        """The jobs that wait for the machine, in the order they came."""
        return list(self._queue)

    @property
    def busy(self) -> bool:
        """Whether the machine runs a job."""
        return self._running is not None

    @property
    def running(self) -> JobEntry | None:
        """The job that has the machine."""
        return self._running

    def _not_begun(self) -> list[JobEntry]:
        """Return the jobs that wait, and those whose acceptance or start is being written."""
        starting = [self._starting] if self._starting is not None else []
        return [*self.accepting, *self._queue, *starting]

    def sessions_in_use(self) -> Set[str]:
        """Return the sessions whose jobs wait or run."""
        return self.needs.sessions.keys()

    def submit(
        self,
        asked: Asked,
        request: Sample,
        program: Program,
        now: float,
        *,
        expects: int = 0,
        then: Then,
        otherwise: Otherwise,
    ) -> list[Effect]:
        """Queue a new job, start it where the machine is free, and go on with `then`.

        `QueueFullError`, `KeyLimitError` and `QuotaError` where as many jobs wait, keys are
        remembered, or results are promised, as the server takes; the job `expects` one of so many
        bytes. `UnavailableError` where the server is about to end.
        """
        coming = [job.owner for job in self.accepting]
        self._scheduler.check_room(asked.user, self._running, now, coming)
        self.table.check_room(asked.user, now, coming)
        self.table.results.check_room(asked.user.name, expects)
        user, job = asked.user, job_id(asked.user.name, request.key)
        report, digest = program.lowering.report, body_digest(request)
        # Jobs are listed by the time of their acceptance: no two have the same.
        self._accepted_at = max(now, self._accepted_at + RESOLUTION_S)
        at = self._accepted_at
        if program.settings != request.settings:  # with the defaults of a machine file
            request = request.model_copy(update={"settings": dict(program.settings)})
        record = Accepted(job, user, request, digest, program.schedule, report, at)
        session = "" if request.keep else asked.session
        accepted = JobEntry(record, session, program, asked.packet.epoch, expects=expects)
        self.accepting.add(accepted)
        self.needs.add(accepted)
        self.table.results.update(accepted)

        def admit(now: float) -> list[Effect]:
            others = self.accepting.remove(accepted)
            self.table.add(accepted)
            if self._starting is not accepted:
                self._scheduler.push(accepted)
            news = self._changed(accepted, now)
            facts = accepted.facts() | {"session": asked.session[-8:]}  # kept or not
            told = [*then(now), Audit("job", accepted.user, facts), *others(now)]
            ended = self.cancel(accepted, now) if accepted.reason is not None else []
            return [*news, *told, *ended, *self.start_next(now)]

        def refuse(error: CimError, now: float) -> list[Effect]:
            others = self.accepting.remove(accepted)
            self.needs.remove(accepted)
            self.table.results.remove(accepted)
            return [*otherwise(error, now), *others(now)]

        # On a free machine the start is written with the acceptance: one wait for the disk less.
        is_next = not self._queue and len(self.accepting) == 1 and self._may_begin(now)
        is_next = is_next and self._is_ready(accepted)
        accept = Persist(record, admit, refuse)
        if not is_next:
            return [accept]
        return [accept, Persist(Started(job), *self._start(accepted, self._scheduler.push))]

    def start_next(self, now: float) -> list[Effect]:
        """Start the job whose turn it is, of those that may, if the machine is free."""
        job = self._next() if self._may_begin(now) else None
        return [] if job is None else [Persist(Started(job.id), *self._start(job, self._put_back))]

    def _next(self) -> JobEntry | None:
        return self._scheduler.next(self._is_ready)

    def _put_back(self, _job: JobEntry) -> None:
        self._queue.put_back()

    def _may_begin(self, now: float) -> bool:
        return self._running is None and self._starting is None and now >= self._retry_at

    def _start(self, job: JobEntry, put_back: Callable[[JobEntry], None]) -> tuple[Then, Otherwise]:
        """Return how a job begins once that is written, and how it goes into the queue if not."""
        self._starting, job.is_moving = job, True

        def start(now: float) -> list[Effect]:
            self._starting, job.is_moving = None, False
            return self._begin(job, now) if self.table.holds(job) else self.start_next(now)

        def leave(error: CimError, now: float) -> list[Effect]:
            self._starting, job.is_moving = None, False
            if not self.table.holds(job):  # it was not accepted either
                return self.start_next(now)
            put_back(job)
            if job.reason is not None:
                self._to_end[job.id] = job
            return self._put_off(error, now)

        return start, leave

    def _begin(self, job: JobEntry, now: float) -> list[Effect]:
        """Give the machine to a job; one that is to end meanwhile never touches it."""
        self._running = job
        self._scheduler.begin(job, now)
        program, job.program = job.program, None
        job.state = after(job.state, JobEvent.START)
        news = self._changed(job, now)
        if job.reason is not None or program is None:
            return [*news, *self.finish(job.id, job.cancelled(), now)]
        facts = {"job": job.id, "expected_s": self._scheduler.expected_s(job)}
        return [*news, Run(job.id, program), Audit("job started", job.user, facts)]

    def cancel(
        self,
        job: JobEntry,
        now: float,
        *,
        then: Then | None = None,
        otherwise: Otherwise | None = None,
    ) -> list[Effect]:
        """End a job early, then call `then`. After the end of the job it changes nothing."""
        then, otherwise = then or _nothing, otherwise or self._put_off
        if job.state is JobState.QUEUED:
            error = job.reason or job.cancelled()
            return self._end_queued(job, JobState.CANCELLED, error, now, then, otherwise)
        was, job.state = job.state, after(job.state, JobEvent.CANCEL)
        stops: list[Effect] = [Stop(job.id)] if was is JobState.RUNNING else []
        news = self._changed(job, now) if job.state is not was else []
        return [*stops, *news, *then(now)]

    def interrupt(self, reason: CimError, now: float) -> list[Effect]:
        """End the running job, if there is one, for a reason that its user will read.

        One whose start is being written, be it with its acceptance, counts as running, and does not
        begin.
        """
        if self._starting is not None:
            self._starting.reason = reason
        if self._running is None:
            return []
        self._running.reason = reason
        return self.cancel(self._running, now)

    def end_waiting(self, epoch: int, reason: CimError, now: float) -> list[Effect]:
        """End the jobs that were submitted under an epoch and wait."""
        jobs = [job for job in self._not_begun() if job.epoch == epoch]
        return self._end_soon(jobs, reason, now)

    def _end_soon(self, jobs: Iterable[JobEntry], reason: CimError, now: float) -> list[Effect]:
        """End jobs; those whose acceptance is being written, once they are accepted."""
        effects: list[Effect] = []
        for job in jobs:
            job.reason = job.reason or reason
            effects += self.cancel(job, now) if job.id not in self.accepting else []
        return effects

    def free(self, epoch: int) -> None:
        """Make the waiting jobs of an epoch ordinary ones."""
        for job in self._not_begun():
            if job.epoch == epoch:
                job.epoch = 0

    def report(self, job: str, progress: Progress, now: float) -> list[Effect]:
        """Take how far the running job is."""
        if self._running is None or self._running.id != job:
            return []
        self._running.progress = progress
        return self._changed(self._running, now)

    def deliver(self, job: str, result: Result, now: float) -> list[Effect]:
        """Take the runs of the running job that are finished, all of them so far."""
        if self._running is None or self._running.id != job:
            return []
        self._running.result = result
        return self._changed(self._running, now)

    def finish(self, job_id: str, outcome: Result | CimError, now: float) -> list[Effect]:
        """Handle the outcome of the running job, and start the next, with one record of both.

        The job runs on, for all to see, until that is written.
        """
        job = self._running
        if job is None or job.id != job_id:
            raise KeyError(job_id)
        if self._held is None:
            self._scheduler.charge(job, now, is_whole=isinstance(outcome, Result))
        self._held, following = None, self._next()
        record = job.end(outcome, now, following.id if following else "")
        start, leave = self._start(following, self._put_back) if following else (None, None)

        def end(now: float) -> list[Effect]:
            self._running = None
            ended = [*self._end(job, record, now), *self.retention.expire(now)]
            return [*ended, *(start or self.start_next)(now)]

        def hold(error: CimError, now: float) -> list[Effect]:
            self._held = outcome
            return (leave or self._put_off)(error, now)

        return [Persist(record, end, hold)]

    def end_session(self, session: str, now: float) -> list[Effect]:
        """Cancel the jobs that go with a session, and drop the results of those that are done."""
        jobs = self.table.of_session(session)
        coming = [job for job in self.accepting if job.session == session]
        effects: list[Effect] = []
        for job in [*coming, *jobs]:
            if not job.has_ended:
                effects += self._end_soon([job], job.cancelled(), now)
        kept = [job for job in jobs if job.has_ended and job.result is not None]
        return effects + (self.retention.acknowledge(kept, _nothing, self._put_off) if kept else [])

    def keep_all(self, session: str) -> None:
        """Keep for their user the jobs that would go with a session, which has to end."""
        for job in [*self.accepting, *self.table.of_session(session)]:
            if job.session == session:
                self.table.keep(job)
        self.needs.sessions.pop(session, None)

    def tick(self, now: float) -> list[Effect]:
        """Answer waits that are over, drop what is too old, and try again what failed."""
        effects = self.waits.tick(now)
        if now < self._retry_at:
            return effects
        if self._held is not None and self._running is not None:
            effects += self.finish(self._running.id, self._held, now)
        for job in list(self._to_end.values()):
            effects += self.cancel(job, now)
        return [*effects, *self.retention.tick(now), *self.start_next(now)]

    # ---- at the end, and after a restart ------------------------------------------------------

    def drain(self, *, queue: bool) -> bool:
        """Take no new jobs from now on, and start none, or with `queue` all that wait.

        Returns whether there is something to wait for; call it again to learn of the end.
        """
        self._scheduler.drain(queue=queue)
        is_busy = self.busy or self._starting is not None
        return is_busy or (queue and self.queued > 0)

    def give_back(self, job: str = "") -> list[Effect]:
        """Let a job that never began wait for the next server; by default one that is starting."""
        name = job or (self._starting.id if self._starting else "")
        return [Persist(Returned(name), _nothing, lambda _error, _now: [])] if name else []

    def restore(self, saved: Iterable[Saved], now: float) -> list[Effect]:
        """Take in what the journal of the server before this one kept.

        A job that was running has failed: it is not run again by itself.
        """
        self._seq = int(now * 1000)
        effects: list[Effect] = []
        for known in sorted(saved, key=_age):
            if known.accepted is None:
                ended_at = min(known.ended_at, now)
                about = (known.user, known.digest, known.state, known.error)
                self.table.add_closed(ClosedJob(known.job, *about, ended_at))
            else:
                self._accepted_at = max(self._accepted_at, known.accepted.at)
                effects += self._restore(known, known.accepted, now)
        return effects + self.retention.expire(now)

    def _restore(self, known: Saved, accepted: Accepted, now: float) -> list[Effect]:
        job = JobEntry(accepted, "", None, state=known.state)
        job.has_rows_fetched = job.has_trace_fetched = known.is_fetched
        if job.has_ended:
            end = Ended(job.id, job.state, known.error, known.result, known.ended_at)
            return self._end(job, end, now)
        self.table.add(job)
        self.needs.add(job)
        if job.state is JobState.QUEUED:
            self._scheduler.push(job)
            return [Audit("job", job.user, job.facts())]
        record = job.end_restarted(now)
        return [Persist(record, lambda now: self._end(job, record, now), _give_up)]

    def fail(self, job: JobEntry, error: CimError, now: float) -> list[Effect]:
        """End a queued job that cannot be run."""
        return self._end_queued(job, JobState.FAILED, error, now, _nothing, self._put_off)

    # ---- inside -----------------------------------------------------------------------------

    def _is_ready(self, job: JobEntry) -> bool:
        """Whether a job may start: one that is about to be ended may not, whatever is written."""
        is_free = job.reason is None and not job.is_moving
        return is_free and job.program is not None and self._may_start(job)

    def _end_queued(  # noqa: PLR0917
        self,
        job: JobEntry,
        state: JobState,
        error: CimError,
        now: float,
        then: Then,
        otherwise: Otherwise,
    ) -> list[Effect]:
        if job.is_moving:  # it starts: then it is stopped; or it is ended already
            job.reason = job.reason or error
            return then(now)
        job.is_moving = True

        def end(now: float) -> list[Effect]:
            job.is_moving = False
            self._queue.remove(job, user=job.owner)
            return [*self._end(job, record, now), *self.retention.expire(now), *then(now)]

        def leave(error: CimError, now: float) -> list[Effect]:
            job.is_moving = False
            if job.reason is not None:
                self._to_end[job.id] = job
            return otherwise(error, now)

        record = Ended(job.id, state, to_wire(error), None, now)
        return [Persist(record, end, leave)]

    def _changed(self, job: JobEntry, now: float) -> list[Effect]:
        self._seq += 1
        job.seq = self._seq
        return self.waits.tell(job, now)

    def _end(self, job: JobEntry, record: Ended, now: float) -> list[Effect]:
        if not job.has_ended:
            self.needs.remove(job)
        self._to_end.pop(job.id, None)
        job.program, job.result, job.error = None, record.result, record.error
        job.state, job.ended_at = record.state, record.at
        self.table.add(job)
        audit = Audit("job ended", job.user, job.end_facts())
        return [*self._changed(job, now), audit]

    def _put_off(self, _error: CimError, now: float) -> list[Effect]:
        self._retry_at = now + RETRY_S
        return []


def _nothing(_now: float) -> list[Effect]:
    return []


def _give_up(error: CimError, _now: float) -> list[Effect]:
    raise error  # a server must not begin on a journal that it cannot write


def _age(known: Saved) -> float:
    return known.ended_at if known.accepted is None else known.accepted.at
