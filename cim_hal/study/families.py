"""Families of models, each model from a seed, and the energies that count as success."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cim_hal.model.enumeration import MAX_SPINS, all_energies, dense
from cim_hal.model.ising import IsingModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FAMILIES", "Instance", "Target", "draw", "target_of"]

SEARCHES, STEPS_PER_SPIN, MOST_STEPS = 32, 200, 50_000  # of the tabu search for a target
AGREEING = 16  # searches with one lowest energy: the others are not waited for


@dataclass(frozen=True)
class Target:
    """The energy from which on a run is successful.

    Attributes
    ----------
    energy : float
    source : {"enumerated", "planted", "given", "tabu search"}
        How it is known; the last is the best of a search, and not proved to be the optimum.
    """

    energy: float
    source: str


@dataclass(frozen=True)
class Instance:
    """What a study has several of: a model with its target, or, without a model, a training.

    `family` says its kind and size, such as ``sk-16``, or of which files it is.
    """

    name: str
    model: IsingModel | None
    target: Target
    family: str = "files"


def draw(kind: str, n: int, seed: tuple[int, ...], name: str) -> Instance:
    """Return the model of a family with `n` spins; `seed` says which."""
    rng = np.random.default_rng(list(seed))
    model, planted = FAMILIES[kind](rng, n)
    return Instance(name, model, target_of(model, planted, seed), f"{kind}-{n}")


def target_of(model: IsingModel, planted: float | None, seed: tuple[int, ...]) -> Target:
    """Return the optimum of a small or planted model, of others the best of a tabu search."""
    if model.n_spins <= MAX_SPINS:
        return Target(float(all_energies(model).min()), "enumerated")
    if planted is not None:
        return Target(planted, "planted")
    return Target(_searched(model, np.random.default_rng([*seed, 1])), "tabu search")


# ---- families -------------------------------------------------------------------------------

Drawn = tuple[IsingModel, float | None]


def _symmetric(upper: NDArray[np.float64]) -> NDArray[np.float64]:
    upper = np.triu(upper, 1)
    return upper + upper.T


def _sk(rng: np.random.Generator, n: int) -> Drawn:
    """Return normal couplings of variance 1/n between all (Sherrington and Kirkpatrick)."""
    return IsingModel.from_couplings(_symmetric(rng.normal(size=(n, n))) / np.sqrt(n)), None


def _sk_pm1(rng: np.random.Generator, n: int) -> Drawn:
    """Return couplings of -1 and 1 between all."""
    return IsingModel.from_couplings(_symmetric(rng.choice([-1.0, 1.0], (n, n)))), None


def _maxcut(rng: np.random.Generator, n: int) -> Drawn:
    """Return MAX-CUT of a random graph with every edge at probability 1/2."""
    edges = _symmetric((rng.random((n, n)) < 0.5).astype(float))
    return IsingModel.from_maxcut(edges), None


def _cubic(rng: np.random.Generator, n: int) -> Drawn:
    """Return MAX-CUT of a random simple graph with three edges a vertex; n is even."""
    if n < 4 or n % 2:
        raise ValueError(f"n = {n}: a cubic graph has an even number of vertices, 4 or more")
    while True:  # matchings of half-edges until one is simple: about e^2 attempts
        ends = rng.permutation(np.repeat(np.arange(n), 3)).reshape(-1, 2)
        edges = {(min(a, b), max(a, b)) for a, b in ends.tolist() if a != b}
        if len(edges) == len(ends):
            break
    weights = np.zeros((n, n))
    weights[tuple(np.transpose(sorted(edges)))] = 1
    return IsingModel.from_maxcut(_symmetric(weights)), None


def _planted(rng: np.random.Generator, n: int) -> Drawn:
    """Return a sum of frustrated triangles that all have their minimum at one configuration.

    In each of 2n triangles two bonds agree with the hidden spins and the third does not, at half
    their strength: the hidden spins minimize every triangle, and so the sum.
    """
    if n < 3:
        raise ValueError(f"n = {n}: triangles need 3 spins or more")
    hidden, J, energy = rng.choice([-1.0, 1.0], n), np.zeros((n, n)), 0.0
    for _ in range(2 * n):
        i, j, k = rng.choice(n, 3, replace=False)
        for a, b, strength in ((i, j, 1.0), (j, k, 1.0), (i, k, -0.5)):
            J[a, b] += strength * hidden[a] * hidden[b]
            J[b, a] = J[a, b]
            energy -= strength
    return IsingModel.from_couplings(J), energy


def _portfolio(rng: np.random.Generator, n: int) -> Drawn:
    """Return the choice of n/4 assets of low risk and high return, as a penalty of 1."""
    k = max(n // 4, 1)
    factors = rng.normal(size=(n, 5))
    risk = 0.04 * factors @ factors.T / 5 + np.diag(rng.uniform(0.01, 0.1, n))
    gains = np.diag(rng.normal(0.1, 0.05, n))
    count = np.ones((n, n)) - 2 * k * np.eye(n)
    return IsingModel.from_qubo(2 * risk / k - gains + count, offset=float(k * k)), None


def _fields(rng: np.random.Generator, n: int) -> Drawn:
    """Return normal couplings and normal fields, the latter in norms of a row."""
    J = _symmetric(rng.normal(size=(n, n))) / np.sqrt(n)
    return IsingModel.from_couplings(J, rng.normal(size=n)), None


FAMILIES: dict[str, Callable[[np.random.Generator, int], Drawn]] = {
    "sk": _sk,
    "sk-pm1": _sk_pm1,
    "maxcut": _maxcut,
    "cubic": _cubic,
    "planted": _planted,
    "portfolio": _portfolio,
    "fields": _fields,
}


# ---- targets --------------------------------------------------------------------------------


def _searched(model: IsingModel, rng: np.random.Generator) -> float:
    """Return the lowest energy of tabu searches side by side, each flipping its best spin.

    They end early where many of them, each from a start of its own, have found the same.
    """
    n, J = model.n_spins, dense(model.J)
    spins = rng.choice([-1.0, 1.0], (SEARCHES, n))
    fields, free = spins @ J + model.h, np.zeros((SEARCHES, n), np.int64)
    rows, best = np.arange(SEARCHES), spins.copy()
    energy = lowest = model.energy(spins.astype(np.int8))
    for step in range(min(STEPS_PER_SPIN * n, MOST_STEPS)):
        rise = 2 * spins * fields
        is_open = (free <= step) | (energy[:, None] + rise < lowest[:, None] - 1e-9)
        chosen = np.where(is_open, rise, np.inf).argmin(axis=1)
        energy = energy + rise[rows, chosen]
        spins[rows, chosen] *= -1
        fields += 2 * spins[rows, chosen][:, None] * J[chosen]
        free[rows, chosen] = step + min(20, n // 4) + rng.integers(4, size=SEARCHES)
        is_lower = energy < lowest - 1e-9
        best[is_lower], lowest = spins[is_lower], np.minimum(energy, lowest)
        if step % (10 * n) == 0 and _agree(lowest, model.energy_tolerance):
            break
    return float(model.energy(best.astype(np.int8)).min())


def _agree(lowest: NDArray[np.float64], tolerance: float) -> bool:
    return bool(np.count_nonzero(lowest <= lowest.min() + tolerance) >= AGREEING)
