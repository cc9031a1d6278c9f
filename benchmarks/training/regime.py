"""Does training gain by a machine where its problems are hard? On data and seeds not seen before.

    python benchmarks/training/regime.py run
    python benchmarks/training/regime.py tables docs/explanation

Fixed on 2026-11-29, before any of these rows: after `hardness.py` had measured the first problems
of 15 kinds with 8 methods (and 4 with polish), on other data and seeds, and six temperature ranges
of annealing, none of which was better than the library's. There, programs in penalty form, those of
minimal networks above all, were the only kinds in which a machine (amplitude control, samples
polished) came below annealing at equal CPU time. QCGD's problems were hard for descents, and
annealing came lowest. Three tasks: minimal networks of three neurons in penalty form, on sets of
points that were not searched on; and 20 images of pairs of classes that were not searched on, by
the penalty method with the weight of `penalty, tuned`, and by QCGD.

Each oracle makes 8 calls of 32 runs. Descents and annealings have 80 and 4 times as many in a
second row, which takes at least the CPU time of `emulator-550`. Controls without a program:
random networks, as many; and descents by single flips of network bits on the exact loss or, for
images, on the labelled images that score all candidates.

What counts is the loss above the least of all networks (minimal), and the test accuracy (images).
The answer is yes where a machine is ahead of annealing at equal seconds, and of the flips of
network bits, both by a paired difference whose interval excludes zero at 99.4 % (nine
comparisons). No oracle, setting or task was changed afterwards.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats
from subproblems import SAMPLES, minimal_program, points
from tasks import dataset
from threadpoolctl import threadpool_limits

from cim_hal import open_device
from qnn_train import (
    AnnealingOracle,
    DescentOracle,
    PolishedOracle,
    QuantizedNetwork,
    Recipe,
    SessionOracle,
    load_digits,
    prepare,
)
from qnn_train.solve import default_weight, polish
from qnn_train.solve.penalty import penalty_gradient
from qnn_train.training.methods import Gradient, Penalty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from qnn_train import Task
    from qnn_train.solve.oracle import Oracle
    from qnn_train.training.methods import Method
    from qnn_train.training.qcbo import Preparation

ROWS = Path(__file__).parent / "regime.jsonl"
CALLS, RUNS, FIRST_SEED = 8, 32, 2000
MACHINES = ("emulator-550", "emulator-1000", "emulator-cac")
HOST: dict[str, Callable[[int], Oracle]] = {
    "descent": lambda seed: DescentOracle(RUNS, seed=seed),
    "descent, equal seconds": lambda seed: DescentOracle(80 * RUNS, seed=seed),
    "annealing": lambda seed: AnnealingOracle(RUNS, seed=seed),
    "annealing, equal seconds": lambda seed: AnnealingOracle(4 * RUNS, seed=seed),
}
FLIPS, RANDOM = "flips of network bits", "random networks"
STARTS = 16  # of the flips of a minimal network; images have one, the best random network
SHAPES = ("rotated xor", "stripes", "checkerboard")
SETS = {"fashion 1,3": (1, 3), "fashion 7,9": (7, 9), "digits 3,8": (3, 8)}
SEEDS = {"minimal": 6, "images, penalty": 3, "images, qcgd": 3}
FACTOR = 0.001


@dataclass(frozen=True)
class SearchOutcome:
    """Networks that a search found, and how good the chosen one is."""

    loss: float
    train: float
    test: float


class Minimal:
    """Three neurons on a set of points; chosen by the loss on the points of the program."""

    def __init__(self, shape: str, seed: int) -> None:
        self.task, self._least = minimal_program(shape, SAMPLES, FIRST_SEED + seed)
        self.method: Method = Penalty(weights=[self._least + 1.0])
        self._fresh = points(shape, 1000, 10 * (FIRST_SEED + seed))

    def judged(self, bits: NDArray[np.int8]) -> SearchOutcome:
        """Choose a network and measure it."""
        best = bits[int(self._losses(bits).argmin())]
        network = QuantizedNetwork.from_bits(self.task.architecture, best)
        shown = (network.predict(self.task.inputs), self.task.labels)
        fresh = (network.predict(self._fresh[0]), self._fresh[1])
        train, test = (float(np.mean(answers == labels)) for answers, labels in (shown, fresh))
        return SearchOutcome(float(self._losses(best[None])[0]) - self._least, train, test)

    def flipped(self, starts: NDArray[np.int8]) -> NDArray[np.int8]:
        """Return where descents by single flips of network bits end."""
        return np.array([self._descended(start) for start in starts[:STARTS]])

    def _descended(self, bits: NDArray[np.int8]) -> NDArray[np.int8]:
        loss = float(self._losses(bits[None])[0])
        while True:
            neighbours = bits ^ np.eye(len(bits), dtype=np.int8)
            losses = self._losses(neighbours)
            if losses.min() >= loss:
                return bits
            bits, loss = neighbours[int(losses.argmin())], float(losses.min())

    def _losses(self, bits: NDArray[np.int8]) -> NDArray[np.float64]:
        assembly = self.task.assembly
        return np.concatenate(
            [
                np.atleast_1d(assembly.qcbo.objective(assembly.complete(part)))
                for part in np.array_split(bits, -(-len(bits) // 1000))
            ]
        )


class Images:
    """Twenty images of two classes; chosen by the accuracy on the training split."""

    def __init__(self, name: str, seed: int, method: str) -> None:
        images = load_digits() if name.startswith("digits") else dataset()
        self._prepared: Preparation = prepare(
            Recipe(seed=FIRST_SEED + seed), images.pair(*SETS[name])
        )
        self.task: Task = self._prepared.task
        weight = FACTOR * default_weight(self.task.qcbo)
        self.method: Method = Gradient() if method == "qcgd" else Penalty(weights=[weight])

    def judged(self, bits: NDArray[np.int8]) -> SearchOutcome:
        """Choose a network and measure it."""
        network = QuantizedNetwork.from_bits(self.task.architecture, self._best(bits))
        shown = self._prepared.scorer.best(network[None])[1].accuracy
        test = self._prepared.examples(self._prepared.pair.test)
        right = float(np.mean(network.predict(test.inputs) == test.labels))
        return SearchOutcome(float("nan"), shown, right)

    def flipped(self, starts: NDArray[np.int8]) -> NDArray[np.int8]:
        """Return where single flips of bits of the best network end."""
        scorer, start = self._prepared.scorer, self._best(starts)
        return polish(self.task.architecture, scorer, start).bits[None]

    def _best(self, bits: NDArray[np.int8]) -> NDArray[np.int8]:
        """Return the best of many networks, some at a time."""
        scorer, architecture = self._prepared.scorer, self.task.architecture
        while len(bits) > 1:
            parts = np.array_split(bits, -(-len(bits) // 256))
            networks = (QuantizedNetwork.from_bits(architecture, part) for part in parts)
            winners = [scorer.best(each)[0] for each in networks]
            bits = np.array([part[at] for part, at in zip(parts, winners, strict=True)])
        return bits[0]


def instance(task: str, name: str, seed: int) -> Minimal | Images:
    """Return a problem of training."""
    return Minimal(name, seed) if task == "minimal" else Images(name, seed, task.rpartition(" ")[2])


def searched(problem: Minimal | Images, oracle: Oracle, calls: int) -> NDArray[np.int8]:
    """Return the different networks of all samples of a method's first calls."""
    n_bits = problem.task.architecture.n_bits
    steps = islice(problem.method.start(problem.task, oracle), calls)
    return np.unique(np.concatenate([step.bits[:, :n_bits] for step in steps]), axis=0)


