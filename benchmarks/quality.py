"""How good the machines are: every family of benchmark models, chosen machines, several seeds.

    python benchmarks/quality.py quality
    python benchmarks/quality.py quality --machines emulator-dsb emulator-cac --seeds 3

Writes ``quality/rows.json``, one row for each model, machine and seed, and ``quality/table.md``.
Rows that are there already are not computed again. Machines run with their default schedule and
settings, through the public interface; the seconds of a row are those of the whole job. Reference
values are those of ``instances/best_known.json`` and of the files of instances themselves.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cim_hal import IsingModel, open_device, read_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

MACHINES = ("emulator-dsb", "emulator-bsb", "emulator-cac", "emulator-cfc", "emulator-sfc")
GLASSES = ("SK1_N10", "SK1_N20", "SK1_N100", "MC50_N100")
BIQMAC = ("g05_100.0", "pm1d_100.0", "t2g10_5555")
GSET = ("G1", "G14", "G22", "G32", "G43")
RUNS = {"gen550_int8": 256, "K2000": 128, "G22": 512} | dict.fromkeys(GLASSES, 256)
DEFAULT_RUNS = 256


@dataclass(frozen=True, eq=False)
class Problem:
    """A model and the best that is known of it: the largest cut, or the lowest energy."""

    name: str
    model: IsingModel
    best_known: float
    is_cut: bool

    @property
    def family(self) -> str:
        """Instances of one family share a line of the table."""
        return self.name.partition("/")[0]

    def values(self, energies: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return cuts, (sum of the weights - E) / 2, or energies as they are."""
        return -0.25 * self.model.J.sum() - 0.5 * energies if self.is_cut else energies

    def gaps(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far values fall short of the best known."""
        return (self.best_known - values) * (1 if self.is_cut else -1)


def problems(folder: Path) -> Iterator[Problem]:
    """Read all models."""
    known = json.loads((folder / "best_known.json").read_text())
    for family in GLASSES:
        with np.load(folder / f"sk/{family}.npz") as archive:
            pairs = zip(archive["W"], archive["listed_ground_energies"], strict=True)
            for number, (W, energy) in enumerate(pairs):
                model = IsingModel.from_maxcut(W.astype(np.float64))
                yield Problem(f"{family}/{number}", model, float(energy), is_cut=False)
    for name in BIQMAC:
        model = read_model(folder / f"biqmac/{name}.txt").model
        yield Problem(name, model, known[name]["cut"], is_cut=True)
    qubo = read_qubo(folder / "biqmac/bqp250-1.sparse")
    yield Problem("bqp250-1", qubo, known["bqp250-1"]["qubo_min"], is_cut=False)
    with np.load(folder / "dense/gen550_int8.npz") as archive:
        model = IsingModel.from_couplings(archive["J"].astype(np.float64))
    yield Problem("gen550_int8", model, known["gen550_int8"]["energy"], is_cut=False)
    for name in GSET:
        model = read_model(folder / f"gset/{name}.txt").model
        yield Problem(name, model, known[name]["cut"], is_cut=True)
    complete = read_complete_graph(folder / "dense/K2000.npz")
    yield Problem("K2000", complete, known["K2000"]["cut"], is_cut=True)


def read_qubo(file: Path) -> IsingModel:
    """Read a symmetric matrix to be minimized, one triangle of it as lines ``i j value``."""
    rows = np.loadtxt(file, skiprows=1)
    i, j = rows[:, 0].astype(int) - 1, rows[:, 1].astype(int) - 1
    Q = np.zeros((max(i.max(), j.max()) + 1,) * 2)
    Q[i, j] = Q[j, i] = rows[:, 2]
    return IsingModel.from_qubo(Q)


def read_complete_graph(file: Path) -> IsingModel:
    """Read weights -1 and 1, a bit each, of the upper triangle row by row."""
    with np.load(file) as archive:
        upper = np.triu_indices(int(archive["n"]), 1)
        W = np.zeros((int(archive["n"]),) * 2)
        W[upper] = 2.0 * np.unpackbits(archive["bits"])[: len(upper[0])] - 1
    return IsingModel.from_maxcut(W + W.T)


@dataclass(frozen=True)
class Row:
    """A job and its outcome; `hits` is the share of runs at the best known value."""

    problem: str
    machine: str
    seed: int
    runs: int
    best_known: float
    best: float
    gap: float
    mean_gap: float
    hits: float
    seconds: float

    @property
    def job(self) -> tuple[Any, ...]:
        """What tells a row from all others."""
        return self.problem, self.machine, self.seed, self.runs

    @property
    def family(self) -> str:
        """That of the problem."""
        return self.problem.partition("/")[0]


def solve(problem: Problem, machine: str, seed: int, runs: int) -> Row:
    """Run a job."""
    with open_device(machine) as device:
        start = time.perf_counter()
        samples = device.sample(problem.model, n_runs=runs, seed=seed)
        seconds = time.perf_counter() - start
    values = problem.values(samples.energies)
    gaps, slack = problem.gaps(values), 1e-9 * abs(problem.best_known)
    return Row(
        problem=problem.name,
        machine=machine,
        seed=seed,
        runs=runs,
        best_known=problem.best_known,
        best=float(values[gaps.argmin()]),
        gap=float(gaps.min()),
        mean_gap=float(gaps.mean()),
        hits=float(np.mean(gaps <= slack)),
        seconds=round(seconds, 3),
    )


def table(rows: Sequence[Row]) -> str:
    """Return medians over seeds in Markdown: a line for each problem or family, and machine."""
    lines = [
        "| problem | machine | runs | best known | median best | median gap | solved | hits | s |",
        "|" + "---|" * 9,
    ]
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.family, row.machine), []).append(row)
    for (family, machine), some in groups.items():
        gap, seconds, hits = (
            np.median([getattr(row, name) for row in some]) for name in ("gap", "seconds", "hits")
        )
        solved = sum(row.gap <= 1e-9 * abs(row.best_known) for row in some)
        is_one = len({row.problem for row in some}) == 1
        known = f"{some[0].best_known:.0f}" if is_one else "of each"
        best = f"{np.median([row.best for row in some]):.0f}" if is_one else ""
        cells = (family, machine, some[0].runs, known, best, f"{gap:.6g}")
        cells += (f"{solved} of {len(some)}", f"{hits:.3f}", f"{seconds:.2f}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Compute what is missing, and write all there is."""
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / "rows.json"
    rows = [Row(**row) for row in json.loads(path.read_text())] if path.exists() else []
    done = {row.job for row in rows}
    wanted = [p for p in problems(options.shared / "instances") if _chosen(p, options.only)]
    jobs = [
        (problem, machine, seed, RUNS.get(problem.family, DEFAULT_RUNS))
        for problem in wanted
        for machine in options.machines
        for seed in range(options.seeds)
    ]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(jobs))
        for problem, machine, seed, runs in jobs:
            progress.update(task, description=f"{problem.name} {machine} {seed}")
            if (problem.name, machine, seed, runs) not in done:
                rows.append(solve(problem, machine, seed, runs))
                path.write_text(json.dumps([asdict(row) for row in rows], indent=1))
            progress.advance(task)
    place = {(problem.name, machine): k for k, (problem, machine, *_) in enumerate(jobs)}
    rows.sort(key=lambda row: place.get((row.problem, row.machine), len(jobs)))
    markdown = table(rows)
    (options.folder / "table.md").write_text(markdown)
    print(markdown)


def _chosen(problem: Problem, only: Sequence[str]) -> bool:
    return not only or any(name in problem.name for name in only)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How good the machines are.")
    beside = Path(__file__).parents[2] / "shared"
    shared = Path(os.environ.get("CIM_SHARED_DIR", beside))
    parser.add_argument("folder", type=Path, help="rows so far, and the table")
    parser.add_argument("--machines", nargs="+", default=MACHINES)
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 0 on")
    parser.add_argument("--only", nargs="+", default=[], help="parts of the problems' names")
    parser.add_argument("--shared", type=Path, default=shared, help="reference instances")
    return parser.parse_args()


if __name__ == "__main__":
    main()
