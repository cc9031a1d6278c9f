"""A machine for benchmarks of the wire: bare spins at once, for many spins and runs."""

from __future__ import annotations

import numpy as np

from cim_hal import Capabilities, Driver, Program, Readout, StopToken, emulated


@emulated
class Coins(Driver):
    """Throw a coin for each spin."""

    def describe(self) -> Capabilities:
        """Say what it can do."""
        return Capabilities(
            name="coins", max_spins=10_000, coupling_bits=8, max_runs=100_000, reproducible=True
        )

    def run(self, program: Program, stop: StopToken) -> Readout:
        """Throw them."""
        del stop
        rng = np.random.default_rng(program.seed)
        coins = rng.integers(0, 2, (program.n_runs, program.n_spins), dtype=np.int8)
        return Readout(2 * coins - 1)
