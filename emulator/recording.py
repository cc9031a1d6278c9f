"""Results of blocks of runs: frames of a trace, readouts and their delivery, traces on disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from cim_hal import Program, Readout, Trace
from emulator.dynamics.best_seen import BestSeenBlock

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal import StopToken, TraceRequest
    from cim_hal.model.record import Note
    from emulator.dynamics.base import Block

__all__ = ["BlockReadout", "Recording", "TraceFile", "TraceWriter", "delivered", "joined"]


def _frame_after(request: TraceRequest | None, program: Program) -> dict[int, int]:
    """Return the numbers of frames, by the round trips after which they are taken."""
    if request is None:
        return {}
    frames = request.frames(program.schedule.round_trips)
    return {int(at): frame for frame, at in enumerate(frames)}


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
        Which frames, of how many runs; without the limit of ``MAX_TRACE_BYTES``.
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
    """A file that is being written, by one thread or several: the first `n_runs` of a job."""

    def __init__(self, file: BinaryIO, request: TraceRequest, program: Program) -> None:
        self.frame_after = _frame_after(request, program)
        self.n_runs = min(request.runs, program.n_runs)
        self._file, self._lock, self._lift = file, threading.Lock(), program.lowering.lift
        n_spins = program.lowering.n_spins - program.lowering.report.field_spin
        shape = (len(self.frame_after), self.n_runs, n_spins)
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


@dataclass(frozen=True, eq=False)
class BlockReadout:
    """The results of a block: amplitudes (runs, n), frames (k, some runs, n), notes."""

    amplitudes: NDArray[np.float32]
    frames: NDArray[np.float32]
    notes: Mapping[str, float | str]


class Recording:
    """Records the amplitudes of the runs of a block that a program asks to be traced.

    Parameters
    ----------
    program : Program
    first_run, width : int
        The runs of the block.
    writer : TraceWriter or None
        The trace file, if there is one.

    Attributes
    ----------
    frames_after : frozenset of int
        Round trips after which frames are taken; empty without a trace.
    """

    def __init__(
        self, program: Program, *, first_run: int, width: int, writer: TraceWriter | None
    ) -> None:
        self._first_run, self._writer = first_run, writer
        self._n_runs = min(program.n_runs - first_run, width)  # the rest fills up the block
        self._frame_after = _frame_after(program.trace, program)
        n_traced = self._of_block(_n_traced(program))
        self._frames = np.empty((len(self._frame_after), n_traced, program.n_spins), np.float32)
        self.frames_after = frozenset(self._frame_after) if n_traced else frozenset[int]()
        if writer is not None and self._of_block(writer.n_runs):
            self.frames_after |= frozenset(writer.frame_after)

    def take(self, round_trip: int, block: Block) -> None:
        """Take the frames that belong after `round_trip` round trips."""
        amplitudes = _momentary(block).amplitudes().T
        if round_trip in self._frame_after:
            self._frames[self._frame_after[round_trip]] = amplitudes[: self._frames.shape[1]]
        if self._writer is not None and round_trip in self._writer.frame_after:
            some = amplitudes[: self._of_block(self._writer.n_runs)].astype(np.float32)
            self._writer.write(self._writer.frame_after[round_trip], self._first_run, some)

    def _of_block(self, n_runs: int) -> int:
        """Return how many of the first `n_runs` runs of the job are in this block."""
        return min(max(n_runs - self._first_run, 0), self._n_runs)

    def finish(self, block: Block) -> BlockReadout:
        """Read the block out."""
        # (n, runs) inside, (runs, n) at the waist: turned here and above, nowhere else
        amplitudes = np.ascontiguousarray(block.amplitudes().T, dtype=np.float32)
        return BlockReadout(amplitudes, self._frames, _momentary(block).notes(self._n_runs))


def joined(
    blocks: Sequence[BlockReadout], program: Program, job_notes: Mapping[str, Note]
) -> Readout:
    """Return the readout of all blocks, in the order of their runs, with notes on the job."""
    trace = None
    if program.trace is not None:
        round_trips = program.trace.frames(program.schedule.round_trips)
        pump = program.schedule.sample()[round_trips - 1]
        trace = Trace(round_trips, pump, np.concatenate([b.frames for b in blocks], axis=1))
    values = np.concatenate([block.amplitudes for block in blocks])[: program.n_runs]
    notes: dict[str, Note] = {**_merged(block.notes for block in blocks), **job_notes}
    if not values.any():  # without noise, zero is a fixed point
        notes["zero_amplitudes"] = True
    return Readout(values, trace, notes)


# Short jobs deliver nothing before their end: it would cost more than it is worth.
DELIVER_S = 0.25


def delivered(
    blocks: Iterable[BlockReadout], program: Program, stop: StopToken
) -> Iterator[BlockReadout]:
    """Yield `blocks`, and deliver their runs four times a second, but for the last ones."""
    waiting: list[NDArray[np.float32]] = []
    n_finished, delivered_at = 0, time.monotonic()
    for block in blocks:
        yield block
        waiting.append(block.amplitudes)
        n_finished += len(block.amplitudes)
        now = time.monotonic()
        if now >= delivered_at + DELIVER_S and n_finished < program.n_runs:
            rows = np.concatenate(waiting)
            if rows.any():
                stop.deliver(rows)
                waiting = []
            delivered_at = now


def _n_traced(program: Program) -> int:
    return 0 if program.trace is None else min(program.trace.runs, program.n_runs)


def _momentary(block: Block) -> Block:
    """Return the block that moves: reading one that remembers its best would change its run."""
    return block.block if isinstance(block, BestSeenBlock) else block


def _merged(notes: Iterable[Mapping[str, float | str]]) -> dict[str, float | str]:
    merged: dict[str, float | str] = {}
    for block in notes:
        for name, value in block.items():
            so_far = merged.get(name, value)
            is_larger = isinstance(value, str) or isinstance(so_far, str) or value > so_far
            merged[name] = value if is_larger else so_far
    return merged
