"""Networks and losses of several forms by QCGD, on a CIM model and with searches in its place.

    python benchmarks/training/forms.py --seeds 4
    python benchmarks/training/forms.py --table docs/explanation/_forms_table.txt

Digits 3 or 6, as many training images as fit 550 spins, 15 calls of 32 runs, 8-bit couplings;
all samples are compared on the whole training split, and so are as many random networks. Rows are
appended to ``rows/forms.jsonl``; those that are there are not computed again. Nothing was tuned:
targets and margins are first guesses, and no row was looked at before all forms were fixed.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rows import Rows
from scipy import stats
from threadpoolctl import threadpool_limits

from cim_hal import open_device
from qnn_train import (
    AnnealingOracle,
    DescentOracle,
    HingeLoss,
    Recipe,
    SessionOracle,
    Spline,
    SquaredLoss,
    Task,
    ZeroOneLoss,
    layered_network,
    load_digits,
    logistic_loss,
    majority_network,
    prepare,
    spins_needed,
    train,
    weight_code,
)
from qnn_train.training.descent import accuracy
from qnn_train.training.methods import Gradient, RandomSearch

if TYPE_CHECKING:
    from cim_hal import Session
    from qnn_train import Architecture

DIGITS, CALLS, RUNS, SPINS = (3, 6), 15, 32, 550
SIGNS = majority_network(16, 3, weights=weight_code("binary"), bias_bits=2)
TANH = layered_network((16, 3, 1), activation=Spline.tanh(4, scale=6, levels=3))
RELU = layered_network((16, 3, 1), activation=Spline.relu())
CODES = layered_network((16, 3, 1), weights="codebook(-2,-1,1,2)")
FORMS: dict[str, tuple[Architecture, Any, str]] = {
    "16-3-majority, sign, squared": (SIGNS, SquaredLoss(3.0), "rosenberg"),
    "the same, zero-one": (SIGNS, ZeroOneLoss(), "rosenberg"),
    "the same, logistic": (SIGNS, logistic_loss(1.0), "rosenberg"),
    "16-3-3-1, sign, squared": (layered_network((16, 3, 3, 1)), SquaredLoss(3.0), "rosenberg"),
    "16-3-1, codebook -2, -1, 1, 2, squared": (CODES, SquaredLoss(3.0), "rosenberg"),
    "16-3-1, tanh in 4 steps, squared": (TANH, SquaredLoss(6.0), "rosenberg"),
    "the same, one-hot products": (TANH, SquaredLoss(6.0), "one-hot"),
    "16-3-1, ReLU, squared": (RELU, SquaredLoss(6.0), "rosenberg"),
    "16-3-1, ReLU, hinge": (RELU, HingeLoss(4.0), "rosenberg"),
}
METHODS = {"emulator-550": "CIM model", "descent": "descents", "annealing": "annealing"}
RANDOM = "random"


def row_of(form: str, method: str, seed: int, session: Session) -> dict[str, Any]:
    """Train once; return what came out."""
    network, loss, reduction = FORMS[form]
    task, scorer, test = _data(network, loss, reduction, seed)
    oracles = {
        "emulator-550": SessionOracle(session, n_runs=RUNS, seed=seed, coupling_bits=8),
        "descent": DescentOracle(RUNS, seed=seed),
        "annealing": AnnealingOracle(RUNS, seed=seed),
    }
    way = RandomSearch(n_samples=RUNS, seed=seed) if method == RANDOM else Gradient()
    spent = time.process_time()
    oracle = oracles.get(method, oracles["descent"])
    *_, last = islice(train(task, oracle, scorer, method=way), CALLS)
    return {
        "images": len(task.inputs),
        "test": accuracy(last.best.network, test),
        "train": last.best.accuracy,
        "infeasibility": None if method == RANDOM else last.iterate.infeasibility,
        "cpu_seconds": round(time.process_time() - spent, 2),
    }


def _data(network: Architecture, loss: Any, reduction: Any, seed: int) -> tuple[Any, Any, Any]:
    """Return the program of as many images as fit, what compares networks, and the test images."""
    prepared = prepare(Recipe(train_samples=20, seed=seed), load_digits().pair(*DIGITS))
    pair, transform = prepared.pair, prepared.features.transform
    for count in range(20, 1, -1):
        chosen = pair.train.take(pair.train.stratified(count, seed=seed))
        inputs, labels = transform(chosen.images), chosen.labels
        if spins_needed(network, inputs, labels, loss=loss, reduction=reduction) < SPINS:
            break
    task = Task(network, inputs, labels, loss, reduction=reduction)
    return task, prepared.scorer, prepared.examples(pair.test)


def table(rows: Rows) -> str:
    """Return test accuracy in percent, and how far the machine is ahead of each control."""
    names = [*METHODS.values(), "random networks"]
    ahead = [f"less {name}" for name in names[1:]]
    lines = [
        "| network and loss | images | " + " | ".join([*names, *ahead, "infeasibility"]) + " |"
    ]
    lines.append("|---" * (len(names) + len(ahead) + 3) + "|")
    for form in FORMS:
        found = {
            (r["method"].rpartition(" @ ")[2], r["seed"]): r
            for r in rows.all
            if r["task"] == "forms" and r["method"].startswith(f"{form} @ ")
        }
        seeds = sorted(seed for method, seed in found if method == RANDOM)
        scores = {
            name: np.array([100 * found[name, seed]["test"] for seed in seeds])
            for name in (*METHODS, RANDOM)
        }
        mine, *others = scores.values()
        images = sorted({found[RANDOM, seed]["images"] for seed in seeds})
        far = np.mean([found["emulator-550", seed]["infeasibility"] for seed in seeds])
        cells = [" to ".join(map(str, dict.fromkeys((images[0], images[-1]))))]
        cells += [f"{each.mean():.1f}" for each in scores.values()]
        cells += [*map(_interval, (mine - other for other in others)), f"{far:.2f}"]
        lines.append(f"| {form} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _interval(values: np.ndarray) -> str:
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    text = f"{values.mean():+.1f} ± {half:.1f}"
    return f"**{text}**" if abs(values.mean()) > half else text


def main() -> None:
    """Compute the rows that are missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/training/rows"))
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    rows = Rows(options.folder)
    wanted = product(range(options.seeds), FORMS, (*METHODS, RANDOM))
    with threadpool_limits(1), open_device("emulator-550") as session:
        for seed, form, method in wanted:
            name = f"{form} @ {method}"
            key = {"task": "forms", "method": name, "classes": [*DIGITS], "seed": seed}
            if not rows.has(**key):
                rows.add([key | row_of(form, method, seed, session)])
    if options.table:
        options.table.write_text(table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
