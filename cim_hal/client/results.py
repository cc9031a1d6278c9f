"""Fetching the results of a job: rows of spins and amplitudes, and traces."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from cim_hal.errors import RemoteProtocolError
from cim_hal.model.sampleset import SampleSet, Trace
from cim_hal.model.schedule import MAX_TRACE_BYTES
from cim_hal.protocol.wire.messages import FetchResult, FetchTrace, ResultBatch, TraceBatch
from cim_hal.protocol.wire.results import unpack_spins
from cim_hal.text import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.client.requests import RequestClient
    from cim_hal.client.steps import Steps
    from cim_hal.machine.policies import LoweredModel
    from cim_hal.model.ising import IsingModel

__all__ = ["Batch", "ResultRows", "fetch_rows", "fetch_trace", "samples_of"]


Batch: TypeAlias = "tuple[ResultBatch, tuple[NDArray[Any], ...]]"  # with its buffers


@dataclass(frozen=True, eq=False)
class ResultRows:
    """Rows of one result, each part as it came: packed spins, and amplitudes if there are any."""

    batch: ResultBatch  # the last of them
    parts: list[tuple[NDArray[np.generic], ...]]

    @property
    def n_runs(self) -> int:
        """How many rows they are."""
        return sum(len(part[0]) for part in self.parts)


def fetch_rows(
    client: RequestClient,
    job: str,
    deadline: float,
    *,
    first: int = 0,
    ready: int | None = None,
    begun: Batch | None = None,
) -> Steps[ResultRows]:
    """Fetch rows `first` up to `ready` of a job, or all of one that is done where that is None.

    A batch that is there already is `begun`. `RemoteProtocolError` if what the server sends are no
    such rows.
    """
    parts: list[tuple[NDArray[np.generic], ...]] = []
    n_spins = 0
    while True:
        if begun is None:
            ask = FetchResult(job=job, first=first, partial=ready is not None)
            begun = yield from client.ask_packet(ask, ResultBatch, deadline=deadline)
        (batch, buffers), begun = begun, None
        n_spins = n_spins or batch.n_spins
        first += _n_rows(batch, buffers, n_spins=n_spins)
        parts.append(buffers)
        if first >= (batch.n_runs if ready is None else ready):
            return ResultRows(batch, parts)


def fetch_trace(client: RequestClient, job: str, n_spins: int, deadline: float) -> Steps[Trace]:
    """Fetch the trace of a job whose model has `n_spins` spins.

    `RemoteProtocolError` if what the server sends is no such trace.
    """
    fetch = FetchTrace(job=job)
    batch, buffers = yield from client.ask_packet(fetch, TraceBatch, deadline=deadline)
    shape = (batch.n_frames, batch.n_runs, n_spins)
    n_rows = batch.n_frames * batch.n_runs
    if batch.n_spins != n_spins or 4 * n_rows * n_spins > MAX_TRACE_BYTES:
        raise RemoteProtocolError(f"a trace of (frames, runs) = {shape[:2]} does not fit")
    parts, rows = [buffers], _n_trace_rows(buffers, n_spins=n_spins)
    while rows < n_rows:
        fetch = FetchTrace(job=job, first=rows)
        _, buffers = yield from client.ask_packet(fetch, TraceBatch, deadline=deadline)
        parts.append(buffers)
        rows += _n_trace_rows(buffers, n_spins=n_spins)
    if rows != n_rows:
        raise RemoteProtocolError(f"a trace of {counted(n_rows, 'row')} came with {rows}")
    round_trips, pump, amplitudes = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Trace(round_trips[:: batch.n_runs], pump[:: batch.n_runs], amplitudes.reshape(shape))


def _n_rows(batch: ResultBatch, buffers: tuple[NDArray[np.generic], ...], *, n_spins: int) -> int:
    """Return the number of rows of a batch, which must be at least one."""
    shapes = [(-(-n_spins // 8), "|u1"), (n_spins, "<f4")]
    for array, (width, dtype) in zip(buffers, shapes, strict=False):
        fits = array.ndim == 2 and array.shape[1] == width and array.dtype.str == dtype
        if not fits or len(array) != len(buffers[0]) or not 1 <= len(array) <= batch.n_runs:
            raise RemoteProtocolError(f"a result of {array.dtype} {array.shape} does not fit")
    return len(buffers[0])


def samples_of(
    rows: ResultRows,
    model: IsingModel,
    trace: Trace | None = None,
    lowered: LoweredModel | None = None,
) -> SampleSet:
    """Return the samples of a model, or of the one that was `lowered` to it, ranked by energy.

    `RemoteProtocolError` if the rows are not those of the model.
    """
    columns: Any = zip(*rows.parts, strict=True)
    packed, *amplitudes = (np.concatenate(column) for column in columns)
    spins = unpack_spins(packed, rows.batch.n_spins)
    if spins.shape[1] != model.n_spins:
        raise RemoteProtocolError(
            f"the result has {counted(spins.shape[1], 'spin')}, the model has {model.n_spins}"
        )
    rank = partial(SampleSet.rank, model) if lowered is None else lowered.rank
    return rank(spins, amplitudes[0] if amplitudes else None, rows.batch.record, trace)


def _n_trace_rows(buffers: tuple[NDArray[Any], ...], *, n_spins: int) -> int:
    """Return the number of rows of a batch, which must be at least one."""
    n_rows = len(buffers[0]) if buffers[0].ndim else 0
    shapes = [("<i8", (n_rows,)), ("<f8", (n_rows,)), ("<f4", (n_rows, n_spins))]
    found = [(array.dtype.str, array.shape) for array in buffers]
    if n_rows < 1 or found != shapes:
        raise RemoteProtocolError(f"rows of a trace {found} do not fit")
    return n_rows
