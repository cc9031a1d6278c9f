"""Amplitudes of a run on disk: for traces too large for memory, or for a wire."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from cim_hal import Program, TraceRequest

__all__ = ["TraceFile", "TraceWriter"]


@dataclass(frozen=True)
class TraceFile:
    """Where a machine writes amplitudes while it runs.

    The file is a float32 array of shape (frames, runs, n) for ``numpy.load``, best with
    ``mmap_mode="r"``. A frame is written as soon as it is taken and kept nowhere else. Each job
    begins the file anew. Runs are in the order of the job, spins are those of the model.

    Parameters
    ----------
    path : Path
    request : TraceRequest
        Which frames, of how many runs; without the limit of `MAX_TRACE_BYTES`.
    """

    path: Path
    request: TraceRequest

    @contextmanager
    def opened(self, program: Program) -> Iterator[TraceWriter]:
        """Begin the file for a program, and close it at the end.

        Raises
        ------
        OSError
            It cannot be written.
        """
        with self.path.open("wb") as file:
            yield TraceWriter(file, self.request, program)


class TraceWriter:
    """A file that is being written, by one thread or several.

    Attributes
    ----------
    frame_after : dict of int to int
        The frames, by the round trips after which they are taken.
    n_runs : int
        The first runs of the job, those that are written.
    """

    def __init__(self, file: BinaryIO, request: TraceRequest, program: Program) -> None:
        frames = request.frames(program.schedule.round_trips)
        self.frame_after = {int(at): frame for frame, at in enumerate(frames)}
        self.n_runs = min(request.runs, program.n_runs)
        self._file, self._lock, self._lift = file, threading.Lock(), program.lowering.lift
        n_spins = program.lowering.n_spins - program.lowering.report.field_spin
        shape = (len(frames), self.n_runs, n_spins)
        head = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, head)
        self._start, self._bytes_of_run = file.tell(), 4 * n_spins

    def write(self, frame: int, first_run: int, amplitudes: NDArray[np.float32]) -> None:
        """Write amplitudes (some runs, n') of a frame, from run `first_run` on."""
        values = self._lift(amplitudes).astype("<f4", copy=False)
        place = self._start + (frame * self.n_runs + first_run) * self._bytes_of_run
        with self._lock:
            self._file.seek(place)
            self._file.write(values.tobytes())
