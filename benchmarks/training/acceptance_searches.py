"""The estimators on the sets of `acceptance.py`, searches on the host in the machine's place.

    python benchmarks/training/acceptance_searches.py run FOLDER --splits 4
    python benchmarks/training/acceptance_searches.py tables FOLDER docs/how-to

A search begins with the networks that the machine begins with, and ends by the same rules. At equal
calls, what is taken of the sweeps that end within the calls of the shorter of two trainings is
compared. At equal seconds, descents go on with trainings of other seeds for the time of the
machine's training, and choose by the rule of the estimators among all networks found. Seconds are
those of the processor and of a whole training: pretraining, oracle and forward passes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeAlias
from unittest.mock import patch

import numpy as np
from acceptance import (
    DEVICE,
    FIRST_SEED,
    REAL,
    SETS,
    Split,
    _answered,
    _taken,
    _with_interval,
    ours,
)
from hardness import TABU_STEPS
from rows import Rows
from scipy.stats import t as student
from threadpoolctl import threadpool_limits

from cim_hal import (
    Capabilities,
    Driver,
    IsingModel,
    Program,
    Readout,
    StopToken,
    open_device,
)
from qnn_train import QuantizedNetworkClassifier
from qnn_train.training.oracles import TrainingOracle

from families import tabu  # isort: skip  `hardness` puts its folder on the path

MACHINE, CALLS, SECONDS = "machine", "calls", "seconds"
HOST = ("descent", "annealing", "tabu", "exact")
HARDNESS = ("problems", "solved_share", "mean_gap")
RowsByKey: TypeAlias = dict[tuple[str, str, int], dict[str, Any]]
FURTHER = 10_000  # from the seed of a training to that of the next
NAMES = {
    "descent": "one-flip descents",
    "annealing": "annealing",
    "tabu": "tabu search",
    "exact": "exact minima",
}


class Tabu(Driver):
    """Tabu searches as a machine with real couplings."""

    def describe(self) -> Capabilities:  # noqa: D102  see Driver
        return Capabilities(
            name="tabu", max_spins=10_000, coupling_bits=None, has_field=True, reproducible=True
        )

    def run(self, program: Program, stop: StopToken) -> Readout:  # noqa: D102
        del stop
        model, steps = IsingModel(program.coupling, program.field), TABU_STEPS * program.n_spins
        bits = tabu(model, program.n_runs, steps, program.seed % 2**32)
        return Readout((2 * bits - 1).astype(np.int8))


@contextmanager
def clock() -> Iterator[list[float]]:
    """Collect the seconds of the processor of all that oracles of trainings are asked."""
    seconds: list[float] = []
    asked = TrainingOracle.minimize_all

    def timed(self: TrainingOracle, gradients: Sequence[Any]) -> Any:
        began = time.process_time()
        answers = asked(self, gradients)
        seconds.append(time.process_time() - began)
        return answers

    with patch.object(TrainingOracle, "minimize_all", timed):
        yield seconds


class Trainings:
    """Trainings of one search on one split, and what was taken when each sweep ended."""

    def __init__(self, split: Split, device: Any, options: dict[str, Any]) -> None:
        self._split, self._device, self._options = split, device, options
        self._best: dict[Any, Any] = {}  # the best network of each clip, the first clip first
        self._taken: Any = None
        self.spent: list[tuple[int, float]] = []  # calls and seconds
        self.first: Any = None
        # Calls, seconds, loss and score whenever another network is taken.
        self.trace: list[tuple[int, float, float, float]] = []

    def run(self, seconds: float) -> None:
        """Make the first training whole, and further ones for so many seconds in all."""
        began, found = time.process_time(), []
        for turn in count():
            calls = self.spent[-1][0] if turn else 0

            def note(progress: Any, turn: int = turn, calls: int = calls) -> bool:
                self.spent.append((calls + progress.calls, time.process_time() - began))
                return turn > 0 and self.spent[-1][1] >= seconds

            seed = self._split.seed + FURTHER * turn
            changes = self._options | {"random_state": seed, "callbacks": [note]}
            model = ours(self._split, self._device, **changes)
            found += model.found_
            self.first = self.first or model
            if self.spent[-1][1] >= seconds:
                break
        for spent, each in zip(self.spent, found, strict=True):
            self._add(each, *spent)

    def _add(self, found: Any, calls: int, seconds: float) -> None:
        """Tell what is taken, by the rule of the estimators, once a sweep has ended."""
        clip = found.network.architecture
        self._best[clip] = min(self._best.get(clip, found), found, key=lambda each: each.objective)
        starts = [(each.objective, each) for each in self._best.values()]
        taken = _taken(starts, QuantizedNetworkClassifier().clip_gain)
        if taken is self._taken:
            return
        self._taken = taken
        parts = (self.first.model_.grid.transform(X) for X in (self._split.X, self._split.others))
        margins = (taken.network.margin(part).astype(float) for part in parts)
        score = self._split.score(_answered(self._split, *margins)[1])
        self.trace.append((calls, round(seconds, 3), round(taken.objective, 7), round(score, 7)))


def row_of(split: Split, name: str, device: Any, options: dict[str, Any], seconds: float) -> Any:
    """Train by one search, again and again for so many seconds."""
    oracle = MACHINE if device is not None else name
    trainings = Trainings(split, device or DEVICE, options | {"oracle": oracle})
    with clock() as asked:
        trainings.run(seconds)
    calls, cpu = trainings.spent[len(trainings.first.found_) - 1]
    return {
        "calls": calls,
        "cpu": round(cpu, 3),
        "oracle_ms": round(1000 * sum(asked) / trainings.spent[-1][0], 3),  # a call
        "all_calls": trainings.spent[-1][0],
        "hardness": {name: trainings.first.hardness_[name] for name in HARDNESS},
        "trace": trainings.trace,
    }


def run(args: argparse.Namespace) -> None:
    """Make the rows that are missing, split by split."""
    args.folder.mkdir(parents=True, exist_ok=True)
    rows, options = Rows(args.folder), {}
    if args.block_spins:
        options = {"block_spins": args.block_spins}
    with threadpool_limits(1), ExitStack() as stack:
        devices = {MACHINE: stack.enter_context(open_device(DEVICE))}
        devices["tabu"] = stack.enter_context(open_device(Tabu()))
        for name in args.searches:  # compiles
            short = options | {"starts": 1, "sweeps": 1}
            row_of(Split.of("iris", 1), name, devices.get(name), short, 0.0)
        for seed in range(FIRST_SEED, FIRST_SEED + args.splits):
            for task in args.sets:
                for name in args.searches:
                    key = {"task": task, "method": name, "classes": [], "seed": seed}
                    if not rows.has(**key):
                        machine = _by_key(rows).get((task, MACHINE, seed))
                        seconds = machine["cpu"] if name == "descent" and machine else 0.0
                        made = row_of(
                            Split.of(task, seed), name, devices.get(name), options, seconds
                        )
                        rows.add([key | made])


def _by_key(rows: Rows) -> RowsByKey:
    return {(row["task"], row["method"], row["seed"]): row for row in rows.all}


@dataclass(frozen=True)
class Pair:
    """The machine and a search on one set, at one budget: scores and losses by split."""

    task: str
    scores: np.ndarray  # (splits, 2), the machine first
    losses: np.ndarray

    @classmethod
    def of(cls, rows: RowsByKey, task: str, name: str, budget: str) -> Self:
        """Read them from the traces."""
        seeds = sorted({s for t, m, s in rows if (t, m) == (task, name)})
        taken = [_taken_at(rows[task, MACHINE, s], rows[task, name, s], budget) for s in seeds]
        scores, losses = (np.array([[e[at] for e in two] for two in taken]) for at in (3, 2))
        return cls(task, (1 if task in REAL else 100) * scores, losses)

    @property
    def ahead(self) -> np.ndarray:
        """By how much the machine is ahead on each split."""
        return self.scores[:, 0] - self.scores[:, 1]

    def cell(self, n_splits: int) -> str:
        """Return the score of the search, and by how much the machine is ahead."""
        digits = 3 if self.task in REAL else 1
        fewer = "" if len(self.ahead) == n_splits else f"; {len(self.ahead)} splits"
        apart = _with_interval(self.ahead, digits)
        if is_apart(self.ahead):
            apart = f"**{apart}**"
        return f"{self.scores[:, 1].mean():.{digits}f} ({apart}{fewer})"


def is_apart(values: np.ndarray) -> bool:
    """Tell whether the interval of the mean is on one side of zero."""
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return bool(abs(values.mean()) > half)


def _taken_at(machine: dict[str, Any], other: dict[str, Any], budget: str) -> tuple[Any, Any]:
    """Return what both have taken within the calls of the shorter, or the machine's seconds."""
    if budget == CALLS:
        limit = min(machine["calls"], other["calls"])
        traces = (row["trace"] for row in (machine, other))
        return tuple([e for e in trace if e[0] <= limit][-1] for trace in traces)
    within = [each for each in other["trace"] if each[1] <= machine["cpu"]]
    return machine["trace"][-1], within[-1]


