"""What is kept of a run while it runs, and at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cim_hal import Program, Readout, Trace
from emulator.dynamics.best import BestSeenBlock

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from emulator.dynamics.base import Block

__all__ = ["BlockReadout", "Recording", "joined"]


@dataclass(frozen=True, eq=False)
class BlockReadout:
    """What a block has measured: amplitudes (runs, n), frames (k, some runs, n), notes."""

    amplitudes: NDArray[np.float32]
    frames: NDArray[np.float32]
    notes: Mapping[str, float | str]


class Recording:
    """Keeps the amplitudes of the runs of a block that a program wants traced.

    Parameters
    ----------
    program : Program
    first_run, width : int
        The runs of the block.

    Attributes
    ----------
    frame_after : dict of int to int
        The frames to be taken, by the round trips after which they are; empty without a trace.
    """

    def __init__(self, program: Program, *, first_run: int, width: int) -> None:
        self._n_runs = min(program.n_runs - first_run, width)  # the rest fills up the block
        self.frame_after: dict[int, int] = {}
        n_traced = 0
        if program.trace is not None:
            n_traced = min(max(_n_traced(program) - first_run, 0), width)
            frames = program.trace.frames(program.schedule.round_trips)
            self.frame_after = {int(at): frame for frame, at in enumerate(frames)}
        self._frames = np.empty((len(self.frame_after), n_traced, program.n_spins), np.float32)

    def look(self, round_trip: int, block: Block) -> None:
        """Take the frame that belongs after `round_trip` round trips."""
        frame, n_traced = self.frame_after[round_trip], self._frames.shape[1]
        if n_traced:
            self._frames[frame] = _momentary(block).amplitudes()[:, :n_traced].T

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
