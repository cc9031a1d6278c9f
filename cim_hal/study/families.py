"""Families of models, each model from a seed, and the energies that count as success."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os.path import normpath
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, field_validator, model_validator

from cim_hal.model.enumeration import MAX_SPINS, all_energies, dense
from cim_hal.model.ising import IsingModel
from cim_hal.toml_files import Dotted, FileTable, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FAMILIES", "FILES", "Family", "Instance", "Models", "Target", "draw", "target_of"]

MAX_MODELS = 10_000
FILES = "files"  # the kind of those that are in no group, where they are pooled

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
    family: str = FILES


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


# ---- in study files -------------------------------------------------------------------------

_Size = Annotated[int, Field(ge=2, le=5000)]


class Family(FileTable):
    """Models of one kind, of one size or several, each with as many."""

    kind: str
    n: _Size | Annotated[tuple[_Size, ...], Field(min_length=1, max_length=1000, strict=False)]
    count: Annotated[int, Field(ge=1, le=MAX_MODELS)] = 20
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @field_validator("kind")
    @classmethod
    def _is_known(cls, kind: str) -> str:
        if kind not in FAMILIES:
            raise ValueError(did_you_mean(kind, FAMILIES))
        return kind

    @field_validator("n")
    @classmethod
    def _has_each_size_once(cls, n: Any) -> Any:
        if isinstance(n, tuple) and len(set(n)) < len(n):
            raise ValueError("a size stands twice")
        return n

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of spins."""
        return self.n if isinstance(self.n, tuple) else (self.n,)


_FileName = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]
_FileGroup = Annotated[tuple[_FileName, ...], Field(min_length=1, strict=False)]


class Models(FileTable):
    """The models of a study: files, and families of which they are drawn."""

    files: Annotated[tuple[_FileName, ...], Field(max_length=MAX_MODELS, strict=False)] = ()
    targets: Annotated[dict[str, float], Dotted] = Field(default_factory=dict)
    groups: Annotated[dict[str, _FileGroup], Dotted] = Field(default_factory=dict)
    family: Annotated[tuple[Family, ...], Field(max_length=1000, strict=False)] = ()

    @model_validator(mode="after")
    def _is_not_empty(self) -> Models:
        if not self.files and not self.family:
            raise ValueError("there are none: give files, or a [[models.family]]")
        if len({normpath(name) for name in self.files}) < len(self.files):
            raise ValueError("files: a file stands twice, and would count as two models")
        if unknown := set(self.targets) - set(self.files):
            raise ValueError(f"targets of files that are not listed: {', '.join(sorted(unknown))}")
        self._check_groups()
        return self

    def _check_groups(self) -> None:
        grouped = [name for group in self.groups.values() for name in group]
        if unknown := set(grouped) - set(self.files):
            raise ValueError(f"groups of files that are not listed: {', '.join(sorted(unknown))}")
        if len(set(grouped)) < len(grouped):
            raise ValueError("groups: a file stands twice")
        if both := self.groups.keys() & {FILES, *self.files}:
            raise ValueError(f"groups: {', '.join(sorted(both))} names other files already")
        if both := {*self.groups, *self.files} & set(self.drawn):
            raise ValueError(f"{', '.join(sorted(both))} names a family and files")

    def kind_of(self, file: str) -> str:
        """Return the group of a file, or the file if it has none."""
        return next((name for name, group in self.groups.items() if file in group), file)

    @property
    def kinds(self) -> list[str]:
        """The levels that `model` has as a factor: groups of files, and kinds with their sizes."""
        return list(dict.fromkeys([*map(self.kind_of, self.files), *self.drawn]))

    @property
    def drawn(self) -> list[str]:
        """The kind and size of each family, of each of its sizes."""
        return [f"{family.kind}-{n}" for family in self.family for n in family.sizes]
