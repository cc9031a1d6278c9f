"""A machine, and trainings, of which the figures over their noise are known."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from cim_hal import Capabilities, Driver, Program, Readout, StopToken
from cim_hal.machine.capabilities import Setting
from cim_hal.study.tasks import Trained

__all__ = ["CLIFF", "SPREAD", "WIDTH", "KnownSuccess", "KnownTraining", "make", "success"]

CLIFF, WIDTH, SPREAD = 0.37, 0.04, 0.03  # where half of the runs succeed; of models


def success(noise: float, hardness: float = 0.0) -> float:
    """Return the success probability of a model."""
    return float(1 / (1 + np.exp((noise - CLIFF + SPREAD * hardness) / WIDTH)))


class KnownSuccess(Driver):
    """Runs end in the ground state, found by enumeration, or in an excited state."""

    def __init__(self, added: float) -> None:
        self._added = added  # to the noise of each job

    def describe(self) -> Capabilities:
        """Return what the machine can do: its one setting is its noise."""
        noise = Setting(name="noise", default=0.0, low=0.0, high=1.0)
        return Capabilities(name="known-success", max_spins=8, coupling_bits=16, settings=(noise,))

    def run(self, program: Program, stop: StopToken) -> Readout:
        """Succeed in as many runs as chance says; models differ by the seed of their jobs."""
        J = program.dense_coupling().astype(float)
        noise = program.settings.get("noise", 0.0) + self._added
        spins = np.array(list(itertools.product((-1.0, 1.0), repeat=len(J))))
        energies = -np.einsum("ki,ij,kj->k", spins, J, spins)
        lowest, highest = spins[energies.argmin()], spins[energies.argmax()]
        p = success(noise, np.random.default_rng(program.seed).normal())
        of_job = np.random.default_rng([program.seed, int(noise * 1e9)])
        succeeds = of_job.random(program.n_runs) < p
        return Readout(np.where(succeeds[:, None], lowest, highest))


def make(added: float = 0.0) -> KnownSuccess:
    """Return the machine."""
    return KnownSuccess(added)


class KnownTraining:
    """Trainings of which half of the answers are right, infeasibility is 1 and calls are 40.

    They are so on average and where the noise is `CLIFF`: a `TrainTask` that trains nothing.
    """

    factors = ("noise",)

    def check(self, session: Any, options: Any, levels: Any) -> None:
        """Take all."""

    def no_infeasibility(self, options: Any) -> str:
        """Return nothing: there is one."""
        return ""

    def train(self, session: Any, options: Any, levels: Any, seed: int) -> Trained:
        """Return what chance says."""
        noise, rng = levels["noise"], np.random.default_rng([seed, int(levels["noise"] * 1e9)])
        right = int(rng.binomial(100, success(noise, np.random.default_rng(seed).normal())))
        violated = math.exp((noise - CLIFF) / 0.2) * float(rng.gamma(4, 0.25))
        calls = int(rng.poisson(40 * math.exp((noise - CLIFF) / 0.5)))
        return Trained(right, 100, 0.0, 1, "", violated, "", calls)


task = KnownTraining()