def columns(rows: RowsByKey) -> list[tuple[str, str]]:
    """Return searches and budgets."""
    names = [name for name in HOST if any(method == name for _, method, _ in rows)]
    return [(name, CALLS) for name in names] + [("descent", SECONDS)] * ("descent" in names)


def scores(rows: RowsByKey) -> Iterator[str]:
    """Yield a table of scores, a row a set."""
    heads = [f"{NAMES[name]}, equal {budget}" for name, budget in columns(rows)]
    yield _line("set", "splits", "this", *heads)
    yield "|---" * (len(heads) + 3) + "|"
    for task in _tasks(rows):
        mine = [each for each in rows.values() if (each["task"], each["method"]) == (task, MACHINE)]
        unit, digits = (1, 3) if task in REAL else (100, 1)
        score = unit * np.mean([each["trace"][-1][3] for each in mine])
        pairs = (Pair.of(rows, task, *column) for column in columns(rows))
        cells = (pair.cell(len(mine)) if len(pair.scores) else "" for pair in pairs)
        yield _line(task, str(len(mine)), f"{score:.{digits}f}", *cells)


def summary(rows: RowsByKey) -> Iterator[str]:
    """Yield a table of means over sets, a row a search."""
    titles = ("sets with classes", "real answers", "told apart on", "lower loss in")
    yield _line("the machine ahead of", *titles)
    yield "|---" * 5 + "|"
    for name, budget in columns(rows):
        every = (Pair.of(rows, task, name, budget) for task in _tasks(rows))
        pairs = [pair for pair in every if len(pair.scores)]
        means = [
            np.array([pair.ahead.mean() for pair in pairs if (pair.task in REAL) == is_real])
            for is_real in (False, True)
        ]
        signs = [np.sign(pair.ahead.mean()) for pair in pairs if is_apart(pair.ahead)]
        apart = f"{signs.count(1)} for it, {signs.count(-1)} against it"
        losses = np.concatenate([pair.losses for pair in pairs])
        lower, higher = (losses[:, 0] < losses[:, 1]).sum(), (losses[:, 0] > losses[:, 1]).sum()
        cells = [_with_interval(means[0], 1), f"{means[1].mean():+.3f}" if len(means[1]) else ""]
        yield _line(f"{NAMES[name]}, equal {budget}", *cells, apart, f"{lower} of {lower + higher}")


