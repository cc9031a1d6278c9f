"""Machines that hand in runs while others go on."""

from __future__ import annotations

import time

import numpy as np

from cim_hal import (
    Capabilities,
    Driver,
    JobCancelledError,
    Program,
    Readout,
    Setting,
    StopToken,
    emulated,
)
from cim_hal.errors import LockLostError

BATCH = 4


@emulated
class Delivering(Driver):
    """Normal numbers from the seed, four runs at a time.

    ``pace`` are the seconds that four runs take; after ``lasts`` of those the machine loses lock;
    one that ``lies`` has another first run in the end.

    Attributes
    ----------
    n_run : int
        How often it was called.
    """

    def __init__(self) -> None:
        self.n_run = 0

    def describe(self) -> Capabilities:
        return Capabilities(
            name="delivering",
            max_spins=3000,
            coupling_bits=8,
            reports_amplitudes=True,
            reproducible=True,
            settings=(
                Setting(name="pace", unit="s", default=0.0, low=0.0, high=10.0),
                Setting(name="lasts", default=1e6, low=0, high=1e6, integer=True),
                Setting(name="lies", default=0, low=0, high=1, integer=True),
            ),
        )

    def run(self, program: Program, stop: StopToken) -> Readout:
        self.n_run += 1
        values = expected(program.seed, program.n_runs, program.n_spins)
        pace_s = program.settings.get("pace", 0.0)
        for number, first in enumerate(range(0, program.n_runs, BATCH)):
            ends = time.monotonic() + pace_s
            while not stop.is_set() and time.monotonic() < ends:
                time.sleep(0.002)
            if stop.is_set():
                raise JobCancelledError("stopped between two runs")
            if number >= program.settings.get("lasts", 1e6):
                raise LockLostError("the cavity lost lock", at_round_trip=0)
            stop.deliver(values[first : first + BATCH])
            stop.progress(min(first + BATCH, program.n_runs), program.n_runs, "runs")
        if program.settings.get("lies"):
            values[0] *= 2
        return Readout(values)


class BareSpins(Delivering):
    """The same without amplitudes."""

    def describe(self) -> Capabilities:
        return super().describe().model_copy(update={"reports_amplitudes": False})


def expected(seed: int, n_runs: int, n_spins: int) -> np.ndarray:
    """Amplitudes (runs, n) of a job whose spins were not flipped."""
    return np.random.default_rng(seed).standard_normal((n_runs, n_spins)).astype(np.float32)
