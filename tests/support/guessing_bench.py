"""A machine that only guesses."""

from __future__ import annotations

import numpy as np

from cim_hal import Capabilities, Driver, Program, Readout, StopToken, emulated


@emulated
class GuessingCim(Driver):
    """Random spins, the same ones for the same seed."""

    def describe(self) -> Capabilities:
        return Capabilities(name="guessing", max_spins=400, coupling_bits=8)

    def run(self, program: Program, stop: StopToken) -> Readout:
        rng = np.random.default_rng(program.seed)
        return Readout(rng.choice([-1, 1], (program.n_runs, program.n_spins)))
