"""Every preset by default on many kinds of models, beside descent, annealing and tabu search.

    python benchmarks/families.py rows.json --table docs/explanation/_families_table.txt

Families have instances from a seed: complete graphs with positive weights, penalties for
constraints, fields, glasses. Rows that are in the file are not computed again. A job has 16 runs;
one-flip descent has as many random starts, annealing and tabu search the seconds of `emulator`.
The last peer has ten times as many for the model in levels of 8 bits: what such a machine may
hope for.
"""

# numba draws from the generator of NumPy's module
# ruff: noqa: NPY002

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from rich.console import Console
from rich.progress import track

from cim_hal import IsingModel, PumpSchedule, lower, make_driver, open_device, registered_drivers
from cim_hal.model.enumeration import dense

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

RUNS = 16
# Drawn after all defaults were fixed.
SEED = 3419669
CLOCK = "emulator"
EIGHT_BITS, LOWERED = "emulator-550", "tabu, 8 bits"
# How else a preset may be asked; its rows are called "emulator, best seen".
HOW: dict[str, dict[str, Any]] = {
    "defaults": {},
    "best seen": {"settings": {"every": 1}},
    "weakening": {"lowering": "weakening"},
    "64 runs": {"n_runs": 4 * RUNS},
}


def _symmetric(upper: NDArray[np.float64]) -> NDArray[np.float64]:
    upper = np.triu(upper, 1)
    return upper + upper.T


def complete_graph(rng: np.random.Generator, n: int) -> IsingModel:
    """MAX-CUT of a complete graph with weights 1 to 10."""
    return IsingModel.from_maxcut(_symmetric(rng.integers(1, 11, (n, n)).astype(float)))


def constrained(
    Q: NDArray[np.float64], A: NDArray[np.float64], b: NDArray[np.float64], penalty: float
) -> IsingModel:
    """Minimize x.Qx + penalty |Ax - b|^2."""
    squares = penalty * (A.T @ A - 2 * np.diag(A.T @ b))
    return IsingModel.from_qubo(Q + squares, offset=float(penalty * b @ b))


def knapsack(rng: np.random.Generator, n: int = 20) -> IsingModel:
    """Choose among items, with bits of slack up to the capacity."""
    weights, values = rng.integers(5, 30, n), rng.integers(5, 60, n)
    capacity = int(weights.sum() // 2)
    bits = int(np.log2(capacity))
    slack = [2**k for k in range(bits)] + [capacity + 1 - 2**bits]
    worth = np.diag(np.r_[-values, np.zeros(len(slack))].astype(float))
    row = np.r_[weights, slack].astype(float)[None]
    return constrained(worth, row, np.array([float(capacity)]), float(values.max()))


def portfolio(rng: np.random.Generator, penalty: float, n: int = 60, k: int = 15) -> IsingModel:
    """Choose k of n assets of low covariance and high return."""
    factors = rng.normal(size=(n, 5))
    risk = 0.04 * factors @ factors.T / 5 + np.diag(rng.uniform(0.01, 0.1, n))
    Q = 2 * risk / k - np.diag(rng.normal(0.1, 0.05, n))
    return constrained(Q, np.ones((1, n)), np.array([float(k)]), penalty)


def independent_set(rng: np.random.Generator, penalty: float, n: int = 150) -> IsingModel:
    """Choose many vertices without edges between them, eight edges a vertex."""
    edges = _symmetric((rng.random((n, n)) < 8 / n).astype(float))
    return IsingModel.from_qubo(0.5 * penalty * edges - np.eye(n))


def salesman(rng: np.random.Generator, n: int = 8) -> IsingModel:
    """Visit towns of the unit square; n^2 variables, two constraints a town."""
    towns = rng.random((n, 2))
    distances = np.linalg.norm(towns[:, None] - towns[None], axis=-1)
    tour = np.kron(distances, np.roll(np.eye(n), 1, axis=1))
    rows = np.r_[np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))]
    return constrained(tour, rows, np.ones(2 * n), 10 * float(distances.max()))


def positive_qubo(rng: np.random.Generator, n: int = 16) -> IsingModel:
    """Negative diagonal, positive couplings: the kind gka-b of Biq Mac."""
    pairs = np.triu(rng.integers(0, 64, (n, n)), 1)
    return IsingModel.from_qubo(2 * pairs - np.diag(rng.integers(0, 64, n)))


