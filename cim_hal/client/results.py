"""The rows of a result, as they travel, and the samples they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.client.steps import Compute
from cim_hal.errors import ModelError, RemoteProtocolError
from cim_hal.model.sampleset import SampleSet
from cim_hal.protocol.wire.messages import FetchResult, ResultBatch
from cim_hal.protocol.wire.results import unpack_spins

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.client.requests import RequestClient
    from cim_hal.client.steps import Steps
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.trace import Trace

__all__ = ["ResultRows", "check_model", "fetch_rows", "samples_of"]


@dataclass(frozen=True, eq=False)
class ResultRows:
    """ResultRows of one result.

    Attributes
    ----------
    batch : ResultBatch
        The message that came with the last of them.
    parts : list of tuple of arrays
        Packed spins and, where the machine reports them, amplitudes; one tuple for each message.
    """

    batch: ResultBatch
    parts: list[tuple[NDArray[np.generic], ...]]

    @property
    def n_runs(self) -> int:
        """How many rows they are."""
        return sum(len(part[0]) for part in self.parts)


def fetch_rows(
    dialogue: RequestClient, job: str, until: float, *, first: int = 0, ready: int | None = None
) -> Steps[ResultRows]:
    """Fetch rows `first` up to `ready` of a job, or all of one that is done where that is None.

    Raises
    ------
    RemoteProtocolError
        What the server sends are no such rows.
    """
    parts: list[tuple[NDArray[np.generic], ...]] = []
    n_spins = 0
    while True:
        ask = FetchResult(job=job, first=first, partial=ready is not None)
        batch, buffers = yield from dialogue.ask_packet(ask, ResultBatch, until=until)
        n_spins = n_spins or batch.n_spins
        first += _n_rows(batch, buffers, n_spins=n_spins)
        parts.append(buffers)
        if first >= (batch.n_runs if ready is None else ready):
            return ResultRows(batch, parts)


def check_model(model: IsingModel | None) -> IsingModel:
    """Return the model, or raise `ModelError` where there is none."""
    if model is None:
        raise ModelError(
            "energies are those of the model, and the job was found without it",
            hint="pass the model that was submitted: session.job(id, model)",
        )
    return model


def samples_of(rows: ResultRows, model: IsingModel, trace: Trace | None = None) -> Steps[SampleSet]:
    """Return samples of a model, ranked."""
    n_bytes = rows.n_runs * rows.batch.n_spins * model.n_spins // 8
    return (yield Compute(lambda: _ranked(model, rows, trace), n_bytes=n_bytes))


def _n_rows(batch: ResultBatch, buffers: tuple[NDArray[np.generic], ...], *, n_spins: int) -> int:
    """Return the number of rows of a batch, which must be at least one."""
    shapes = [(-(-n_spins // 8), "|u1"), (n_spins, "<f4")]
    for array, (width, dtype) in zip(buffers, shapes, strict=False):
        fits = array.ndim == 2 and array.shape[1] == width and array.dtype.str == dtype
        if not fits or len(array) != len(buffers[0]) or not 1 <= len(array) <= batch.n_runs:
            raise RemoteProtocolError(f"a result of {array.dtype} {array.shape} does not fit")
    return len(buffers[0])


def _ranked(model: IsingModel, rows: ResultRows, trace: Trace | None) -> SampleSet:
    columns: Any = zip(*rows.parts, strict=True)
    packed, *amplitudes = (np.concatenate(column) for column in columns)
    spins = unpack_spins(packed, rows.batch.n_spins)
    if spins.shape[1] != model.n_spins:
        raise RemoteProtocolError(
            f"the result has {spins.shape[1]} spins, the model has {model.n_spins}"
        )
    record = rows.batch.record
    return SampleSet.rank(model, spins, amplitudes[0] if amplitudes else None, record, trace)
