"""A driver that descends: exact enough on few spins, and quick."""

from __future__ import annotations

import numpy as np

from cim_hal import Capabilities, Driver, Program, Readout, StopToken


class Descending(Driver):
    """Each run flips, from random spins, whatever single spin lowers the energy most."""

    def __init__(self, max_spins: int = 400) -> None:
        self._max_spins = max_spins

    def describe(self) -> Capabilities:
        return Capabilities(
            name="descending", max_spins=self._max_spins, coupling_bits=8, reproducible=True
        )

    def run(self, program: Program, stop: StopToken) -> Readout:
        rng = np.random.default_rng(program.seed)
        J = program.dense_coupling().astype(float)
        spins = rng.choice([-1.0, 1.0], (program.n_runs, program.n_spins))
        field = spins @ J
        for _ in range(10 * program.n_spins):
            gain = -(spins * field)
            at = gain.argmax(axis=1)
            rows = np.flatnonzero(gain[np.arange(len(gain)), at] > 0)
            if not len(rows):
                break
            spins[rows, at[rows]] *= -1
            field[rows] += 2 * spins[rows, at[rows]][:, None] * J[at[rows]]
        return Readout(spins.astype(int))
