"""A machine of which the success probability over a setting is known."""

from __future__ import annotations

import itertools

import numpy as np

from cim_hal import Capabilities, Driver, Program, Readout, StopToken
from cim_hal.machine.capabilities import Setting

__all__ = ["CLIFF", "SPREAD", "WIDTH", "KnownSuccess", "make", "success"]

CLIFF, WIDTH, SPREAD = 0.37, 0.04, 0.03  # where half of the runs succeed; of models


def success(noise: float, hardness: float = 0.0) -> float:
    """Return the success probability of a model."""
    return float(1 / (1 + np.exp((noise - CLIFF + SPREAD * hardness) / WIDTH)))


class KnownSuccess(Driver):
    """Runs end in the ground state, found by enumeration, or in an excited state."""

    def describe(self) -> Capabilities:
        """Return what the machine can do: its one setting is its noise."""
        noise = Setting(name="noise", default=0.0, low=0.0, high=1.0)
        return Capabilities(name="known-success", max_spins=8, coupling_bits=16, settings=(noise,))

    def run(self, program: Program, stop: StopToken) -> Readout:
        """Succeed in as many runs as chance says; models differ by the seed of their jobs."""
        J, noise = program.dense_coupling().astype(float), program.settings["noise"]
        spins = np.array(list(itertools.product((-1.0, 1.0), repeat=len(J))))
        energies = -np.einsum("ki,ij,kj->k", spins, J, spins)
        lowest, highest = spins[energies.argmin()], spins[energies.argmax()]
        p = success(noise, np.random.default_rng(program.seed).normal())
        of_job = np.random.default_rng([program.seed, int(noise * 1e9)])
        succeeds = of_job.random(program.n_runs) < p
        return Readout(np.where(succeeds[:, None], lowest, highest))


def make() -> KnownSuccess:
    """Return the machine."""
    return KnownSuccess()
