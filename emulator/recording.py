"""Results of blocks of runs: frames of a trace, readouts, and their delivery."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cim_hal import Program, Readout, Trace
from emulator.dynamics.best_seen import BestSeenBlock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from cim_hal import StopToken
    from emulator.dynamics.base import Block
    from emulator.trace_file import TraceWriter

__all__ = ["BlockReadout", "Recording", "delivered", "joined"]


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
        self._frame_after: dict[int, int] = {}
        if program.trace is not None:
            frames = program.trace.frames(program.schedule.round_trips)
            self._frame_after = {int(at): frame for frame, at in enumerate(frames)}
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


def joined(blocks: Sequence[BlockReadout], program: Program) -> Readout:
    """Return the readout of all blocks, in the order of their runs."""
    trace = None
    if program.trace is not None:
        round_trips = program.trace.frames(program.schedule.round_trips)
        pump = program.schedule.sample()[round_trips - 1]
        trace = Trace(round_trips, pump, np.concatenate([b.frames for b in blocks], axis=1))
    values = np.concatenate([block.amplitudes for block in blocks])[: program.n_runs]
    return Readout(values, trace, _merged(block.notes for block in blocks))


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
            stop.deliver(np.concatenate(waiting))
            waiting, delivered_at = [], now


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
