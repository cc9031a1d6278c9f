"""Blocks of runs that are finished, handed in while others go on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from cim_hal import Program, StopToken
    from emulator.recording import BlockReadout

__all__ = ["delivered"]

# Short jobs hand in nothing: it would cost them more than a look is worth.
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
