"""Handlers of the requests about jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cim_hal.errors import CimError, RemoteProtocolError, UnknownReferenceError
from cim_hal.protocol.effects import Audit, Effect, reply
from cim_hal.protocol.jobs.entry import JobEntry, Waiter
from cim_hal.protocol.jobs.idempotency import job_id
from cim_hal.protocol.jobs.program import program_of, record_of
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.messages import (
    AckJob,
    CancelJob,
    ErrorMessage,
    FetchResult,
    FetchTrace,
    JobInfo,
    JobList,
    ListJobs,
    ResultBatch,
    Sample,
    TraceBatch,
    WaitJob,
)
from cim_hal.protocol.wire.results import rows_from, trace_rows_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from cim_hal.protocol.effects import Handlers
    from cim_hal.protocol.jobs.table import ClosedJob
    from cim_hal.protocol.server_state import ServerState
    from cim_hal.protocol.wire.packet import Packet
    from cim_hal.protocol.wire.results import Result
    from cim_hal.protocol.write_ahead import Otherwise

__all__ = ["JobHandlers"]

PAGE = 32  # jobs in one answer to a list: they fit the header


class JobHandlers:
    """Answers requests about jobs.

    Parameters
    ----------
    state : ServerState
    check : callable
        Refuses any job that the machine may not take now; called with the time.
    """

    def __init__(self, state: ServerState, check: Callable[[float], None]) -> None:
        self._state = state
        self._table = state.jobs.table
        self._check = check
        self.handlers: Handlers = {
            Sample: self._sample,
            WaitJob: self._wait,
            CancelJob: self._cancel,
            FetchResult: self._fetch,
            FetchTrace: self._fetch_trace,
            AckJob: self._acknowledge,
            ListJobs: self._list,
        }

    def _sample(self, peer: bytes, request: Packet, sample: Sample, now: float) -> list[Effect]:
        session = self._state.session(request)
        known, job = self._table.find(session.user, sample), job_id(session.user.name, sample.key)
        if known is not None:
            return [reply(peer, request, known.status())]
        self._check(now)
        self._state.locks.check(self._state.owner(request), now)
        lowering = self._state.couplings.lowering(sample.coupling)
        program = program_of(sample, lowering, self._state.capabilities, self._state.limits)

        def accepted(_now: float) -> list[Effect]:
            return [reply(peer, request, self._table.get(session.user, job).status())]

        def refused(error: CimError, _now: float) -> list[Effect]:
            if error.details.get("kind") == "coupling":
                self._state.couplings.forget(sample.coupling.digest)  # so that it is sent once more
            return [reply(peer, request, to_wire(error))]

        asked = (session, sample, program)
        options = {"epoch": request.epoch, "then": accepted, "otherwise": refused}
        return self._state.jobs.submit(*asked, now, **options)

    def _wait(self, peer: bytes, request: Packet, wait: WaitJob, now: float) -> list[Effect]:
        job = self._job(request, wait.job)
        if not isinstance(job, JobEntry):
            return [reply(peer, request, job.status())]
        deadline = now + min(wait.timeout_s, self._state.limits.wait_s)
        job.wait(Waiter(peer, request, wait.since, deadline, wait.events))
        return job.tell_waiters(now)

    def _cancel(self, peer: bytes, request: Packet, cancel: CancelJob, now: float) -> list[Effect]:
        user = self._state.user(request)
        may_others = user.role >= CancelJob.of_others
        job = self._table.get(user, cancel.job, of_others=may_others)
        if not isinstance(job, JobEntry):
            return [reply(peer, request, job.status())]

        def cancelled(_now: float) -> list[Effect]:
            facts = {"job": job.id, "owner": job.user.name, "state": job.state.value}
            return [reply(peer, request, job.status()), Audit("cancel", user, facts)]

        return self._state.jobs.cancel(job, now, then=cancelled, otherwise=_refuse(peer, request))

    def _fetch(self, peer: bytes, request: Packet, fetch: FetchResult, _now: float) -> list[Effect]:
        job, result = self._measured(request, fetch, partial=fetch.partial)
        if isinstance(result, ErrorMessage):
            return [reply(peer, request, result)]
        _check_first(job, fetch.first, len(result.spins))
        record = record_of(job, result, self._state.capabilities.name)
        batch = ResultBatch(
            job=job.id,
            n_spins=result.n_spins,
            n_runs=job.request.n_runs,
            first=fetch.first,
            record=record,
        )
        return [reply(peer, request, batch, *rows_from(result, fetch.first))]

    def _fetch_trace(
        self, peer: bytes, request: Packet, fetch: FetchTrace, _now: float
    ) -> list[Effect]:
        job, result = self._measured(request, fetch)
        if isinstance(result, ErrorMessage):
            return [reply(peer, request, result)]
        trace = result.trace
        if trace is None:
            raise RemoteProtocolError("the job was asked for no trace", job=job.id)
        n_frames, n_runs, n_spins = trace.amplitudes.shape
        _check_first(job, fetch.first, n_frames * n_runs)
        batch = TraceBatch(
            job=job.id, n_spins=n_spins, n_runs=n_runs, n_frames=n_frames, first=fetch.first
        )
        return [reply(peer, request, batch, *trace_rows_from(trace, fetch.first))]

    def _acknowledge(
        self, peer: bytes, request: Packet, acknowledge: AckJob, _now: float
    ) -> list[Effect]:
        job = self._job(request, acknowledge.job)
        if not isinstance(job, JobEntry):
            return [reply(peer, request, job.status())]
        if not job.has_ended:
            raise RemoteProtocolError(f"the job is {job.state}, it has no result yet", job=job.id)

        def dropped(_now: float) -> list[Effect]:
            return [reply(peer, request, self._table.get(job.user, job.id).status())]

        return self._state.jobs.acknowledge([job], dropped, _refuse(peer, request))

    def _list(self, peer: bytes, request: Packet, asked: ListJobs, now: float) -> list[Effect]:
        user = self._state.user(request)
        sees_all = user.role >= ListJobs.of_others
        jobs = self._table.listed(None if sees_all else user, asked.after)
        if asked.job is not None:
            jobs = [job for job in jobs if job.id == asked.job]
        if asked.states:
            jobs = [job for job in jobs if job.state in asked.states]
        page = jobs[:PAGE]
        infos = tuple(_info(job, now) for job in page)
        cursor = page[-1].cursor if page else asked.after
        listed = JobList(jobs=infos, more=len(jobs) > PAGE, cursor=cursor)
        return [reply(peer, request, listed)]

    def _job(self, request: Packet, job: str) -> JobEntry | ClosedJob:
        return self._table.get(self._state.user(request), job)

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


def _refuse(peer: bytes, request: Packet) -> Otherwise:
    return lambda error, _now: [reply(peer, request, to_wire(error))]


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
