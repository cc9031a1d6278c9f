"""A submission, from the caller's side."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from cim_hal.client.trace import fetch_trace
from cim_hal.errors import JobTimeoutError, RemoteProtocolError
from cim_hal.model.sampleset import SampleSet
from cim_hal.protocol.faults import as_error
from cim_hal.protocol.messages import CancelJob, FetchResult, JobStatus, ResultBatch, WaitJob
from cim_hal.protocol.results import unpack_spins
from cim_hal.protocol.state import TERMINAL, JobState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.client.connection import Connection
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.record import RunRecord
    from cim_hal.model.trace import Trace

__all__ = ["Job"]

WAIT_S = 10.0  # of one long poll


class Job:
    """One submission; made by `Session.submit`.

    Attributes
    ----------
    id : str
        Identifier on the server.
    """

    def __init__(
        self,
        connection: Connection,
        model: IsingModel,
        status: JobStatus,
        *,
        has_trace: bool = False,
    ) -> None:
        self.id = status.job
        self._connection = connection
        self._model = model
        self._status = status
        self._has_trace = has_trace
        self._samples: SampleSet | None = None

    @property
    def state(self) -> JobState:
        """Where the job is now; asks the server unless it has ended."""
        return self._wait(0.0).state

    def result(self, timeout_s: float | None = None) -> SampleSet:
        """Wait for the samples and return them. An interrupt (Ctrl-C) cancels the job.

        Parameters
        ----------
        timeout_s : float, optional
            How long to wait; without end where it is None.

        Raises
        ------
        JobTimeoutError
            The job was not done in time; it goes on.
        JobCancelledError
            It was cancelled.
        DeviceError
            The machine could not do it.
        TransportError
            The server went away.
        """
        if self._samples is None:
            try:
                self._wait_for_end(timeout_s)
                self._samples = self._fetch()
            except KeyboardInterrupt:
                self.cancel()
                raise
        return self._samples

    def cancel(self) -> JobState:
        """Ask for an early end and return the state; too late is no mistake."""
        self._status = self._connection.ask(CancelJob(job=self.id), JobStatus)
        return self._status.state

    def _wait_for_end(self, timeout_s: float | None) -> None:
        deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while self._wait(max(min(deadline - time.monotonic(), WAIT_S), 0.0)).state not in TERMINAL:
            if time.monotonic() >= deadline:
                raise JobTimeoutError(
                    f"the job is still {self._status.state} after {timeout_s:g} s",
                    hint="wait again, or cancel it",
                    job=self.id,
                )
        if self._status.error is not None:
            raise as_error(self._status.error)

    def _wait(self, timeout_s: float) -> JobStatus:
        if self._status.state not in TERMINAL:
            wait = WaitJob(job=self.id, timeout_s=timeout_s)
            self._status = self._connection.ask(wait, JobStatus, wait_s=timeout_s)
        return self._status

    def _fetch(self) -> SampleSet:
        batch, buffers = self._connection.ask_packet(FetchResult(job=self.id), ResultBatch)
        parts, rows = [buffers], _rows(batch, buffers, n_spins=batch.n_spins)
        while rows < batch.n_runs:
            fetch = FetchResult(job=self.id, first=rows)
            more, buffers = self._connection.ask_packet(fetch, ResultBatch)
            parts.append(buffers)
            rows += _rows(more, buffers, n_spins=batch.n_spins)
        packed, *amplitudes = (np.concatenate(column) for column in zip(*parts, strict=True))
        spins = unpack_spins(packed, batch.n_spins)
        trace = None
        if self._has_trace:
            trace = fetch_trace(self._connection, self.id, self._model.n_spins)
        values = amplitudes[0] if amplitudes else None
        return _ranked(self._model, spins, values, batch.record, trace)


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
    spins: NDArray[np.int8],
    amplitudes: NDArray[np.float32] | None,
    record: RunRecord,
    trace: Trace | None,
) -> SampleSet:
    if spins.shape[1] != model.n_spins:
        raise RemoteProtocolError(
            f"the result has {spins.shape[1]} spins, the model has {model.n_spins}"
        )
    return SampleSet.rank(model, spins, amplitudes, record, trace)
