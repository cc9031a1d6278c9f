"""How fast conditional gradients converge, with exact, noisy and rounded oracles.

Run as ``python benchmarks/plot_convergence.py FOLDER``: what it does not hold yet is measured
and added to it (a minute on one core), then a table in Markdown is printed and the picture
``docs/_static/convergence.png`` drawn.

Eight random programs of 7 to 9 bits with equalities and products, whose optima are known by
trying all; β0 = 1, multipliers by the bounded rule. Lines are medians over programs. A slope is
fitted to the logarithms of each program's curve from step 30 on, at steps equally spaced in the
logarithm; its interval is Student's, of the mean over programs. Errors and gaps may have either
sign and are taken by magnitude. The last values are medians of means over the last tenth of steps.
"""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import t as student

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/support"))
from programs import optimum, random_program  # noqa: E402  the tests' own programs

from qnn_train import ExhaustiveOracle, LiftedProblem, Oracle, conditional_gradient  # noqa: E402
from qnn_train.solve import NoisyOracle, QuantizedOracle, RandomizedOracle  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

PICTURE = ROOT / "docs/_static/convergence.png"
PROGRAMS, STEPS, FIRST = 8, 1000, 30
QUANTITIES = ("infeasibility", "objective error", "surrogate gap")
EXACT = ExhaustiveOracle()


def oracles(seed: int) -> dict[str, Callable[[], Oracle]]:
    rounded = {
        f"{bits} bits": (lambda bits=bits: QuantizedOracle(EXACT, bits))
        for bits in (14, 10, 8, 6, 4, 2)
    }
    return {
        "exact": lambda: EXACT,
        "noise 2 %": lambda: NoisyOracle(EXACT, 0.02, seed=seed),
        "right in 90 %": lambda: RandomizedOracle(EXACT, 0.9, seed=seed),
        **rounded,
    }


def curves(seed: int, steps: int) -> dict[str, np.ndarray]:
    """Return arrays (3, steps) of one program, in units of the scaled objective."""
    qcbo = random_program(np.random.default_rng([seed, 1]), sizes=(7, 9))
    problem = LiftedProblem.lift(qcbo)
    best = optimum(qcbo)
    found: dict[str, np.ndarray] = {}
    for name, make in oracles(seed).items():
        rows = [
            (i.infeasibility, abs(i.objective - best) / problem.objective_scale, abs(i.gap))
            for i in islice(conditional_gradient(problem, make()), steps)
        ]
        found[name] = np.array(rows).T
    return found


def sampled(curve: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the geometric mean around each point, a fifth of a decade wide."""
    steps = np.arange(1, len(curve) + 1)
    logs = np.log(np.maximum(curve, 1e-12))
    return np.array([logs[(steps >= p / 1.26) & (steps <= p * 1.26)].mean() for p in points])


def interval(values: np.ndarray, digits: int = 2) -> str:
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.{digits}f} ± {half:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--programs", type=int, default=PROGRAMS)
    parser.add_argument("--only", type=int, help="Measure this program and stop.")
    args = parser.parse_args()
    if args.only is not None:
        measured(args.only, args.folder)
        return
    found = [measured(seed, args.folder) for seed in range(args.programs)]
    table(found, STEPS)
    draw(found, STEPS)


def measured(seed: int, folder: Path) -> dict[str, np.ndarray]:
    file = folder / f"program-{seed}.npz"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(file, **curves(seed, STEPS))
    with np.load(file) as arrays:
        return dict(arrays)


def table(found: list[dict[str, np.ndarray]], steps: int) -> None:
    points = np.geomspace(FIRST, steps / 1.26, 25)
    print("| oracle | slope of infeasibility | of the objective's error | of the gap |", end="")
    print(" last infeasibility | last error |")
    print("|---|---|---|---|---|---|")
    for name in found[0]:
        cells = []
        for quantity in range(3):
            slopes = np.array(
                [np.polyfit(np.log(points), sampled(one[name][quantity], points), 1)[0]
                 for one in found]
            )  # fmt: skip
            cells.append(interval(slopes))
        last = [
            np.median([one[name][quantity, -steps // 10 :].mean() for one in found])
            for quantity in (0, 1)
        ]
        cells += [f"{value:.4f}" for value in last]
        print(f"| {name} | " + " | ".join(cells) + " |")


def draw(found: list[dict[str, np.ndarray]], steps: int) -> None:
    shown = {
        "exact": ("#1f3a5f", "-"),
        "14 bits": ("#3b7a57", "--"),
        "8 bits": ("#5fa05f", "-"),
        "6 bits": ("#b8a13a", "-"),
        "4 bits": ("#c2571a", "-"),
        "2 bits": ("#8b1e3f", "-"),
        "noise 2 %": ("#7a7f87", ":"),
        "right in 90 %": ("#b0b6bd", "-."),
    }
    points = np.unique(np.geomspace(2, steps / 1.26, 60).round())
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), sharex=True, constrained_layout=True)
    for quantity, ax in enumerate(axes):
        for name, (color, line) in shown.items():
            rows = np.array([sampled(one[name][quantity], points) for one in found])
            ax.loglog(points, np.exp(np.median(rows, axis=0)), line, color=color, label=name)
        start = np.exp(np.median([sampled(one["exact"][quantity], points)[0] for one in found]))
        guide = 1.6 * start * (points / points[0]) ** -0.5
        ax.loglog(points, guide, color="black", lw=0.8, ls=(0, (1, 3)), label="slope -1/2")
        ax.set(xlabel="oracle calls", title=QUANTITIES[quantity])
        ax.grid(alpha=0.25, which="major")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(PICTURE, dpi=130)


if __name__ == "__main__":
    main()
