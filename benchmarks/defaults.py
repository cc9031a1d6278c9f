"""What every machine makes of a model when it is told nothing but couplings and field.

    python benchmarks/defaults.py docs/explanation/_defaults_table.txt

All targets by name, with their default schedule and settings, on small models of many kinds. Those
with fields have their ground states from exhaustion.
"""

from __future__ import annotations

import argparse
import os
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import quality
from rich.console import Console
from rich.progress import track

from cim_hal import IsingModel, make_driver, registered_drivers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quality import Problem, Row

    from cim_hal import Capabilities

COLUMNS = {
    "three spins": "3 spins",
    "fields": "20 spins, fields",
    "held": "20 spins, half held",
    "SK1_N100": "SK, 100",
    "t2g10_5555": "torus, 100",
    "bqp250-1": "QUBO, 250",
    "gen550_int8": "dense, 550",
    "G1": "G1, 800",
}
RUNS, SEEDS = 64, 3


def problems(folder: Path) -> Iterator[Problem]:
    """Make models with fields, and read the others."""
    rng = np.random.default_rng(20)
    for k in range(4):
        yield _exact(f"three spins/{k}", _glass(rng, 3), rng.normal(size=3))
    for k, strength in enumerate((0.3, 1.0, 3.0) * 2):
        # in norms of a row
        yield _exact(f"fields/{k}", _glass(rng, 20), strength * np.sqrt(19) * rng.normal(size=20))
    for k in range(6):
        h = np.zeros(20)
        h[10:] = 100.0 * rng.choice([-1.0, 1.0], 10)
        yield _exact(f"held/{k}", _glass(rng, 20), h)
    yield from (problem for problem in quality.problems(folder) if problem.family in COLUMNS)


def _glass(rng: np.random.Generator, n: int) -> np.ndarray:
    upper = np.triu(rng.normal(size=(n, n)), 1)
    return upper + upper.T


def _exact(name: str, J: np.ndarray, h: np.ndarray) -> Problem:
    model = IsingModel.from_couplings(J, h)
    codes = np.arange(2 ** len(h))
    spins = 1 - 2 * ((codes[:, None] >> np.arange(len(h))) & 1).astype(np.int8)
    return quality.Problem(name, model, float(model.energy(spins).min()), is_cut=False)


def table(rows: list[Row]) -> str:
    """Return a line for each machine: share of runs at the best known, mean gap in percent."""
    lines = ["| | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for machine, of_machine in groupby(rows, key=lambda row: row.machine):
        some = list(of_machine)
        cells = (_cell([row for row in some if row.family == family]) for family in COLUMNS)
        lines.append(f"| `{machine}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(rows: list[Row]) -> str:
    if not rows:
        return ""
    hits = np.mean([row.hits for row in rows])
    gap = 100 * np.mean([row.mean_gap / abs(row.best_known) for row in rows])
    return f"{hits:.2f}, {gap:.2g}"


def _fits(model: IsingModel, capabilities: Capabilities) -> bool:
    takes_another = bool(model.h.any()) and not capabilities.has_field
    return model.n_spins + takes_another <= capabilities.max_spins


def main() -> None:
    """Run all machines on all models that fit them, and write the table."""
    parser = argparse.ArgumentParser(description="What every machine does by default.")
    beside = Path(__file__).parents[2] / "shared"
    shared = Path(os.environ.get("CIM_SHARED_DIR", beside))
    parser.add_argument("file", type=Path, help="the table")
    parser.add_argument("--shared", type=Path, default=shared, help="reference instances")
    names = [driver.name for driver in registered_drivers()]
    targets = [name for name in names if name.startswith("emulator")]
    parser.add_argument("--targets", nargs="+", default=targets)
    options = parser.parse_args()
    models = list(problems(options.shared / "instances"))
    jobs = [
        (problem, name, seed)
        for name in options.targets
        for problem in models
        for seed in range(SEEDS)
        if _fits(problem.model, make_driver(name).describe())
    ]
    rows = [quality.solve(*job, RUNS) for job in track(jobs, console=Console(stderr=True))]
    options.file.write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
