"""A submission: how to wait for it and to fetch what it measured. Steps, no I/O."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from cim_hal.client.steps import Compute
from cim_hal.client.trace import fetch_trace
from cim_hal.errors import (
    CimError,
    JobTimeoutError,
    ModelError,
    RemoteProtocolError,
    TransportError,
)
from cim_hal.model.sampleset import SampleSet
from cim_hal.protocol.faults import as_error
from cim_hal.protocol.messages import (
    AckJob,
    CancelJob,
    FetchResult,
    JobStatus,
    ResultBatch,
    WaitJob,
)
from cim_hal.protocol.results import unpack_spins
from cim_hal.protocol.state import TERMINAL, JobState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.client.dialogue import Dialogue
    from cim_hal.client.steps import Steps
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.record import RunRecord
    from cim_hal.model.trace import Trace
    from cim_hal.protocol.messages import Progress

__all__ = ["Submission"]

# A long poll is as long as the wait before it: a lost answer costs no more than that again.
SHORTEST_POLL_S, LONGEST_POLL_S = 1.0, 10.0
TICK_S = 0.25  # a server ends a wait that much later, at most


class Submission:
    """One job on a server, shared by `Job` and `AsyncJob`.

    Attributes
    ----------
    id : str
        Identifier on the server.
    """

    def __init__(
        self,
        dialogue: Dialogue,
        model: IsingModel | None,
        status: JobStatus,
        *,
        has_trace: bool = False,
    ) -> None:
        self.id = status.job
        self._dialogue = dialogue
        self._model = model
        self._status = status
        self._has_trace = has_trace
        self._samples: SampleSet | None = None

    def state(self) -> Steps[JobState]:
        """Ask where the job is, unless it has ended."""
        return (yield from self._wait(0.0, math.inf)).state

    def progress(self) -> Steps[Progress | None]:
        """Ask how far the job is, where the machine tells."""
        return (yield from self._wait(0.0, math.inf)).progress

    def wait(self, timeout_s: float | None) -> Steps[JobState]:
        """Wait for the end, or for `timeout_s`, and return where the job is then."""
        yield from self._wait_until(self._dialogue.until(timeout_s))
        return self._status.state

    def acknowledge(self, timeout_s: float | None) -> Steps[JobState]:
        """Let the server drop the result."""
        acknowledge, until = AckJob(job=self.id), self._dialogue.until(timeout_s)
        self._status = yield from self._dialogue.ask(acknowledge, JobStatus, until=until)
        return self._status.state

    def cancel(self, timeout_s: float | None) -> Steps[JobState]:
        """Ask for an early end; too late is no mistake."""
        cancel, until = CancelJob(job=self.id), self._dialogue.until(timeout_s)
        self._status = yield from self._dialogue.ask(cancel, JobStatus, until=until)
        return self._status.state

    def result(self, timeout_s: float | None, *, cancels: bool = False) -> Steps[SampleSet]:
        """Wait for the samples and return them; the same object each time.

        With `cancels` a job that is not done in time is told to end.
        """
        if self._samples is None:
            try:
                self._samples = yield from self._awaited(timeout_s)
            except JobTimeoutError:
                if cancels:
                    yield from self._give_up()
                raise
        return self._samples

    def _awaited(self, timeout_s: float | None) -> Steps[SampleSet]:
        until = self._dialogue.until(timeout_s)
        try:
            yield from self._wait_for_end(until)
            if self._status.state in TERMINAL:
                return (yield from self._fetch(until))
        except TransportError as error:
            is_ours = self._dialogue.left(until) <= self._dialogue.retries.base_s
            if not (error.retryable and is_ours):
                raise
        raise JobTimeoutError(
            f"the job is still {self._status.state} after {timeout_s:g} s",
            hint="wait again, or cancel it",
            job=self.id,
        )

    def _give_up(self) -> Steps[None]:
        try:
            yield from self.cancel(TICK_S)
        except CimError:  # nobody is there to be told
            return

    def _wait_for_end(self, until: float) -> Steps[None]:
        yield from self._wait_until(until)
        if self._status.state in TERMINAL and self._status.error is not None:
            raise as_error(self._status.error)

    def _wait_until(self, until: float) -> Steps[None]:
        clock, began = self._dialogue.clock, self._dialogue.clock()
        while self._status.state not in TERMINAL:
            if clock() >= until and clock() > began:
                return
            poll_s = min(max(clock() - began, SHORTEST_POLL_S), LONGEST_POLL_S)
            yield from self._wait(max(min(poll_s, until - clock()), 0.0), until + TICK_S)

    def _wait(self, poll_s: float, until: float) -> Steps[JobStatus]:
        if self._status.state not in TERMINAL:
            wait = WaitJob(job=self.id, timeout_s=poll_s)
            asked = self._dialogue.ask(wait, JobStatus, poll_s=poll_s, until=until)
            self._status = yield from asked
        return self._status

    def _fetch(self, until: float) -> Steps[SampleSet]:
        model = self._model
        if model is None:
            raise ModelError(
                "energies are those of the model, and the job was found without it",
                hint="pass the model that was submitted: session.job(id, model)",
            )
        batch, parts = yield from self._batches(until)
        trace = None
        if self._has_trace:
            trace = yield from fetch_trace(self._dialogue, self.id, model.n_spins, until)
        n_bytes = batch.n_runs * batch.n_spins * model.n_spins // 8
        return (yield Compute(lambda: _ranked(model, batch, parts, trace), n_bytes=n_bytes))

    def _batches(
        self, until: float
    ) -> Steps[tuple[ResultBatch, list[tuple[NDArray[np.generic], ...]]]]:
        """Fetch all rows of the result, as they travel."""
        fetch = FetchResult(job=self.id)
        batch, buffers = yield from self._dialogue.ask_packet(fetch, ResultBatch, until=until)
        parts, rows = [buffers], _rows(batch, buffers, n_spins=batch.n_spins)
        while rows < batch.n_runs:
            fetch = FetchResult(job=self.id, first=rows)
            more, buffers = yield from self._dialogue.ask_packet(fetch, ResultBatch, until=until)
            parts.append(buffers)
            rows += _rows(more, buffers, n_spins=batch.n_spins)
        return batch, parts


def _rows(batch: ResultBatch, buffers: tuple[NDArray[np.generic], ...], *, n_spins: int) -> int:
    """Return the number of rows of a batch, which must be at least one."""
    shapes = [(-(-n_spins // 8), "|u1"), (n_spins, "<f4")]
    for array, (width, dtype) in zip(buffers, shapes, strict=False):
        fits = array.ndim == 2 and array.shape[1] == width and array.dtype.str == dtype
        if not fits or len(array) != len(buffers[0]) or not 1 <= len(array) <= batch.n_runs:
            raise RemoteProtocolError(f"a result of {array.dtype} {array.shape} does not fit")
    return len(buffers[0])


def _ranked(
    model: IsingModel,
    batch: ResultBatch,
    parts: list[tuple[NDArray[np.generic], ...]],
    trace: Trace | None,
) -> SampleSet:
    packed, *amplitudes = (np.concatenate(column) for column in zip(*parts, strict=True))
    spins = unpack_spins(packed, batch.n_spins)
    if spins.shape[1] != model.n_spins:
        raise RemoteProtocolError(
            f"the result has {spins.shape[1]} spins, the model has {model.n_spins}"
        )
    record: RunRecord = batch.record
    return SampleSet.rank(model, spins, amplitudes[0] if amplitudes else None, record, trace)
