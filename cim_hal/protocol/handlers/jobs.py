"""Handlers of the requests about jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from cim_hal.errors import CimError, RemoteProtocolError, UnknownReferenceError
from cim_hal.protocol.effects import Audit, Effect, answered
from cim_hal.protocol.jobs.entry import JobEntry, Waiter, expected_bytes, program_of
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.jobs.table import job_id
from cim_hal.protocol.wire import messages
from cim_hal.protocol.wire.results import rows_from, trace_rows_from
from cim_hal.text import counted

if TYPE_CHECKING:
    from cim_hal.protocol.effects import Answer, Asked, Handlers, Then
    from cim_hal.protocol.server_state import ServerState
    from cim_hal.protocol.wire.results import Result

__all__ = ["JobHandlers"]

PAGE = 32  # jobs in one answer to a list: they fit the header
LOOKED_AT = 512  # for one answer, which holds fewer where most of them are in other states


class JobHandlers:
    """Answers requests about jobs; `check` refuses any that the machine may not take now."""

    def __init__(self, state: ServerState, check: Callable[[float], None]) -> None:
        self._state = state
        self._table = state.jobs.table
        self._check = check
        self.handlers: Handlers = {
            messages.Sample: self._sample,
            messages.WaitJob: self._wait,
            messages.CancelJob: self._cancel,
            messages.FetchResult: self._fetch,
            messages.FetchTrace: self._fetch_trace,
            messages.AckJob: self._acknowledge,
            messages.ListJobs: self._list,
        }

    def drop(self, asked: Asked, then: Then, now: float) -> list[Effect]:
        """Drop the results that a client has, as the header of its request says; go on with `then`.

        What is not there, not over, or not for the user to drop changes nothing, nor does what
        cannot be written.
        """
        user, found = asked.user, map(self._table.entry, asked.packet.acknowledged)
        own = [job for job in found if job is not None and job.owner == user.name and job.has_ended]
        if not own or user.role < messages.AckJob.role:
            return then(now)
        return self._state.jobs.retention.acknowledge(own, then, lambda _, now: then(now))

    def _sample(self, asked: Asked, sample: messages.Sample, now: float) -> Answer:
        job = job_id(asked.user.name, sample.key)

        def again(now: float) -> list[Effect]:
            return answered(asked, lambda: self._sample(asked, sample, now))

        if self._state.jobs.accepting.after(job, again):
            return []
        known = self._table.find(asked.user, sample)
        if known is not None:
            return known.status()
        self._check(now)
        self._state.locks.check(asked, now)
        lowering = self._state.couplings.lowering(sample.coupling, asked.user.name)
        program = program_of(sample, lowering, self._state.capabilities, self._state.limits)

        def accepted(_now: float) -> list[Effect]:
            return [asked.reply(self._table.get(asked.user, job).status())]

        def refused(error: CimError, _now: float) -> list[Effect]:
            if error.details.get("kind") == "coupling":
                self._state.couplings.forget(sample.coupling.digest)  # so that it is sent once more
            return asked.refuse(error)

        expects = expected_bytes(program, self._state.capabilities)
        follow = {"then": accepted, "otherwise": refused}
        return self._state.jobs.submit(asked, sample, program, now, expects=expects, **follow)

    def _wait(self, asked: Asked, wait: messages.WaitJob, now: float) -> Answer:
        job = self._table.get(asked.user, wait.job)
        if not isinstance(job, JobEntry):
            return job.status()
        deadline = now + min(wait.timeout_s, self._state.limits.wait_s)
        fetch = partial(self._rows, asked, first=0) if wait.fetch else None
        waiter = Waiter(asked, wait.since, deadline, wait.events, fetch)
        return self._state.jobs.waits.add(job, waiter, now)

    def _cancel(self, asked: Asked, cancel: messages.CancelJob, now: float) -> Answer:
        user = asked.user
        job = self._table.get(user, cancel.job, of_others=user.role >= messages.CancelJob.of_others)
        if not isinstance(job, JobEntry):
            return job.status()

        def cancelled(_now: float) -> list[Effect]:
            facts = {"job": job.id, "owner": job.user.name, "state": job.state.value}
            return [asked.reply(job.status()), Audit("cancel", user, facts)]

        return self._state.jobs.cancel(job, now, then=cancelled, otherwise=asked.refuse)

    def _fetch(self, asked: Asked, fetch: messages.FetchResult, _now: float) -> Answer:
        job, result = self._measured(asked, fetch, partial=fetch.partial)
        if isinstance(result, messages.ErrorMessage):
            return result
        _check_first(job, fetch.first, len(result.spins))
        return self._rows(asked, job, result, first=fetch.first)

    def _rows(self, asked: Asked, job: JobEntry, result: Result, *, first: int) -> list[Effect]:
        batch = messages.ResultBatch(
            job=job.id,
            n_spins=result.n_spins,
            n_runs=job.request.n_runs,
            first=first,
            record=job.record(result, self._state.capabilities.name),
        )
        rows = rows_from(result, first)
        if first + len(rows[0]) >= len(result.spins) and job.has_ended:
            job.has_rows_fetched = True
            self._state.jobs.retention.fetched(job)
        return [asked.reply(batch, *rows)]

    def _fetch_trace(self, asked: Asked, fetch: messages.FetchTrace, _now: float) -> Answer:
        job, result = self._measured(asked, fetch)
        if isinstance(result, messages.ErrorMessage):
            return result
        trace = result.trace
        if trace is None:
            raise RemoteProtocolError("the job was asked for no trace", job=job.id)
        n_frames, n_runs, n_spins = trace.amplitudes.shape
        _check_first(job, fetch.first, n_frames * n_runs)
        batch = messages.TraceBatch(
            job=job.id, n_spins=n_spins, n_runs=n_runs, n_frames=n_frames, first=fetch.first
        )
        rows = trace_rows_from(trace, fetch.first)
        if fetch.first + len(rows[0]) >= n_frames * n_runs:
            job.has_trace_fetched = True
            self._state.jobs.retention.fetched(job)
        return [asked.reply(batch, *rows)]

    def _acknowledge(self, asked: Asked, acknowledge: messages.AckJob, _now: float) -> Answer:
        job = self._table.get(asked.user, acknowledge.job)
        if not isinstance(job, JobEntry):
            return job.status()
        if not job.has_ended:
            raise _no_result(job)

        def dropped(_now: float) -> list[Effect]:
            return [asked.reply(self._table.get(job.user, job.id).status())]

        return self._state.jobs.retention.acknowledge([job], dropped, asked.refuse)

    def _list(self, asked: Asked, ask: messages.ListJobs, now: float) -> messages.JobList:
        if ask.job is not None:
            return self._list_one(asked, ask, now)
        jobs = self._table.listed(None if _sees_all(asked) else asked.user, ask.after)
        page: list[JobEntry] = []
        cursor = ask.after
        for n_before, job in enumerate(islice(jobs, LOOKED_AT + 1)):
            if len(page) == PAGE or n_before == LOOKED_AT:
                return messages.JobList(jobs=_infos(page, now), more=True, cursor=cursor)
            cursor = job.cursor
            if not ask.states or job.state in ask.states:
                page.append(job)
        return messages.JobList(jobs=_infos(page, now), more=False, cursor=cursor)

    def _list_one(self, asked: Asked, ask: messages.ListJobs, now: float) -> messages.JobList:
        """Return a list of the job that is asked for alone, or of none."""
        job, sees_all = self._table.entry(ask.job or ""), _sees_all(asked)
        found = [job] if job is not None and (sees_all or job.owner == asked.user.name) else []
        asked_for = [job for job in found if not ask.states or job.state in ask.states]
        return messages.JobList(jobs=_infos(asked_for, now), more=False)

    def _measured(
        self,
        asked: Asked,
        fetch: messages.FetchResult | messages.FetchTrace,
        *,
        partial: bool = False,
    ) -> tuple[Any, Result | messages.ErrorMessage]:
        job = self._table.get(asked.user, fetch.job)
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
            raise _no_result(job)
        return job, result


def _sees_all(asked: Asked) -> bool:
    return asked.user.role >= messages.ListJobs.of_others


def _infos(jobs: Iterable[JobEntry], now: float) -> tuple[messages.JobInfo, ...]:
    return tuple(job.info(now) for job in jobs)


def _no_result(job: JobEntry) -> RemoteProtocolError:
    return RemoteProtocolError(f"the job is {job.state}, it has no result yet", job=job.id)


def _check_first(job: JobEntry, first: int, n_rows: int) -> None:
    if first >= n_rows:
        raise RemoteProtocolError(f"the result has {counted(n_rows, 'row')}", job=job.id)