def row_of(
    problem: Minimal | Images, search: str, session: Any, *, seed: int, calls: int = CALLS
) -> dict[str, Any]:
    """Search, choose, and measure; only the search is timed."""
    rng = np.random.default_rng([seed, 1])
    shape = (calls * RUNS, problem.task.architecture.n_bits)
    starts = rng.integers(0, 2, shape, np.int8)
    start = time.process_time()
    if search in HOST:
        bits = searched(problem, HOST[search](seed), calls)
    elif search in MACHINES:
        machine = SessionOracle(session, n_runs=RUNS, seed=seed)
        bits = searched(problem, PolishedOracle(machine), calls)
    else:
        bits = starts if search == RANDOM else problem.flipped(starts)
    spent = time.process_time() - start
    return {
        "search": search,
        "cpu_s": round(spent, 3),
        "machine_s": _machine_s(session, calls) if search in MACHINES else None,
        "networks": len(bits),
        **vars(problem.judged(bits)),
    }


def _machine_s(session: Any, calls: int) -> float | None:
    """Return the modelled seconds of all round trips."""
    capabilities = session.capabilities
    trip = capabilities.round_trip_s
    return None if trip is None else calls * RUNS * capabilities.default_round_trips * trip


def run(options: argparse.Namespace) -> None:
    """Make the rows that are missing, a seed of every task in turn."""
    done = {tuple(row[k] for k in ("task", "name", "seed", "search")) for row in read(options.rows)}
    searches = (*HOST, *MACHINES, RANDOM, FLIPS)
    with threadpool_limits(1):
        sessions = {name: open_device(name, timeout_s=600) for name in MACHINES}
        for seed, task in product(range(max(SEEDS.values())), SEEDS):
            for name in SHAPES if task == "minimal" else SETS:
                missing = [s for s in searches if (task, name, seed, s) not in done]
                if seed >= SEEDS[task] or not missing:
                    continue
                problem = instance(task, name, seed)
                for search in missing:
                    row = row_of(problem, search, sessions.get(search), seed=seed)
                    with options.rows.open("a") as file:
                        named = {"task": task, "name": name, "seed": seed}
                        file.write(json.dumps(named | row) + "\n")
        for session in sessions.values():
            session.close()


