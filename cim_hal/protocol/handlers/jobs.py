"""What is asked about jobs, and the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cim_hal.errors import CimError, RemoteProtocolError, UnknownReferenceError
from cim_hal.protocol.effects import Audit, Effect, Reply
from cim_hal.protocol.jobs.idempotency import job_id
from cim_hal.protocol.jobs.job import JobEntry, Waiter
from cim_hal.protocol.jobs.program import program_of, record_of
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.evolution import as_of
from cim_hal.protocol.wire.messages import (
    AckJob,
    CancelJob,
    ErrorMessage,
    FetchResult,
    FetchTrace,
    JobInfo,
    JobList,
    ListJobs,
    Message,
    ResultBatch,
    Sample,
    TraceBatch,
    WaitJob,
)
from cim_hal.protocol.wire.packet import Packet, answer
from cim_hal.protocol.wire.results import rows_from, trace_rows_from
from cim_hal.protocol.wire.roles import LEAST_FOR_OTHERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.protocol.couplings.library import CouplingStore
    from cim_hal.protocol.jobs.ledger import Closed
    from cim_hal.protocol.jobs.table import JobTable
    from cim_hal.protocol.sharing.sessions import ClientSession, SessionTable
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.wire.results import Result
    from cim_hal.protocol.write_ahead import Otherwise

__all__ = ["JobHandlers"]

PAGE = 32  # jobs in one answer to a list: they fit the header


class JobHandlers:
    """Handlers of the requests about jobs; each takes (peer, packet, message, now).

    `check` refuses a job that the machine may not take now, whatever it is.
    """

    def __init__(
        self,
        book: JobTable,
        library: CouplingStore,
        sessions: SessionTable,
        capabilities: Capabilities,
        limits: Limits,
        *,
        check: Callable[[Packet, float], None],
    ) -> None:
        self._check = check
        self._book = book
        self._library = library
        self._sessions = sessions
        self._capabilities = capabilities
        self._limits = limits
        self.handlers: Mapping[type[Message], Callable[..., list[Effect]]] = {
            Sample: self._sample,
            WaitJob: self._wait,
            CancelJob: self._cancel,
            FetchResult: self._fetch,
            FetchTrace: self._fetch_trace,
            AckJob: self._acknowledge,
            ListJobs: self._list,
        }

    def _sample(self, peer: bytes, request: Packet, sample: Sample, now: float) -> list[Effect]:
        session, register = self._sessions[request.session], self._book.register
        known, job = register.find(session.user, sample), job_id(session.user.name, sample.key)
        if known is not None:
            return [self._told(peer, request, job, known)]
        self._check(request, now)
        lowering = self._library.lowering(sample.coupling)
        program = program_of(sample, lowering, self._capabilities, self._limits)

        def accepted(_now: float) -> list[Effect]:
            return [self._told(peer, request, job, register.get(session.user, job))]

        def refused(error: CimError, _now: float) -> list[Effect]:
            if error.details.get("kind") == "coupling":
                self._library.forget(sample.coupling.digest)  # so that it is sent once more
            return [Reply(peer, answer(request, to_wire(error)))]

        asked = (session, sample, program)
        return self._book.submit(*asked, now, epoch=request.epoch, then=accepted, otherwise=refused)

    def _wait(self, peer: bytes, request: Packet, wait: WaitJob, now: float) -> list[Effect]:
        session, job = self._sessions[request.session], self._job(request, wait.job)
        if not isinstance(job, JobEntry):
            return [self._told(peer, request, wait.job, job)]
        deadline = now + min(wait.timeout_s, self._limits.wait_s)
        about = (session.version, wait.since, deadline, wait.events)
        job.wait(Waiter(peer, request, *about))
        return job.tell_waiters(now)

    def _cancel(self, peer: bytes, request: Packet, cancel: CancelJob, now: float) -> list[Effect]:
        user = self._sessions[request.session].user
        may_others = user.role >= LEAST_FOR_OTHERS[CancelJob]
        job = self._book.register.get(user, cancel.job, of_others=may_others)
        if not isinstance(job, JobEntry):
            return [self._told(peer, request, cancel.job, job)]

        def cancelled(_now: float) -> list[Effect]:
            facts = {"job": job.id, "owner": job.user.name, "state": job.state.value}
            return [self._told(peer, request, job.id, job), Audit("cancel", user, facts)]

        return self._book.cancel(job, now, then=cancelled, otherwise=_refuse(peer, request))

    def _fetch(self, peer: bytes, request: Packet, fetch: FetchResult, _now: float) -> list[Effect]:
        job, result = self._measured(request, fetch, partial=fetch.partial)
        if isinstance(result, ErrorMessage):
            return [Reply(peer, answer(request, result))]
        _check_first(job, fetch.first, len(result.spins))
        record = record_of(job, result, self._capabilities.name)
        batch = ResultBatch(
            job=job.id,
            n_spins=result.n_spins,
            n_runs=job.request.n_runs,
            first=fetch.first,
            record=as_of(record, self._sessions[request.session].version),
        )
        return [Reply(peer, answer(request, batch, *rows_from(result, fetch.first)))]

    def _fetch_trace(
        self, peer: bytes, request: Packet, fetch: FetchTrace, _now: float
    ) -> list[Effect]:
        job, result = self._measured(request, fetch)
        if isinstance(result, ErrorMessage):
            return [Reply(peer, answer(request, result))]
        trace = result.trace
        if trace is None:
            raise RemoteProtocolError("the job was asked for no trace", job=job.id)
        n_frames, n_runs, n_spins = trace.amplitudes.shape
        _check_first(job, fetch.first, n_frames * n_runs)
        batch = TraceBatch(
            job=job.id, n_spins=n_spins, n_runs=n_runs, n_frames=n_frames, first=fetch.first
        )
        return [Reply(peer, answer(request, batch, *trace_rows_from(trace, fetch.first)))]

    def _acknowledge(
        self, peer: bytes, request: Packet, acknowledge: AckJob, _now: float
    ) -> list[Effect]:
        job = self._job(request, acknowledge.job)
        if not isinstance(job, JobEntry):
            return [self._told(peer, request, acknowledge.job, job)]
        if not job.has_ended:
            raise RemoteProtocolError(f"the job is {job.state}, it has no result yet", job=job.id)

        def dropped(_now: float) -> list[Effect]:
            closed = self._book.register.get(job.user, job.id)
            return [self._told(peer, request, job.id, closed)]

        return self._book.archive.acknowledge([job], dropped, _refuse(peer, request))

    def _list(self, peer: bytes, request: Packet, asked: ListJobs, now: float) -> list[Effect]:
        user = self._sessions[request.session].user
        sees_all = user.role >= LEAST_FOR_OTHERS[ListJobs]
        jobs = self._book.register.of(None if sees_all else user)
        ids = [job.id for job in jobs]
        if asked.after in ids:
            jobs = jobs[ids.index(asked.after) + 1 :]
        if asked.job is not None:
            jobs = [job for job in jobs if job.id == asked.job]
        if asked.states:
            jobs = [job for job in jobs if job.state in asked.states]
        infos = tuple(_info(job, now) for job in jobs[:PAGE])
        listed = JobList(jobs=infos, more=len(jobs) > PAGE)
        return [Reply(peer, answer(request, listed))]

    def _job(self, request: Packet, job: str) -> JobEntry | Closed:
        return self._book.register.get(self._sessions[request.session].user, job)

    def _measured(
        self, request: Packet, fetch: FetchResult | FetchTrace, *, partial: bool = False
    ) -> tuple[Any, Result | ErrorMessage]:
        job = self._job(request, fetch.job)
        result = job.result if isinstance(job, JobEntry) else None
        if partial and result is not None and fetch.first < len(result.spins):
            return job, result
        if job.error is not None:
            return job, job.error
        if not isinstance(job, JobEntry):
            raise UnknownReferenceError(
                "the result was acknowledged, or has expired", kind="result", job=fetch.job
            )
        if result is None or job.state is not JobState.DONE:
            raise RemoteProtocolError(f"the job is {job.state}, it has no result yet", job=job.id)
        return job, result

    def _told(self, peer: bytes, request: Packet, name: str, job: JobEntry | Closed) -> Reply:
        session: ClientSession = self._sessions[request.session]
        status = job.status() if isinstance(job, JobEntry) else job.status(name)
        return Reply(peer, answer(request, as_of(status, session.version)))


def _refuse(peer: bytes, request: Packet) -> Otherwise:
    return lambda error, _now: [Reply(peer, answer(request, to_wire(error)))]


def _check_first(job: JobEntry, first: int, n_rows: int) -> None:
    if first >= n_rows:
        raise RemoteProtocolError(f"the result has {n_rows} rows", job=job.id)


def _info(job: JobEntry, now: float) -> JobInfo:
    asked = job.request
    return JobInfo(
        job=job.id,
        state=job.state,
        owner=job.user.name[:100],
        coupling=asked.coupling,
        n_runs=asked.n_runs,
        seed=asked.seed,
        has_trace=asked.trace is not None,
        keep=not job.session,
        age_s=max(now - job.accepted.at, 0.0),
        n_bytes=job.n_bytes,
        progress=job.progress,
        reason=job.error.code if job.error is not None else "",
    )
