"""A submission, from the caller's side: where it is, and what it has measured."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from cim_hal.client.requests import checked
from cim_hal.client.results import fetch_rows, fetch_trace, samples_of
from cim_hal.client.runner import blocking
from cim_hal.client.steps import Receive, Sleep, Subscribe
from cim_hal.errors import CimError, JobTimeoutError, ModelError, TransportError, rebuild
from cim_hal.model.conversion import flag, whole_number
from cim_hal.protocol.jobs.state import TERMINAL, JobState
from cim_hal.protocol.wire.errors import as_error
from cim_hal.protocol.wire.limits import MAX_ACKNOWLEDGED
from cim_hal.protocol.wire.messages import AckJob, CancelJob, JobStatus, ResultBatch, WaitJob
from cim_hal.protocol.wire.packet import Kind

if TYPE_CHECKING:
    from cim_hal.client.requests import RequestClient
    from cim_hal.client.results import Batch
    from cim_hal.client.runner import Runs
    from cim_hal.client.steps import Steps
    from cim_hal.client.transport.base import ReplyStream
    from cim_hal.machine.policies import LoweredModel
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.sampleset import SampleSet
    from cim_hal.protocol.wire.messages import Progress

__all__ = ["Job", "JobUpdates"]

T = TypeVar("T")

# A long poll lasts as long as the job was waited for already: a lost answer costs no more again.
SHORTEST_POLL_S, LONGEST_POLL_S = 1.0, 10.0
TICK_S = 0.25  # a server ends a wait that much later, at most


class Job:
    """One submission; made by `Session.submit`, found again by `Session.job`.

    Attributes
    ----------
    id : str
        Identifier on the server.
    status : JobStatus
        The latest status that the server has sent.
    """

    def __init__(
        self,
        session: Runs,
        client: RequestClient,
        model: IsingModel | None,
        status: JobStatus,
        *,
        has_trace: bool = False,
        lowered: LoweredModel | None = None,
    ) -> None:
        self.id = status.job
        self._session = session
        self._client = client
        self._model = model
        self.status = status
        self._has_trace = has_trace
        self._lowered = lowered  # how `model` was made, where the client lowered it
        self._samples: SampleSet | None = None

    @property
    def state(self) -> JobState:
        """Where the job is now; asks the server unless it has ended."""
        self._run(self._poll())
        return self.status.state

    @property
    def progress(self) -> Progress | None:
        """How far the job is, ``done`` of ``total``, if the machine reports it; asks the server."""
        self._run(self._poll())
        return self.status.progress

    def changes(self, timeout_s: float | None = None) -> Iterator[JobStatus]:
        """Yield the status of the job, now and at each change that the server reports.

        A change is one of its state, of its progress or of the number of runs that are ready. The
        last status is that of its end. Changes that follow each other faster than they are taken
        are skipped, but never the last.

        Raises
        ------
        JobTimeoutError
            The job has not ended after `timeout_s`; it goes on.
        """
        with closing(JobUpdates(self, self._client, timeout_s)) as updates:
            while (status := self._run(updates.next())) is not None:
                yield status

    def batches(self, *, first: int = 0, timeout_s: float | None = None) -> Iterator[SampleSet]:
        """Yield the runs of the job as they are finished, each once, in the order of the job.

        Each set is ranked by itself; all of them joined by `concat` are the result, if sums of
        couplings are exact. Machines that deliver nothing before the end yield one set. An
        interrupt (Ctrl-C) cancels the job.

        Parameters
        ----------
        first : int
            Number of the first run to yield, to go on where another process left off.
        timeout_s : float, optional
            How long to wait for the last run; without limit if None.

        Raises
        ------
        JobTimeoutError, JobCancelledError, DeviceError, TransportError
            As of `result`, after all runs that were finished before have been yielded.
        """
        first, n_runs = whole_number("first", first, ModelError), -1
        if first < 0:
            raise ModelError(f"first = {first}", hint="the first run has the number 0")
        model, deadline = self._known_model(), self._client.deadline(timeout_s)
        with closing(JobUpdates(self, self._client, timeout_s)) as updates:
            while True:
                steps = self._next_batch(updates, model, first, n_runs, deadline)
                if (batch := self._run_or_cancel(steps)) is None:
                    return
                samples, n_runs = batch
                first += len(samples)
                yield samples

    @blocking
    def wait(self, timeout_s: float | None = None) -> Steps[JobState]:
        """Wait for the end of the job, for `timeout_s` at most, and return its state then."""
        yield from self._wait_until(self._client.deadline(timeout_s))
        return self.status.state

    @blocking
    def acknowledge(
        self, *, later: bool = False, timeout_s: float | None = None
    ) -> Steps[JobState]:
        """Let the server delete the result, once it is safe. Repeating this has no effect.

        The key of the job is remembered: submitting it again does not run it again.

        Parameters
        ----------
        later : bool
            Whether to save a request: the server is told with the next request of the session, or
            when that is closed, and until then keeps the result. False by default.
        timeout_s : float, optional
            How long to wait for the server.
        """
        waiting = self._client.acknowledged
        later = flag("later", later, ModelError)
        if later and self.status.state in TERMINAL and len(waiting) < MAX_ACKNOWLEDGED:
            waiting[self.id] = None
            return self.status.state
        return (yield from self._change(AckJob(job=self.id), timeout_s))

    def result(self, timeout_s: float | None = None) -> SampleSet:
        """Wait for the samples and return them, the same object each time.

        An interrupt (Ctrl-C) cancels the job.

        Parameters
        ----------
        timeout_s : float, optional
            How long to wait; if None, for as long as the server answers.

        Raises
        ------
        JobTimeoutError
            The job was not done in time; it goes on.
        JobCancelledError
            It was cancelled.
        DeviceError
            The machine could not do it.
        TransportError
            The connection to the server was lost.
        """
        return self._run_or_cancel(self.fetch(timeout_s))

    @blocking
    def cancel(self, *, timeout_s: float | None = None) -> Steps[JobState]:
        """Ask for an early end and return the state. A job that has ended stays as it is."""
        return (yield from self._change(CancelJob(job=self.id), timeout_s))

    # ---- steps, also of the session -------------------------------------------------------------

    def fetch(self, timeout_s: float | None, *, cancels: bool = False) -> Steps[SampleSet]:
        """Do as `result`, as steps; with `cancels` a job that is not done in time is cancelled."""
        if self._samples is None:
            try:
                self._samples = yield from self._wait_and_fetch(timeout_s)
            except JobTimeoutError:
                if cancels:
                    yield from self._cancel_if_possible()
                raise
        return self._samples

    def _wait_and_fetch(self, timeout_s: float | None) -> Steps[SampleSet]:
        deadline = self._client.deadline(timeout_s)
        try:
            begun = yield from self._wait_until(deadline, fetch=True)
            if self.status.state in TERMINAL:
                if self.status.error is not None:
                    raise _with_deliveries(as_error(self.status.error), self.status)
                return (yield from self._fetch(deadline, begun))
        except TransportError as error:
            is_late = self._client.remaining_s(deadline) <= self._client.retries.base_s
            if not (error.retryable and is_late):
                raise
        raise _still(self.status, timeout_s)

    def _fetch(self, deadline: float, begun: Batch | None) -> Steps[SampleSet]:
        model, trace = self._known_model(), None
        rows = yield from fetch_rows(self._client, self.id, deadline, begun=begun)
        if self._has_trace:
            trace = yield from fetch_trace(self._client, self.id, model.n_spins, deadline)
        return samples_of(rows, model, trace, self._lowered)

    def _known_model(self) -> IsingModel:
        if self._model is None:
            raise ModelError(
                "energies are those of the model, and the job was found without it",
                hint="pass the model that was submitted: session.job(id, model)",
            )
        return self._model

    def _cancel_if_possible(self) -> Steps[None]:
        try:
            yield from self._change(CancelJob(job=self.id), TICK_S)
        except CimError:  # the server is gone
            return

    def _change(self, request: AckJob | CancelJob, timeout_s: float | None) -> Steps[JobState]:
        deadline = self._client.deadline(timeout_s)
        self.status = yield from self._client.ask(request, JobStatus, deadline=deadline)
        return self.status.state

    def _wait_until(self, deadline: float, *, fetch: bool = False) -> Steps[Batch | None]:
        """Wait for the end; return the first rows of the result if they came with it."""
        clock, began = self._client.clock, self._client.clock()
        batch: Batch | None = None
        while self.status.state not in TERMINAL:
            if clock() >= deadline and clock() > began:
                return None
            poll_s = min(max(clock() - began, SHORTEST_POLL_S), LONGEST_POLL_S)
            poll_s = max(min(poll_s, deadline - clock()), 0.0)
            batch = yield from self._poll(poll_s, deadline + TICK_S, fetch=fetch)
        return batch

    def _poll(
        self, poll_s: float = 0.0, deadline: float = math.inf, *, fetch: bool = False
    ) -> Steps[Batch | None]:
        """Ask where the job is, unless it has ended; the answer may take `poll_s`.

        With `fetch` the first rows of a job that is done come with the answer.
        """
        if self.status.state in TERMINAL:
            return None
        wait = WaitJob(job=self.id, timeout_s=poll_s, fetch=fetch)
        expected = (JobStatus, ResultBatch) if fetch else (JobStatus,)
        answer, buffers = yield from self._client.ask_packet(
            wait, *expected, poll_s=poll_s, deadline=deadline
        )
        if isinstance(answer, JobStatus):
            self.status = answer
            return None
        seq, ready = self.status.seq, answer.n_runs
        self.status = JobStatus(job=self.id, state=JobState.DONE, seq=seq, ready=ready)
        return answer, buffers

    def _next_batch(
        self, updates: JobUpdates, model: IsingModel, first: int, n_runs: int, deadline: float
    ) -> Steps[tuple[SampleSet, int] | None]:
        """Wait for runs from `first` on; return all there are, and the `n_runs` of the job.

        None if there will be no more.

        Raises
        ------
        CimError
            Why the job was not done; the runs it finished have been returned before.
        """
        status = self.status
        while status.ready <= first:
            if status.error is not None:
                raise as_error(status.error)
            if status.gone and first != n_runs:
                break  # the error of the server says why it has no more
            if status.state in TERMINAL:
                return None
            status = (yield from updates.next()) or self.status
        ready = max(status.ready, first + 1)
        rows = yield from fetch_rows(self._client, self.id, deadline, first=first, ready=ready)
        return samples_of(rows, model, None, self._lowered), rows.batch.n_runs

    def _run(self, steps: Steps[T]) -> T:
        return self._session._run(steps)  # noqa: SLF001

    def _run_or_cancel(self, steps: Steps[T]) -> T:
        try:
            return self._run(steps)
        except KeyboardInterrupt:
            self.cancel()
            raise


class JobUpdates:
    """The changes of one job: first its status now, last that of its end.

    Events come while a wait for the end is under way, and nothing depends on them: the answer to
    the wait has the status too, and so has the server when it is asked after a stream broke.
    """

    def __init__(self, job: Job, client: RequestClient, timeout_s: float | None) -> None:
        self._job = job
        self._client = client
        self._timeout_s = timeout_s
        self._began, self._deadline = client.clock(), client.deadline(timeout_s)
        self._stream: ReplyStream | None = None
        self._poll_s = 0.0
        self._seen = -1
        self._is_over = False

    def next(self) -> Steps[JobStatus | None]:
        """Wait for the next change; None after the end.

        Raises
        ------
        JobTimeoutError
            The time is up, and the job goes on.
        """
        while not self._is_over:
            try:
                status = self._job.status = yield from self._receive()
            except TransportError:
                self._check_time(self._client.retries.base_s)
                raise
            self._is_over = status.state in TERMINAL
            if self._is_over or status.seq > self._seen:
                self._seen = status.seq
                return status
            self._check_time(0.0)
        return None

    def close(self) -> None:
        """Receive no more."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _check_time(self, least_s: float) -> None:
        if self._client.remaining_s(self._deadline) <= least_s:
            raise _still(self._job.status, self._timeout_s)

    def _receive(self) -> Steps[JobStatus]:
        client, deadline = self._client, self._deadline + TICK_S
        try:
            if self._stream is None:
                self._stream = yield from self._subscribe(deadline)
            timeout_s = self._poll_s + TICK_S + client.retries.retry_after_s
            packet = yield Receive(self._stream, timeout_s)
            if packet.kind is Kind.REPLY:
                self.close()
            return checked(packet, (JobStatus,))
        except CimError:
            self.close()
            yield Sleep(client.retries.base_s)
            return (yield from client.ask(self._wait(0.0), JobStatus, deadline=deadline))

    def _subscribe(self, deadline: float) -> Steps[ReplyStream]:
        """Wait for the end of the job, for as long again as it was watched already."""
        client = self._client
        longest_s = min(client.remaining_s(self._deadline), LONGEST_POLL_S)
        self._poll_s = min(max(client.clock() - self._began, SHORTEST_POLL_S), longest_s)
        welcome = yield from client.hello(deadline)
        wait = self._wait(self._poll_s, events=True)
        return (yield Subscribe(client.packet(wait, welcome), client.retries.retry_after_s))

    def _wait(self, timeout_s: float, *, events: bool = False) -> WaitJob:
        since = max(self._seen, 0) if events else 0  # without: an answer at once
        return WaitJob(job=self._job.id, timeout_s=timeout_s, since=since, events=events)


def _with_deliveries(error: CimError, status: JobStatus) -> CimError:
    """Return the error that ended a job, with its id and what is left of it."""
    hint = error.hint
    if status.ready:
        what = f"job {status.job[:12]} delivered {status.ready} of its runs before"
        said = f"{what}: Job.batches yields them"
        hint = f"{hint}; {said}" if hint else said
    return rebuild(type(error), error.message, hint, {"job": status.job} | error.details)


def _still(status: JobStatus, timeout_s: float | None) -> JobTimeoutError:
    return JobTimeoutError(
        f"the job is still {status.state} after {timeout_s:.3g} s",
        hint="wait again, or cancel it",
        job=status.job,
    )
