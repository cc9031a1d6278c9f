"""How hard the problems are that trainings give to their oracle, and for whom.

    python benchmarks/training/hardness.py measure --problems 5
    python benchmarks/training/hardness.py tables docs/explanation
    python benchmarks/training/hardness.py plot docs/_static/hardness.png
    python benchmarks/training/hardness.py --rows AGAIN measure --problems 1
    python benchmarks/training/hardness.py again AGAIN docs/explanation/_hardness_again.txt

Each problem of each kind of `subproblems` is solved by every method for at least a quarter of a
second of CPU time, one thread. Gaps are to the best value that any of them or eight long annealings
found, in percent of the difference between it and the mean over random bits. The share of runs
that found it gives the success of any number of runs, and the runs themselves the mean gap of the
best of any number. Intervals are of the mean over problems, by a bootstrap over problems; those of
shares of problems are Wilson's. Rows that are in the file are not computed again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from subproblems import KINDS, Subproblem, subproblem
from threadpoolctl import threadpool_limits

from cim_hal import IsingModel, open_device
from qnn_train.solve.host_oracles import QuadraticForm
from qnn_train.solve.oracle import qubo_of

sys.path.append(str(Path(__file__).parents[1]))
from families import tabu

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["MACHINES", "Measured", "Solvers", "main"]

HERE = Path(__file__).parent
ROWS = HERE / "hardness.jsonl"
HOST = ("descent", "annealing", "annealing, long", "tabu")
MACHINES = ("emulator-550", "emulator-1000", "emulator-dsb", "emulator-cac")
POLISHED = ", polished"
SECONDS = 0.25  # CPU time of a method on a problem, and the budget of equal seconds
RUNS = 16  # the budget of equal runs
BATCH = {"descent": 256} | dict.fromkeys(MACHINES, 32) | {"emulator-dsb": 16}
SWEEPS = {"annealing": 100, "annealing, long": 1000}
TABU_STEPS = 20  # for each bit
SAME = 1e-9
LEAST_SHOWN = 0.001  # percent


@dataclass(frozen=True)
class Measured:
    """One method on one problem.

    Attributes
    ----------
    gaps : list of float
        Mean gap of a run, of the best of `RUNS`, of the best in `SECONDS` of CPU time, and of the
        best in as many seconds of the modelled machine, or NaN.
    cpu_s, machine_s : float
        Of a run; the second is round trips times their duration, NaN where there is none.
    first : bool
        Whether the first run is a hit.
    """

    kind: str
    number: int
    method: str
    bits: int
    runs: int
    hits: int
    first: bool
    gaps: list[float]
    cpu_s: float
    machine_s: float


class Solvers:
    """Every method on one problem; all give bits (runs, n)."""

    def __init__(self, problem: Subproblem, sessions: dict[str, Any], *, seed: int) -> None:
        self.problem, self._sessions, self._seed = problem, sessions, seed
        self.form = QuadraticForm.of(problem.gradient)
        Q, offset = qubo_of(problem.gradient)
        self._model = IsingModel.from_qubo(Q, offset)
        self._rng = np.random.default_rng([seed, problem.number])

    @property
    def n_bits(self) -> int:
        """Bits of the problem."""
        return len(self.problem.gradient) - 1

    def of(self, method: str) -> Callable[[int], NDArray[np.int8]]:
        """Return the method of a name, a function of the number of runs."""
        if method in self._sessions:
            return lambda runs: self._machine(method, runs)
        if method == "tabu":
            steps = TABU_STEPS * self.n_bits
            return lambda runs: tabu(self._model, runs, steps, self._draw())
        if method == "descent":
            return lambda runs: self.form.descended(self._starts(runs))[0]
        return lambda runs: self.annealed(runs, SWEEPS[method])

    def fits(self, method: str) -> bool:
        """Tell whether a machine takes the problem."""
        if method not in self._sessions:
            return True
        capabilities = self._sessions[method].capabilities
        return self.n_bits + capabilities.field_spins <= capabilities.max_spins

    def annealed(self, runs: int, sweeps: int) -> NDArray[np.int8]:
        """Return where annealings of so many sweeps and a descent end."""
        streams = self._rng.integers(0, 2**64, runs, np.uint64)
        return self.form.descended(self.form.annealed(self._starts(runs), sweeps, streams))[0]

    def machine_s(self, method: str) -> float:
        """Return the modelled seconds of a run, NaN for what has no round trips."""
        trip = self._sessions[method].capabilities.round_trip_s if method in MACHINES else None
        trips = self._sessions[method].capabilities.default_round_trips if trip else 0
        return trip * trips if trip else float("nan")

    def _machine(self, name: str, runs: int) -> NDArray[np.int8]:
        return self._sessions[name].sample(self._model, n_runs=runs, seed=self._draw()).as_bits()

    def _starts(self, runs: int) -> NDArray[np.int8]:
        return self._rng.integers(0, 2, (runs, self.n_bits), np.int8)

    def _draw(self) -> int:
        return int(self._rng.integers(2**31))


@dataclass(frozen=True, eq=False)
class _Runs:
    """The values of all runs of a method, and the CPU seconds of one."""

    values: NDArray[np.float64]
    cpu_s: float
    machine_s: float


def measured(solvers: Solvers, methods: list[str], seconds: float) -> list[Measured]:
    """Return a row for each method, and one for each machine with its samples polished."""
    found: dict[str, _Runs] = {}
    for method in filter(solvers.fits, methods):
        found |= _timed(solvers, method, seconds)
    best = min(*(float(runs.values.min()) for runs in found.values()), _reference(solvers))
    if solvers.problem.least is not None:
        best = solvers.problem.least
    form = solvers.form
    mean = form.gradient[0, 0] + 0.5 * form.linear.sum() + 0.125 * form.coupling.sum()
    named = [(name, runs, (runs.values - best) / (mean - best)) for name, runs in found.items()]
    return [_row(solvers, name, runs, gaps, seconds) for name, runs, gaps in named]


def _timed(solvers: Solvers, method: str, seconds: float) -> dict[str, _Runs]:
    """Run a method until its time is over, at least one batch; the first call is not counted."""
    make, gradient = solvers.of(method), solvers.problem.gradient
    make(2)  # compiles
    bits, polished, spent, extra = [], [], 0.0, 0.0
    while spent < seconds:
        start = time.process_time()
        bits.append(make(BATCH.get(method, 16)))
        spent += time.process_time() - start
        if method in MACHINES:
            start = time.process_time()
            polished.append(solvers.form.descended(bits[-1])[0])
            extra += time.process_time() - start
    runs, machine_s = sum(map(len, bits)), solvers.machine_s(method)
    found = {method: _Runs(_values(gradient, bits), spent / runs, machine_s)}
    if polished:
        together = _Runs(_values(gradient, polished), (spent + extra) / runs, machine_s)
        found[method + POLISHED] = together
    return found


def _values(gradient: NDArray[np.float64], bits: list[NDArray[np.int8]]) -> NDArray[np.float64]:
    """Return values in the order of the runs."""
    Q, offset = qubo_of(gradient)
    vectors = np.concatenate(bits).astype(np.float64)
    return np.einsum("rn,rn->r", vectors @ Q, vectors) + offset


def _reference(solvers: Solvers) -> float:
    """Return the least value of eight long annealings."""
    return float(_values(solvers.problem.gradient, [solvers.annealed(8, 4000)]).min())


def _row(
    solvers: Solvers, method: str, runs: _Runs, gaps: NDArray[np.float64], seconds: float
) -> Measured:
    hit = gaps <= SAME
    counts = [1.0, RUNS, seconds / runs.cpu_s, seconds / runs.machine_s]
    return Measured(
        kind=solvers.problem.kind,
        number=solvers.problem.number,
        method=method,
        bits=solvers.n_bits,
        runs=len(gaps),
        hits=int(hit.sum()),
        first=bool(hit[0]),
        gaps=[best_of(np.maximum(gaps, 0.0), count) for count in counts],
        cpu_s=runs.cpu_s,
        machine_s=runs.machine_s,
    )


def best_of(values: NDArray[np.float64], count: float) -> float:
    """Return the mean of the least of `count` values, at least one, drawn with replacement."""
    if np.isnan(count):
        return float("nan")
    above = (np.arange(len(values), -1, -1) / len(values)) ** max(1.0, count)
    return float(np.sort(values) @ (above[:-1] - above[1:]))


def measure(options: argparse.Namespace) -> None:
    """Measure what is missing: a problem of each kind in turn."""
    done = {(row.kind, row.number) for row in read(options.rows)}
    methods = [*HOST, *options.machines]
    with threadpool_limits(1):
        sessions = {name: open_device(name, timeout_s=600) for name in options.machines}
        for number in range(options.problems):
            for kind in options.kinds:
                if (kind, number) in done:
                    continue
                solvers = Solvers(subproblem(kind, number), sessions, seed=options.seed)
                rows = measured(solvers, methods, options.seconds)
                with options.rows.open("a") as file:
                    file.writelines(json.dumps(asdict(row)) + "\n" for row in rows)
        for session in sessions.values():
            session.close()


def read(path: Path) -> list[Measured]:
    """Return the rows of a file, none where there is no file."""
    if not path.exists():
        return []
    return [Measured(**json.loads(line)) for line in path.read_text().splitlines()]


# What a table shows of a row, in percent: success and gap of `RUNS` runs and of `SECONDS`.
SHOWN: dict[str, Callable[[Measured], float]] = {
    "success, 16 runs": lambda row: 100 * _success(row, RUNS),
    "success, equal seconds": lambda row: 100 * _success(row, SECONDS / row.cpu_s),
    "gap, 16 runs": lambda row: 100 * row.gaps[1],
    "gap, equal seconds": lambda row: 100 * row.gaps[2],
    "gap, modelled seconds": lambda row: 100 * row.gaps[3],
}


def _success(row: Measured, count: float) -> float:
    """Return the chance that one of a number of runs is a hit."""
    return 1.0 - (1.0 - row.hits / row.runs) ** max(1.0, count)


def interval(values: list[float]) -> tuple[float, float, float]:
    """Return the mean, and its 95 % interval by a bootstrap over problems."""
    drawn = np.random.default_rng(0).choice(values, (10_000, len(values))).mean(axis=1)
    return float(np.mean(values)), *(float(q) for q in np.percentile(drawn, [2.5, 97.5]))


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share."""
    z = 1.96
    middle = (hits + z**2 / 2) / (count + z**2)
    half = z / (count + z**2) * np.sqrt(hits * (count - hits) / count + z**2 / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def _cell(rows: list[Measured], shown: Callable[[Measured], float]) -> str:
    if not rows or np.isnan(shown(rows[0])):
        return ""
    mean, low, high = interval([shown(row) for row in rows])
    return f"{_number(mean)} ({_number(low)}-{_number(high)})"


def _number(percent: float) -> str:
    if percent >= 99.5 or percent == 0.0:
        return f"{percent:.0f}"
    return f"{percent:.2g}" if percent >= LEAST_SHOWN else f"<{LEAST_SHOWN}"


def _kind_table(rows: list[Measured]) -> Iterator[str]:
    """Yield lines: each kind, its size, and the share of problems that one descent solves."""
    yield "| kind | bits | problems | one descent solves, % |"
    yield "|---|---|---|---|"
    for kind in KINDS:
        mine = [row for row in rows if (row.kind, row.method) == (kind, "descent")]
        if not mine:
            continue
        bits, solved = {row.bits for row in mine}, sum(row.first for row in mine)
        size = f"{min(bits)}" if len(bits) == 1 else f"{min(bits)}-{max(bits)}"
        low, high = wilson(solved, len(mine))
        share = f"{100 * solved / len(mine):.0f} ({100 * low:.0f}-{100 * high:.0f})"
        yield f"| {kind} | {size} | {len(mine)} | {share} |"


def _method_table(rows: list[Measured], methods: list[str], name: str) -> Iterator[str]:
    """Yield lines: each kind, and what each method reached."""
    yield "| " + " | ".join([name + ", %", *(_label(m) for m in methods)]) + " |"
    yield "|---" * (len(methods) + 1) + "|"
    for kind in KINDS:
        of = {m: [row for row in rows if (row.kind, row.method) == (kind, m)] for m in methods}
        if any(of.values()):
            cells = [_cell(of[method], SHOWN[name]) for method in methods]
            yield "| " + " | ".join([kind, *cells]) + " |"


def _label(method: str) -> str:
    name = method.removesuffix(POLISHED)
    if name not in MACHINES:
        return name
    return f"`{name}`" if name == method else f"`{name}` +"


def tables(options: argparse.Namespace) -> None:
    """Write all tables into a folder; a machine with its samples polished has a plus."""
    rows = read(options.rows)
    polished = [*HOST, *(name + POLISHED for name in MACHINES)]
    modelled = [name + end for end in ("", POLISHED) for name in MACHINES[:2]]
    wanted = {"kinds": _kind_table(rows)}
    for name in SHOWN:
        methods = modelled if name.endswith("modelled seconds") else polished
        wanted[name] = _method_table(rows, methods, name)
    wanted["unpolished"] = _method_table(rows, [*MACHINES], "gap, 16 runs")
    for name, lines in wanted.items():
        file = options.folder / f"_hardness_{name.replace(', ', '_').replace(' ', '_')}.txt"
        file.write_text("\n".join(lines) + "\n")


def again(options: argparse.Namespace) -> None:
    """Write a table of problems that were measured twice: mean gaps at equal seconds."""
    methods = [*HOST[1:3], *(name + POLISHED for name in MACHINES)]
    files = [
        {(row.kind, row.number, row.method): 100 * row.gaps[2] for row in read(path)}
        for path in (options.rows, options.again)
    ]
    lines = ["| kind | problems | " + " | ".join(map(_label, methods)) + " |"]
    lines.append("|---" * (2 + len(methods)) + "|")
    for kind in KINDS:
        numbers = sorted({key[1] for key in files[1] if key[0] == kind})
        cells = [kind, f"{len(numbers)}"]
        for method in methods if numbers else ():
            keys = [(kind, number, method) for number in numbers]
            known = all(key in file for key in keys for file in files)
            means = [_number(np.mean([file[key] for key in keys])) for file in files if known]
            cells.append(" → ".join(means))
        if numbers:
            lines.append("| " + " | ".join(cells) + " |")
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def plot(options: argparse.Namespace) -> None:
    """Draw the gaps of all methods at equal seconds, a line for each kind."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read(options.rows)
    figure = Figure(figsize=(8.5, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    kinds = [kind for kind in KINDS if any(row.kind == kind for row in rows)][::-1]
    for method, (color, marker) in STYLES.items():
        mine = [[r for r in rows if (r.kind, r.method) == (kind, method)] for kind in kinds]
        at = [place for place, found in enumerate(mine) if found]
        spans = [interval([100 * row.gaps[2] for row in found]) for found in mine if found]
        means, lows, highs = (np.maximum(part, FLOOR) for part in np.transpose(spans))
        shift = 0.36 - 0.72 * list(STYLES).index(method) / (len(STYLES) - 1)
        places = np.array(at) + shift
        axes.hlines(places, lows, highs, color=color, linewidth=1.0)
        axes.plot(means, places, marker, color=color, markersize=5, label=method)
    axes.set_xscale("log")
    axes.set_yticks(range(len(kinds)), kinds)
    for edge in range(len(kinds) - 1):
        axes.axhline(edge + 0.5, color="#e3e6ea", linewidth=0.7)
    axes.set_xlabel(f"gap of the best in {SECONDS:g} s of CPU time (%); {FLOOR:g} and less: solved")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    figure.savefig(options.out, dpi=150)


FLOOR = 1e-5
STYLES = {
    "descent": ("#7a7a7a", "s"),
    "annealing": ("#c2571a", "s"),
    "annealing, long": ("#e0a040", "s"),
    "tabu": ("#6a4c93", "s"),
    "emulator-550, polished": ("#1f3a5f", "o"),
    "emulator-1000, polished": ("#3f7fbf", "o"),
    "emulator-dsb, polished": ("#2f8f6b", "D"),
    "emulator-cac, polished": ("#b0204a", "D"),
}


def main() -> None:
    """Measure, or make tables or the picture of what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, default=ROWS)
    commands = parser.add_subparsers(required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    measuring.add_argument("--problems", type=int, default=5, help="of each kind")
    measuring.add_argument("--machines", nargs="*", choices=MACHINES, default=MACHINES)
    measuring.add_argument("--seconds", type=float, default=SECONDS)
    measuring.add_argument("--seed", type=int, default=0)
    measuring.set_defaults(command=measure)
    writing = commands.add_parser("tables")
    writing.add_argument("folder", type=Path)
    writing.set_defaults(command=tables)
    repeating = commands.add_parser("again")
    repeating.add_argument("again", type=Path, help="rows that were measured again")
    repeating.add_argument("out", type=Path)
    repeating.set_defaults(command=again)
    drawing = commands.add_parser("plot")
    drawing.add_argument("out", type=Path)
    drawing.set_defaults(command=plot)
    args = parser.parse_args()
    args.command(args)


if __name__ == "__main__":
    main()
