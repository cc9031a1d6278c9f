"""All solvers at equal machine calls, on the same images with the same seeds.

    python benchmarks/compare_solvers.py run --data DIR --out rows.jsonl
    python benchmarks/compare_solvers.py run --data DIR --out rows.jsonl --searches annealing
    python benchmarks/compare_solvers.py table rows*.jsonl --docs docs/explanation

A row is one training: pair of classes, seed, method, and what searches: the machine, or a search on
the host in its place, with as many searches a call as the machine makes runs, or so many times more
(``descent*4``). Rows that are there are not made again. Twenty
images are in the program, the machine is ``emulator-550`` with 8-bit couplings, a call has 32 runs,
and candidates are compared on the training split. The weight of the tuned penalty method is chosen
on other draws of images (seeds from 100 on), whose calls are not counted: in its favour. Test
images are used once for each row, after the training. The ladder takes the same weights in turn,
within its calls. Packed parts give four networks a run, hence the fourfold random ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from families import tabu
from scipy import stats

from cim_hal import IsingModel, open_device
from qnn_train import (
    AnnealingOracle,
    DescentOracle,
    Recipe,
    SessionOracle,
    load_fashion_mnist,
    prepare,
    train,
)
from qnn_train.solve import PackedOracle, RhoSchedule, default_weight, polish
from qnn_train.solve.oracle import Answer, call_seed, evaluate, qubo_of
from qnn_train.training.methods import Decomposed, Gradient, Hedging, Penalty, RandomSearch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cim_hal import Session
    from qnn_train.solve import Oracle
    from qnn_train.training.methods import Method
    from qnn_train.training.recipe import Preparation

PAIRS = {"coat/sandal": (4, 5), "T-shirt/shirt": (0, 6)}
CALLS, RUNS, BITS, MAX_BITS = 12, 32, 8, 549
LADDER = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)
TUNING_SEEDS = range(100, 110)
RHO = RhoSchedule(first=0.5, last=8.0, steps=12)
METHODS = {
    "qcgd": Gradient(),
    "penalty, default": Penalty(),
    "penalty, ladder": "ladder",
    "penalty, tuned": "tuned",  # its weight is found first
    "dlbo, packed": Decomposed(batch=5),
    "dlbo-2, packed": Decomposed(batch=5, moments=2),
    "qph, packed": Hedging(batch=5, rho=RHO, weight=2.0),
    "random": RandomSearch(n_samples=RUNS),
    "random, fourfold": RandomSearch(n_samples=4 * RUNS),  # as many as four parts in a task give
}
MACHINE = "machine"
SEARCHES = ("descent", "annealing", "tabu")
TABU_STEPS = 20  # for each bit, as in `training/hardness.py`


@dataclass
class TabuOracle:
    """Tabu searches from random bits; the lowest bits of each are returned."""

    n_samples: int
    seed: int
    calls: int = 0

    def minimize(self, gradient: NDArray[np.float64]) -> Answer:
        """Search `n_samples` times."""
        model, n_bits = IsingModel.from_qubo(*qubo_of(gradient)), len(gradient) - 1
        seed = call_seed(self.seed, self.calls)
        self.calls += 1
        return evaluate(gradient, tabu(model, self.n_samples, TABU_STEPS * n_bits, seed))


HOST = {"descent": DescentOracle, "annealing": AnnealingOracle, "tabu": TabuOracle}


def oracle_of(search: str, session: Session, seed: int) -> Oracle:
    """Return the machine, or a search on the host with as many samples or a multiple of them."""
    if search == MACHINE:
        return SessionOracle(session, n_runs=RUNS, seed=seed, coupling_bits=BITS)
    name, _, times = search.partition("*")
    return HOST[name](RUNS * int(times or 1), seed=seed)


def one_training(preparation, oracle, method, *, packed: bool, calls: int) -> dict:
    if packed:
        oracle = PackedOracle(oracle, MAX_BITS)
    started, spent = time.perf_counter(), time.process_time()
    for step in train(preparation.task, oracle, preparation.scorer, method=method):
        if step.iterate.calls + step.iterate.calls // step.iterate.step > calls:
            break  # another step would cost too much
    seconds, cpu = time.perf_counter() - started, time.process_time() - spent
    best, last = step.best, step.iterate
    features, pair = preparation.features, preparation.pair
    inputs = features.transform(pair.test.images)
    polished = polish(preparation.architecture, preparation.scorer, best.network.to_bits())
    return {
        "test": accuracy(best.network, inputs, pair.test.labels),
        "train": best.accuracy,
        "polished_test": accuracy(polished.after.network, inputs, pair.test.labels),
        "polished_train": polished.after.accuracy,
        "calls": last.calls,
        "steps": last.step,
        "infeasibility": last.infeasibility,
        "candidates": step.candidates,
        "seconds": seconds,
        "cpu": cpu,
    }


def accuracy(network, inputs, labels) -> float:
    return float(np.mean(network.predict(inputs) == labels))


def tuned_weight(images, session, calls: int) -> tuple[float, list]:
    """Return the weight of the highest mean training accuracy on other draws of images."""
    seen = []
    for factor in LADDER:
        found = []
        for seed in TUNING_SEEDS:
            preparation = prepare(Recipe(seed=seed), images)
            weight = factor * default_weight(preparation.assemble().qcbo)
            oracle = oracle_of(MACHINE, session, seed)
            method = Penalty(weights=[weight])
            row = one_training(preparation, oracle, method, packed=False, calls=calls)
            found.append(row["train"])
        seen.append((factor, float(np.mean(found))))
    return max(seen, key=lambda pair: pair[1])[0], seen


def method_of(label: str, preparation: Preparation, factor: float | None) -> Method:
    method = METHODS[label]
    if isinstance(method, RandomSearch):
        return replace(method, seed=preparation.recipe.seed)
    if not isinstance(method, str):
        return method
    weight = default_weight(preparation.assemble().qcbo)
    factors = LADDER if method == "ladder" else (factor,)
    return Penalty(weights=[factor * weight for factor in factors])


def run(args: argparse.Namespace) -> None:
    done = set()
    if args.out.exists():
        rows = [json.loads(line) for line in args.out.read_text().splitlines()]
        done = {(row["pair"], row["seed"], row["method"], search_of(row)) for row in rows}
    images = load_fashion_mnist(args.data)
    with args.out.open("a") as file, open_device("emulator-550") as session:
        for name in args.pairs:
            pair, factor = images.pair(*PAIRS[name]), args.factor
            if "penalty, tuned" in args.methods and factor is None:
                factor, seen = tuned_weight(pair, session, args.calls)
                print(name, "tuned:", factor, seen, file=sys.stderr, flush=True)
            for seed, label, search in product(args.seeds, args.methods, args.searches):
                if (name, seed, label, search) in done:
                    continue
                preparation = prepare(Recipe(seed=seed), pair)
                row = one_training(
                    preparation,
                    oracle_of(search, session, seed),
                    method_of(label, preparation, factor),
                    packed="packed" in label,
                    calls=args.calls,
                )
                row |= {"pair": name, "seed": seed, "method": label, "factor": factor}
                row |= {"search": search}
                file.write(json.dumps(row) + "\n")
                file.flush()


def search_of(row: dict) -> str:
    return row.get("search", MACHINE)


def table(args: argparse.Namespace) -> None:
    rows = [json.loads(line) for path in args.out for line in path.read_text().splitlines()]
    for name in dict.fromkeys(row["pair"] for row in rows):
        mine = [row for row in rows if row["pair"] == name and search_of(row) == MACHINE]
        reference = {row["seed"]: row["test"] for row in mine if row["method"] == "qcgd"}
        print(f"\n{name}\n")
        print("| method | seeds | test (%) | qcgd ahead by | train (%) | polished test (%) |")
        print("|---|---|---|---|---|---|")
        for label in METHODS:
            of = sorted((r for r in mine if r["method"] == label), key=lambda r: r["seed"])
            if len(of) < 2:
                continue
            ahead = [reference[row["seed"]] - row["test"] for row in of if row["seed"] in reference]
            cells = [
                label,
                str(len(of)),
                interval([row["test"] for row in of]),
                "" if label == "qcgd" else interval(ahead, sign=True),
                interval([row["train"] for row in of]),
                interval([row["polished_test"] for row in of]),
            ]
            print("| " + " | ".join(cells) + " |")
    for file, multiple in (("as_many", False), ("equal_seconds", True)):
        text = "\n".join(replaced(rows, multiple=multiple)) + "\n"
        print("\n" + text)
        if args.docs is not None:
            (args.docs / f"_solvers_{file}.txt").write_text(text, encoding="utf-8")


def replaced(rows: list[dict], *, multiple: bool) -> Iterator[str]:
    """Yield a table: the machine, and as many searches in its place, or a multiple of them."""
    found: dict[tuple[str, ...], dict[int, dict]] = {}
    for row in rows:
        name, times, _ = search_of(row).partition("*")
        if name == MACHINE or bool(times) == multiple:
            found.setdefault((row["pair"], row["method"], name), {})[row["seed"]] = row
    searches = [search for search in SEARCHES if any(search == key[2] for key in found)]
    yield "| | machine | " + " | ".join(searches) + " |"
    yield "|---" * (2 + len(searches)) + "|"
    for pair, label in product(PAIRS, METHODS):
        machine, *others = (found.get((pair, label, search), {}) for search in (MACHINE, *searches))
        if label == "qcgd":
            yield f"| **{pair}** " + "| " * (1 + len(searches)) + "|"
        if any(others):
            cells = [f"{percent(machine):.1f} ({seconds_of(machine):.1f} s)"]
            cells += [compared(machine, of) if len(of) > 1 else "" for of in others]
            name, *rest = label.split(", ")
            yield f"| {', '.join([f'`{name}`', *rest])} | " + " | ".join(cells) + " |"


def compared(machine: dict[int, dict], others: dict[int, dict]) -> str:
    """Return the mean of a search, the machine's lead on the same seeds, seeds and CPU time."""
    leads = [machine[seed]["test"] - row["test"] for seed, row in others.items()]
    mean, half = mean_and_half(leads)
    mark = "**" if abs(mean) > half else ""
    told = f"{mark}{interval(leads, sign=True)}{mark}"
    return f"{percent(others):.1f} ({told}; {len(others)}; {seconds_of(others):.1f} s)"


