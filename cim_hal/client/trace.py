"""The trace of a job, from the server's rows to frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.errors import RemoteProtocolError
from cim_hal.model.trace import MAX_TRACE_BYTES, Trace
from cim_hal.protocol.wire.messages import FetchTrace, TraceBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.client.requests import RequestClient
    from cim_hal.client.steps import Steps

__all__ = ["fetch_trace"]


def fetch_trace(dialogue: RequestClient, job: str, n_spins: int, until: float) -> Steps[Trace]:
    """Fetch the trace of a job whose model has `n_spins` spins.

    Raises
    ------
    RemoteProtocolError
        What the server sends is no such trace.
    """
    fetch = FetchTrace(job=job)
    batch, buffers = yield from dialogue.ask_packet(fetch, TraceBatch, until=until)
    shape = (batch.n_frames, batch.n_runs, n_spins)
    n_rows = batch.n_frames * batch.n_runs
    if batch.n_spins != n_spins or 4 * n_rows * n_spins > MAX_TRACE_BYTES:
        raise RemoteProtocolError(f"a trace of {shape[:2]} frames and runs does not fit")
    parts, rows = [buffers], _rows(buffers, n_spins=n_spins)
    while rows < n_rows:
        fetch = FetchTrace(job=job, first=rows)
        _, buffers = yield from dialogue.ask_packet(fetch, TraceBatch, until=until)
        parts.append(buffers)
        rows += _rows(buffers, n_spins=n_spins)
    if rows != n_rows:
        raise RemoteProtocolError(f"a trace of {n_rows} rows came with {rows}")
    round_trips, pump, amplitudes = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Trace(round_trips[:: batch.n_runs], pump[:: batch.n_runs], amplitudes.reshape(shape))


def _rows(buffers: tuple[NDArray[Any], ...], *, n_spins: int) -> int:
    """Return the number of rows of a batch, which must be at least one."""
    n_rows = len(buffers[0]) if buffers[0].ndim else 0
    shapes = [("<i8", (n_rows,)), ("<f8", (n_rows,)), ("<f4", (n_rows, n_spins))]
    found = [(array.dtype.str, array.shape) for array in buffers]
    if n_rows < 1 or found != shapes:
        raise RemoteProtocolError(f"rows of a trace {found} do not fit")
    return n_rows