def glass_in_a_field(rng: np.random.Generator, n: int, strength: float = 1.0) -> IsingModel:
    """Draw normal couplings and fields, the latter in norms of a row."""
    J = _symmetric(rng.normal(size=(n, n)))
    return IsingModel.from_couplings(J, strength * np.sqrt(n - 1) * rng.normal(size=n))


def lattice_in_a_field(rng: np.random.Generator, side: int = 20) -> IsingModel:
    """Put a ferromagnetic torus in random fields."""
    ring = np.roll(np.eye(side), 1, axis=1)
    J = np.kron(ring + ring.T, np.eye(side)) + np.kron(np.eye(side), ring + ring.T)
    return IsingModel.from_couplings(J, 1.5 * rng.normal(size=side**2))


def glass(rng: np.random.Generator, n: int = 100) -> IsingModel:
    """Couplings of -1 and 1 between all."""
    return IsingModel.from_couplings(_symmetric(rng.choice([-1.0, 1.0], (n, n))))


FAMILIES: dict[str, Callable[[np.random.Generator], IsingModel]] = {
    "complete 50": lambda rng: complete_graph(rng, 50),
    "complete 100": lambda rng: complete_graph(rng, 100),
    "complete 300": lambda rng: complete_graph(rng, 300),
    "complete 1000": lambda rng: complete_graph(rng, 1000),
    "knapsack 20": knapsack,
    "portfolio 60, penalty 1": lambda rng: portfolio(rng, 1.0),
    "portfolio 60, penalty 100": lambda rng: portfolio(rng, 100.0),
    "independent set 150, penalty 5": lambda rng: independent_set(rng, 5.0),
    "independent set 150, penalty 1000": lambda rng: independent_set(rng, 1000.0),
    "salesman 8": salesman,
    "QUBO 16": positive_qubo,
    "fields 10": lambda rng: glass_in_a_field(rng, 10),
    "fields 100": lambda rng: glass_in_a_field(rng, 100),
    "lattice in a field 400": lattice_in_a_field,
    "glass 100": glass,
}


@njit(cache=True)
def _descend(J, s, local_field):
    """Flip the spin that lowers the energy most until none does."""
    while True:
        gains = s * local_field
        i = np.argmin(gains)
        if gains[i] >= -1e-9 * np.abs(local_field).max():
            return
        s[i] = -s[i]
        local_field += 2 * s[i] * J[i]


@njit(cache=True)
def descend(J, h, seed, spins):
    """Write a minimum in each row of `spins` (starts, n)."""
    np.random.seed(seed)  # numba's own generator
    for k in range(len(spins)):
        s = np.where(np.random.random(len(h)) < 0.5, -1.0, 1.0)
        _descend(J, s, J @ s + h)
        spins[k] = s


@njit(cache=True)
def anneal(J, h, seed, sweeps, spins):
    """Anneal in random order, geometrically from the largest field to a tenth of the least."""
    np.random.seed(seed)
    n = len(h)
    hot = (np.abs(J).sum(axis=1) + np.abs(h)).max()
    least = np.where(J == 0, hot, np.abs(J)).min()
    cold = max(0.1 * min(least, np.where(h == 0, hot, np.abs(h)).min()), 1e-5 * hot)
    for k in range(len(spins)):
        s = np.where(np.random.random(n) < 0.5, -1.0, 1.0)
        local_field = J @ s + h
        for t in range(sweeps):
            temperature = hot * (cold / hot) ** (t / max(sweeps - 1, 1))
            for _ in range(n):
                i = np.random.randint(n)
                if np.random.random() < np.exp(-2 * s[i] * local_field[i] / temperature):
                    s[i] = -s[i]
                    local_field += 2 * s[i] * J[i]
        _descend(J, s, local_field)
        spins[k] = s


