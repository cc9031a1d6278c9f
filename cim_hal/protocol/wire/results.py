"""Results as bytes: spins one bit each, in batches that start at any row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.protocol.wire.limits import MAX_BUFFER_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.model.record import Note
    from cim_hal.model.sampleset import Trace

__all__ = ["Result", "pack_spins", "result_bytes", "rows_from", "trace_rows_from", "unpack_spins"]


@dataclass(frozen=True, eq=False)
class Result:
    """What a job measured, in the caller's spins; arrays of a kept one may be read when used."""

    spins: NDArray[np.uint8]  # (runs, ceil(n/8)), packed by `pack_spins`
    amplitudes: NDArray[np.float32] | None  # (runs, n)
    n_spins: int
    device_s: float  # seconds the driver took
    trace: Trace | None = None
    notes: Mapping[str, Note] = field(default_factory=dict)
    calibration: str = ""  # fingerprint of the one that stood; empty where there was none

    @property
    def n_bytes(self) -> int:
        """Bytes kept."""
        arrays = [self.spins, self.amplitudes, self.trace and self.trace.amplitudes]
        return sum(array.nbytes for array in arrays if array is not None)


def pack_spins(spins: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Pack spins (runs, n): bit 1 is +1, least significant bit first, rows padded with zeros."""
    return np.packbits(spins > 0, axis=1, bitorder="little")


def unpack_spins(packed: NDArray[np.uint8], n_spins: int) -> NDArray[np.int8]:
    """Return the spins (runs, n) in {-1, +1} that `pack_spins` packed."""
    bits = np.unpackbits(packed, axis=1, count=n_spins, bitorder="little").view(np.int8)
    bits *= 2
    bits -= 1  # in place: half the time of an expression
    return bits


def result_bytes(n_runs: int, n_spins: int, *, amplitudes: bool) -> int:
    """Return the bytes of a whole result."""
    return n_runs * (-(-n_spins // 8) + 4 * n_spins * amplitudes)


def rows_from(result: Result, first: int) -> tuple[NDArray[np.uint8 | np.float32], ...]:
    """Return the buffers of one batch: as many rows from `first` on as fit 1 MiB each."""
    widest = result.spins if result.amplitudes is None else result.amplitudes
    row_bytes = widest.nbytes // len(widest)
    rows = slice(first, first + max(MAX_BUFFER_BYTES // row_bytes, 1))
    if result.amplitudes is None:
        return (result.spins[rows],)
    return result.spins[rows], result.amplitudes[rows]


def trace_rows_from(trace: Trace, first: int) -> tuple[NDArray[Any], ...]:
    """Return the buffers of one batch of a trace: round trips, pump rates and amplitudes of rows.

    A row is one run at one frame: row ``frame * n_runs + run``.
    """
    rows = trace.amplitudes.reshape(-1, trace.amplitudes.shape[2])
    most = max(MAX_BUFFER_BYTES // max(rows.nbytes // len(rows), 8), 1)
    amplitudes = rows[first : first + most]
    frames = np.arange(first, first + len(amplitudes)) // trace.n_runs
    return np.asarray(trace.round_trips)[frames], np.asarray(trace.pump)[frames], amplitudes