def costs(rows: RowsByKey) -> Iterator[str]:
    """Yield a table of calls and seconds, a row a set."""
    names = [MACHINE, *dict.fromkeys(name for name, _ in columns(rows))]
    titles = ["this", *(NAMES[name] for name in names[1:])]
    yield _line("set", *titles, "one descent solves", "gap")
    yield "|---" * (len(names) + 3) + "|"
    for task in _tasks(rows):
        cells = []
        for name in names:
            mine = [r for r in rows.values() if (r["task"], r["method"]) == (task, name)]
            seconds = [r["calls"] * r["oracle_ms"] / 1000 for r in mine]
            calls, cpu = (np.mean([r[key] for r in mine]) for key in ("calls", "cpu"))
            told = f"{calls:,.0f}: {np.mean(seconds):.2f} of {cpu:.1f} s"
            cells.append(told if mine else "")
        seen = [r["hardness"] for r in rows.values() if (r["task"], r["method"]) == (task, MACHINE)]
        share, gap = (100 * np.mean([each[key] for each in seen]) for key in HARDNESS[1:])
        yield _line(task, *cells, f"{share:.0f} %", f"{gap:.1f} %")


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _tasks(rows: RowsByKey) -> list[str]:
    return [task for task in SETS if any(task == each for each, _, _ in rows)]


def tables(args: argparse.Namespace) -> None:
    """Write the tables of the rows of a folder."""
    rows = _by_key(Rows(args.folder))
    every = {"scores": scores, "summary": summary, "costs": costs}
    if len(_tasks(rows)) == 1:
        del every["summary"]
    for name, lines in every.items():
        path = args.out / f"_searches_{args.prefix}{name}.txt"
        path.write_text("\n".join(lines(rows)) + "\n", encoding="utf-8")


def main() -> None:
    """Make the rows, or tables of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run")
    running.add_argument("folder", type=Path)
    running.add_argument("--splits", type=int, default=10)
    running.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    searches = (MACHINE, *HOST)
    default = searches[:-1]
    running.add_argument("--searches", nargs="+", default=default, choices=searches)
    running.add_argument("--block-spins", type=int, help="of the largest block")
    running.set_defaults(command=run)
    writing = commands.add_parser("tables")
    writing.add_argument("folder", type=Path)
    writing.add_argument("out", type=Path)
    writing.add_argument("--prefix", default="", help="of the names of tables")
    writing.set_defaults(command=tables)
    args = parser.parse_args()
    args.command(args)


if __name__ == "__main__":
    main()
