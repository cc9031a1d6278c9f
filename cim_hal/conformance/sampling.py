"""Checks of couplings, fields and ground states, the latter known by exhaustion."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from cim_hal.conformance.machine_under_test import ALPHA, CheckFailed, NotApplicable, require
from cim_hal.model.ising import IsingModel
from cim_hal.text import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.conformance.machine_under_test import MachineUnderTest
    from cim_hal.model.sampleset import SampleSet

__all__ = [
    "coupling_signs",
    "extreme_levels",
    "field_signs",
    "gauges",
    "ground_states",
    "no_memory",
    "right_places",
    "spins_are_free",
]

PLACES = 16  # spins of the test of places
GLASS = 8  # spins of small random problems: 2^8 states
PROBLEMS = 3


def pair(strength: float) -> IsingModel:
    """Return a model of two coupled spins."""
    return IsingModel.from_couplings([[0.0, strength], [strength, 0.0]])


def coupling_signs(machine: MachineUnderTest) -> str:
    """Check that two spins with J > 0 are aligned, and with J < 0 opposed."""
    aligned = _product(machine.sample(pair(1.0))) > 0
    opposed = _product(machine.sample(pair(-1.0))) < 0
    first = machine.require_often(aligned, "with J > 0 the spins are aligned")
    second = machine.require_often(opposed, "with J < 0 they are opposed")
    return f"aligned in {100 * first:.1f} %, opposed in {100 * second:.1f} % of the runs"


def field_signs(machine: MachineUnderTest) -> str:
    """Check that a spin follows its field, be it the machine's own or folded onto a spin."""
    if machine.spins_for_models < 2:
        raise NotApplicable("the machine has no spin left for a field")
    model = IsingModel(np.zeros((2, 2)), np.array([1.0, -1.0]))
    spins = machine.sample(model).spins
    up = machine.require_often(spins[:, 0] > 0, "with h > 0 the spin is up")
    down = machine.require_often(spins[:, 1] < 0, "with h < 0 it is down")
    return f"up in {100 * up:.1f} %, down in {100 * down:.1f} % of the runs"