@njit(cache=True)
def search(J, h, seed, steps, spins):
    """Make steps of tabu search, each to the best spin not flipped of late."""
    np.random.seed(seed)
    n = len(h)
    for k in range(len(spins)):
        s = np.where(np.random.random(n) < 0.5, -1.0, 1.0)
        local_field, free = J @ s + h, np.zeros(n, np.int64)
        energy = lowest = 0.0
        spins[k] = s
        for step in range(steps):
            chosen, change = 0, np.inf
            for i in range(n):
                rise = 2 * s[i] * local_field[i]
                if rise < change and (free[i] <= step or energy + rise < lowest - 1e-9):
                    chosen, change = i, rise
            s[chosen] = -s[chosen]
            local_field += 2 * s[chosen] * J[chosen]
            energy += change
            free[chosen] = step + min(20, n // 4) + np.random.randint(4)
            if energy < lowest - 1e-9:
                lowest = energy
                spins[k] = s


def tabu(model: IsingModel, runs: int, steps: int, seed: int) -> NDArray[np.int8]:
    """Return bits (runs, n) of the lowest that tabu searches of so many steps visited."""
    J, h = (np.ascontiguousarray(part, np.float64) for part in (model.J, model.h))
    largest = max(float(np.abs(J).max()), float(np.abs(h).max()))
    spins = np.empty((runs, model.n_spins))
    search(J / largest, h / largest, seed, steps, spins)
    return ((1 + spins) // 2).astype(np.int8)


@dataclass(frozen=True)
class Row:
    """The energies of one method on one instance."""

    family: str
    instance: int
    method: str
    best: float
    mean: float
    seconds: float


def _for_seconds(
    make: Callable[..., None], model: IsingModel, seconds: float, spins: NDArray[np.float64]
) -> None:
    """Write what a method finds in these seconds."""
    J = np.ascontiguousarray(model.J, dtype=np.float64)
    make(J, model.h, 1, 1, spins)  # compiles
    started = time.perf_counter()
    make(J, model.h, 1, 20, spins)
    steps = 20 * seconds / (time.perf_counter() - started)
    make(J, model.h, 1, max(int(steps), 20), spins)


def _peer(model: IsingModel, method: str, seconds: float) -> NDArray[np.float64]:
    """Return the energies of a peer, whose steps fill the seconds."""
    if method == LOWERED:
        return _of_lowered(model, seconds)
    spins = np.empty((RUNS, model.n_spins))
    if method == "random":
        spins[:] = np.random.default_rng(1).choice([-1.0, 1.0], spins.shape)
    elif method == "descent":
        descend(np.ascontiguousarray(model.J, dtype=np.float64), model.h, 1, spins)
    else:
        _for_seconds({"annealing": anneal, "tabu": search}[method], model, seconds, spins)
    return model.energy(spins.astype(np.int8))


def _of_lowered(model: IsingModel, seconds: float) -> NDArray[np.float64]:
    """Return energies of the minima that tabu search finds of the model in levels of 8 bits."""
    lowering = lower(model, make_driver(EIGHT_BITS).describe())
    couplings = dense(lowering.coupling).astype(float)
    lowered = IsingModel.from_couplings(couplings, lowering.field.astype(float))
    spins = np.empty((RUNS, lowered.n_spins))
    _for_seconds(search, lowered, seconds, spins)
    return model.energy(lowering.lift(spins.astype(np.int8)))


PEERS = ("random", "descent", "annealing", "tabu", LOWERED, "reference")


def rows_of(
    family: str, instance: int, asked: list[str], done: set[str], seed: int
) -> Iterator[Row]:
    """Run what is not done on an instance."""
    rng = np.random.default_rng([seed, list(FAMILIES).index(family), instance])
    model = FAMILIES[family](rng)
    clock = 0.1
    for method in [CLOCK, *asked]:
        preset, _, how = method.partition(", ")
        capabilities = make_driver(preset).describe()
        takes_another = bool(model.h.any()) and not capabilities.has_field
        if model.n_spins + takes_another > capabilities.max_spins:
            continue
        if method in done and method != CLOCK:
            continue
        with open_device(preset) as session:
            given: dict[str, Any] = {"n_runs": RUNS, **HOW[how or "defaults"]}
            session.sample(model, PumpSchedule((0.0, 1.0), 2), seed=0, **given)  # compiles
            started = time.perf_counter()
            energies = session.sample(model, seed=1, **given).energies
        seconds = time.perf_counter() - started
        if method == CLOCK:
            clock = seconds
        if method not in done:
            done.add(method)
            yield Row(family, instance, method, energies.min(), energies.mean(), seconds)
    fits = model.n_spins < make_driver(EIGHT_BITS).describe().max_spins
    for method in PEERS:
        if method not in done and (fits or method != LOWERED):
            name = "tabu" if method == "reference" else method
            factor = 10 if method in ("reference", LOWERED) else 1
            energies = _peer(model, name, factor * clock)
            yield Row(family, instance, method, energies.min(), energies.mean(), factor * clock)


def _instances(rows: list[Row], family: str) -> Iterator[dict[str, Row]]:
    for instance in sorted({row.instance for row in rows if row.family == family}):
        yield {r.method: r for r in rows if (r.family, r.instance) == (family, instance)}


def misses(row: Row, of_instance: dict[str, Row]) -> bool:
    """Whether the best falls behind descent, or the mean has less than half of what it gains."""
    descent, half = of_instance["descent"], 0.5 * of_instance["random"].mean
    slack = 1e-9 * abs(descent.best)
    return row.best > descent.best + slack or row.mean > 0.5 * descent.mean + half


def _cell(rows: list[Row], family: str, method: str) -> str:
    """Return the gaps of the best and of the mean in percent, bold where one instance misses."""
    gaps, is_bold = [], False
    for found in _instances(rows, family):
        if method not in found:
            return ""
        lowest = min(row.best for row in found.values())
        row = found[method]
        gaps.append([100 * (energy - lowest) / abs(lowest) for energy in (row.best, row.mean)])
        is_bold |= method not in PEERS and misses(row, found)
    if not gaps:
        return ""
    text = ", ".join(f"{gap:.2g}" for gap in np.mean(gaps, axis=0))
    return f"**{text}**" if is_bold else text


def _score(rows: list[Row], families: list[str], method: str) -> str:
    """Return how many instances do not miss, of how many."""
    found = [rows_ for family in families for rows_ in _instances(rows, family) if method in rows_]
    return f"{sum(not misses(each[method], each) for each in found)} of {len(found)}"


def table(rows: list[Row]) -> str:
    """Return a line for each method, a column for each family, and how many instances it meets."""
    methods = list(dict.fromkeys(row.method for row in rows if row.method not in PEERS))
    families = [family for family in FAMILIES if any(row.family == family for row in rows)]
    lines = ["| | " + " | ".join(families) + " | met |", "|---" * (len(families) + 2) + "|"]
    for method in [*sorted(methods), *PEERS[:-1]]:
        cells = " | ".join(_cell(rows, family, method) for family in families)
        name = method if method in PEERS else f"`{method}`"
        lines.append(f"| {name} | {cells} | {_score(rows, families, method)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Compute what is missing, and write rows and table."""
    parser = argparse.ArgumentParser(description="Families of models times presets, by default.")
    parser.add_argument("rows", type=Path, help="JSON of rows so far, and to come")
    parser.add_argument("--table", type=Path, help="Markdown")
    parser.add_argument("--instances", type=int, default=3)
    parser.add_argument("--seed", type=int, default=SEED, help="of the instances")
    parser.add_argument(
        "--only", nargs="+", default=list(FAMILIES), help="families, also of the table"
    )
    names = [driver.name for driver in registered_drivers()]
    presets = [name for name in names if name.startswith("emulator")]
    parser.add_argument("--targets", nargs="+", default=presets)
    parser.add_argument("--how", nargs="+", choices=HOW, default=["defaults"])
    options = parser.parse_args()
    asked = [
        target if how == "defaults" else f"{target}, {how}"
        for target in options.targets
        for how in options.how
    ]
    rows = []
    if options.rows.exists():
        rows = [Row(**row) for row in json.loads(options.rows.read_text())]
    jobs = [(family, k) for k in range(options.instances) for family in options.only]
    for family, instance in track(jobs, console=Console(stderr=True)):
        done = {r.method for r in rows if (r.family, r.instance) == (family, instance)}
        if done.issuperset([*PEERS, *asked]):
            continue
        rows += rows_of(family, instance, asked, done, options.seed)
        options.rows.write_text(json.dumps([asdict(row) for row in rows], indent=0))
    text = table([row for row in rows if row.family in options.only])
    if options.table is not None:
        options.table.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