def percent(rows: dict[int, dict]) -> float:
    """Return the mean test accuracy in percent."""
    return mean_and_half([row["test"] for row in rows.values()])[0]


def seconds_of(rows: dict[int, dict]) -> float:
    """Return the mean CPU time."""
    return float(np.mean([row["cpu"] for row in rows.values()]))


def interval(values: list[float], *, sign: bool = False) -> str:
    """Return mean and half width of the 95 % interval of the mean, in percent, by Student's t."""
    mean, half = mean_and_half(values)
    return f"{mean:{'+z' if sign else ''}.1f} ± {half:.1f}"


def mean_and_half(values: list[float]) -> tuple[float, float]:
    """Return the two numbers of `interval`."""
    percent = 100 * np.array(values)
    half = stats.t.ppf(0.975, len(percent) - 1) * percent.std(ddof=1) / np.sqrt(len(percent))
    return float(percent.mean()), float(half)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run")
    running.add_argument("--data", type=Path, required=True)
    running.add_argument("--out", type=Path, required=True)
    running.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    running.add_argument("--calls", type=int, default=CALLS)
    running.add_argument("--pairs", nargs="+", default=list(PAIRS), choices=list(PAIRS))
    running.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    running.add_argument("--searches", nargs="+", default=[MACHINE], help="as descent*4")
    running.add_argument("--factor", type=float, help="Of the default weight; else it is tuned.")
    running.set_defaults(command=run)
    showing = commands.add_parser("table")
    showing.add_argument("out", type=Path, nargs="+")
    showing.add_argument("--docs", type=Path, help="folder for the tables of the searches")
    showing.set_defaults(command=table)
    args = parser.parse_args()
    args.command(args)


if __name__ == "__main__":
    main()