def right_places(machine: MachineUnderTest) -> str:
    """Check that each coupling acts between its own two spins, and between no others."""
    n = machine.spins(PLACES, least=4) // 2 * 2
    rng = machine.rng(1)
    partners, signs = rng.permutation(n).reshape(-1, 2), rng.choice([-1.0, 1.0], n // 2)
    J = np.zeros((n, n))
    for (i, j), sign in zip(partners, signs, strict=True):
        J[i, j] = J[j, i] = sign
    spins = machine.sample(IsingModel.from_couplings(J)).spins.astype(np.int64)
    n_runs = len(spins)
    for i, j in itertools.combinations(range(n), 2):
        agree = spins[:, i] == spins[:, j]
        if J[i, j]:
            hits = agree if J[i, j] > 0 else ~agree
            machine.require_often(
                hits, f"spins {i} and {j}, which are coupled, obey their coupling"
            )
        elif abs(agree.sum() - n_runs / 2) > _band(n_runs, n * n):
            share = 100 * agree.mean()
            raise CheckFailed(
                f"spins {i} and {j} are not coupled, and agree in {share:.0f} % of runs"
            )
    return f"{counted(n // 2, 'coupling')} among {counted(n, 'spin')}"


def extreme_levels(machine: MachineUnderTest) -> str:
    """Check that the largest and the smallest level keep their signs, side by side."""
    bits = machine.capabilities.coupling_bits
    if bits is None:
        raise NotApplicable("couplings are real numbers")
    top = float(2 ** (bits - 1) - 1)
    J = np.zeros((4, 4))
    J[0, 1] = J[1, 0] = top
    J[2, 3] = J[3, 2] = -top
    spins = machine.sample(IsingModel.from_couplings(J)).spins
    machine.require_often(spins[:, 0] == spins[:, 1], f"with J = +{top:g} spins are aligned")
    machine.require_often(spins[:, 2] != spins[:, 3], f"with J = -{top:g} spins are opposed")
    return f"levels of ±{top:g}"


def ground_states(machine: MachineUnderTest) -> str:
    """Check that ground states of random problems are found more often than by guessing."""
    n = machine.spins(GLASS, least=3)
    shares, guesses = [], []
    for number in range(PROBLEMS):
        model, lowest, by_guess = glass(machine, n, number)
        samples = machine.sample(model)
        tolerance = model.energy_tolerance
        require(samples.best_energy >= lowest - tolerance, "an energy lies below the ground state")
        hits = samples.reached(lowest)
        what = f"the ground state of problem {number} ({counted(n, 'spin')}) was found"
        shares.append(machine.require_often(hits, what, more_than=by_guess))
        guesses.append(by_guess)
    said = ", ".join(f"{100 * share:.0f} %" for share in shares)
    return f"found in {said} of the runs, by guessing in at most {100 * max(guesses):.1f} %"


def no_memory(machine: MachineUnderTest) -> None:
    """Check that a program does not see the one before it."""
    signs = (1.0, -1.0, 1.0, -1.0)
    for number, sign in enumerate(signs):
        hits = sign * _product(machine.sample(pair(sign))) > 0
        machine.require_often(hits, f"program {number}, of the other sign than the last, is obeyed")


def gauges(machine: MachineUnderTest) -> str:
    """Check that a problem is as easy in another gauge."""
    from scipy.stats import fisher_exact  # takes long to import

    n = machine.spins(GLASS, least=3)
    model, lowest, _ = glass(machine, n, 0)
    counts = []
    for gauge_seed in (None, machine.seed + 1, machine.seed + 2):
        samples = machine.sample(model, gauge_seed=gauge_seed)
        found = int(samples.reached(lowest).sum())
        counts.append((found, len(samples) - found))
    if not any(found for found, _ in counts):
        raise NotApplicable(
            f"the ground state was never found in {counted(sum(counts[0]), 'run')} each"
        )
    for other in counts[1:]:
        p = float(fisher_exact([counts[0], other])[1])  # pyright: ignore[reportArgumentType]
        require(
            p > ALPHA,
            f"the ground state was found in {counts[0][0]} of "
            f"{counted(sum(counts[0]), 'run')}, and with "
            f"spins renamed in {other[0]}: spins are not alike (p = {p:.1g})",
        )
    return "found in " + ", ".join(f"{found} of {found + missed}" for found, missed in counts)


def spins_are_free(machine: MachineUnderTest) -> str:
    """Check that without couplings no spin is stuck."""
    n = machine.spins(PLACES)
    spins = machine.sample(IsingModel.from_couplings(np.zeros((n, n)))).spins
    up = (spins > 0).mean(axis=0)
    stuck = np.flatnonzero((up == 0) | (up == 1)).tolist()
    require(not stuck, f"spins {stuck} had one sign in all {counted(len(spins), 'run')}")
    return f"up in {100 * up.min():.0f} to {100 * up.max():.0f} % of the runs"


def glass(machine: MachineUnderTest, n: int, number: int) -> tuple[IsingModel, float, float]:
    """Return a random problem, its lowest energy, and the share of states with that energy."""
    rng = machine.rng(2, number)
    J = np.triu(rng.choice([-1.0, 1.0], (n, n)), 1)
    model = IsingModel.from_couplings(J + J.T)
    energies = model.energy(np.array(list(itertools.product([-1, 1], repeat=n)), np.int8))
    lowest = float(energies.min())
    return model, lowest, float((energies <= lowest + model.energy_tolerance).mean())


def _product(samples: SampleSet) -> NDArray[np.int8]:
    return samples.spins[:, 0] * samples.spins[:, 1]


def _band(n_runs: int, n_tests: int) -> float:
    """Return the deviation that a count of fair coins exceeds in one of 1/ALPHA test series."""
    # Hoeffding: P(|count - n/2| > t) <= 2 exp(-2 t^2 / n)
    return float(np.sqrt(0.5 * n_runs * np.log(2 * n_tests / ALPHA)))