def violations(_: argparse.Namespace) -> None:
    """Print what violated constraints are of the best values, on programs that were searched on."""
    print("program, search: best value, of it violated; samples that satisfy all constraints")
    with threadpool_limits(1):
        sessions = {name: open_device(name, timeout_s=600) for name in MACHINES}
        for seed, search in product(range(1000, 1003), ("descent", "annealing", *MACHINES)):
            task, least = minimal_program("xor", SAMPLES, seed)
            oracle: Oracle = {
                "descent": DescentOracle(8 * RUNS, seed=seed),
                "annealing": AnnealingOracle(8 * RUNS, seed=seed),
            }.get(search) or PolishedOracle(
                SessionOracle(sessions[search], n_runs=8 * RUNS, seed=seed)
            )
            answer = oracle.minimize(penalty_gradient(task.qcbo, least + 1.0))
            share = 1.0 - float(task.qcbo.objective(answer.best)) / answer.values[0]
            good = float(task.qcbo.is_feasible(answer.bits).mean())
            print(f"{seed}, {search}: {answer.values[0]:.0f}, {share:.0%}; {good:.0%}", flush=True)
        for session in sessions.values():
            session.close()


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file, none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


COLUMNS = ("loss", "train", "test")
RIVALS = ("annealing, equal seconds", FLIPS)
LEVEL = 0.05 / 9  # of the comparisons that decide; the intervals of tables are of 95 %


def interval(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    """Return the mean and the half width of its interval, by Student's t."""
    spread = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(stats.t.ppf(1 - level / 2, len(values) - 1) * spread)


def _lines(rows: list[dict[str, Any]], task: str) -> Iterator[str]:
    """Yield the table of a task."""
    own = [column for column in COLUMNS if task == "minimal" or column != "loss"]
    titles = {"loss": "loss above the least", "train": "train, %", "test": "test, %"}
    counts = "CPU s | modelled s | networks"
    yield f"| search | {counts} | " + " | ".join(titles[column] for column in own) + " |"
    yield "|---" * (4 + len(own)) + "|"
    for search in dict.fromkeys(row["search"] for row in rows):
        mine = [row for row in rows if row["search"] == search]
        cpu, networks = (np.mean([row[k] for row in mine]) for k in ("cpu_s", "networks"))
        modelled = "" if mine[0]["machine_s"] is None else f"{mine[0]['machine_s']:.2g}"
        cells = [_cell(np.array([row[c] for row in mine]), c) for c in own]
        name = f"`{search}`, polished" if search in MACHINES else search
        yield f"| {name} | {cpu:.2g} | {modelled} | {networks:.0f} | " + " | ".join(cells) + " |"


def _cell(values: NDArray[np.float64], column: str) -> str:
    mean, half = interval(values * (1 if column == "loss" else 100), 0.05)
    return f"{mean:.1f} ± {half:.1f}"


def _comparisons(rows: list[dict[str, Any]], task: str) -> Iterator[str]:
    """Yield by how much each machine is ahead of each other search, and the answer."""
    column, sign = ("loss", -1.0) if task == "minimal" else ("test", 100.0)
    by = {(row["name"], row["seed"], row["search"]): sign * row[column] for row in rows}
    places = sorted({key[:2] for key in by})
    for machine in MACHINES:
        ahead = {
            rival: np.array([by[(*p, machine)] - by[(*p, rival)] for p in places])
            for rival in (*HOST, FLIPS)
        }
        shown = [interval(values, 0.05) for values in ahead.values()]
        cells = [f"{mean:+.1f} ± {half:.1f}" for mean, half in shown]
        judged = [interval(ahead[rival], LEVEL) for rival in RIVALS]
        answer = "yes" if all(mean > half for mean, half in judged) else "no"
        yield f"| {task} | `{machine}` | " + " | ".join([*cells, answer]) + " |"


def tables(options: argparse.Namespace) -> None:
    """Write a table for each task, and one of all comparisons, into a folder."""
    rows = read(options.rows)
    titles = [
        "task",
        "machine, polished",
        *(f"ahead of {name}" for name in (*HOST, FLIPS)),
        "answer",
    ]
    answers = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for task in SEEDS:
        mine = [row for row in rows if row["task"] == task]
        name = task.replace(", ", "_")
        text = "\n".join(_lines(mine, task))
        (options.folder / f"_regime_{name}.txt").write_text(text + "\n")
        answers += _comparisons(mine, task)
    (options.folder / "_regime_answers.txt").write_text("\n".join(answers) + "\n")


def main() -> None:
    """Make the rows, or tables of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, default=ROWS)
    commands = parser.add_subparsers(required=True)
    commands.add_parser("run").set_defaults(command=run)
    commands.add_parser("violations").set_defaults(command=violations)
    writing = commands.add_parser("tables")
    writing.add_argument("folder", type=Path)
    writing.set_defaults(command=tables)
    args = parser.parse_args()
    args.command(args)


if __name__ == "__main__":
    main()
