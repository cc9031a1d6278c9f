"""A machine whose every answer is known beforehand: for the soak, which checks them all."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from cim_hal import Capabilities, Driver, JobCancelledError, Program, Readout, StopToken

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Soak", "expected"]

PAUSE_S = 0.002  # of each run: time in which others can come and go


class Soak(Driver):
    """Whole numbers made of the couplings and the seed, so exact on any machine."""

    def describe(self) -> Capabilities:  # noqa: D102  see Driver
        return Capabilities(
            name="soak",
            max_spins=2000,
            coupling_bits=8,
            reports_amplitudes=True,
            reproducible=True,
            default_round_trips=10,
        )

    def run(self, program: Program, stop: StopToken) -> Readout:  # noqa: D102
        if stop.is_set():
            raise JobCancelledError("stopped before the run")
        time.sleep(PAUSE_S)
        return Readout(expected(program.dense_coupling(), program.seed, program.n_runs))


def expected(J: NDArray[np.generic], seed: int, n_runs: int) -> NDArray[np.float32]:
    """Return the amplitudes (runs, n) of a job; J has the entries -1, 0 and 1."""
    starts = np.random.default_rng(seed).integers(-3, 4, (n_runs, len(J)))
    # below 2^24 in size, so exact in float32 too; the half keeps signs from being zero
    return (starts @ J.astype(np.int64) + 0.5).astype(np.float32)
