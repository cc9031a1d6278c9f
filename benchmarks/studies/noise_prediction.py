"""Whether the best noise follows from connectivity and coupling: V4 of the published curves.

Run as ``python benchmarks/studies/noise_prediction.py --out DIR`` (docs/explanation/
published-curves.md has the result). A rule with three numbers, noise = c gain^a degree^b, is fitted
to the best noise on random regular graphs of three degrees at three gains. Then it says a noise for
other graphs, of degrees and gains between and beyond those, where it is compared with

- the best level of the whole grid, chosen on half of these graphs and measured on the others;
- one noise for all, that with the most successes on the graphs of the fit;
- no noise.

Intervals are of 95 %, from 2000 bootstrap samples of the graphs, drawn apart for each degree.
Studies that are there go on, so it can be stopped at any time.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np

from cim_hal import IsingModel, write_model
from cim_hal.study import run_study
from cim_hal.study.rows import read_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS = (0, 0.05, 0.07, 0.085, 0.1, 0.115, 0.13, 0.15, 0.17, 0.2, 0.24, 0.3)
FIT = {"degrees": (3, 5, 8), "gains": (1.25, 1.75, 2.5), "graphs": 12, "seed": 415}
TEST = {"degrees": (4, 6, 12), "gains": (1.5, 3.0), "graphs": 30, "seed": 416}
SPINS, RUNS, ROUND_TRIPS, SAMPLES = 100, 64, 1000, 2000

Cell = tuple[int, float]  # a degree and a gain
Curve = dict[float, "NDArray[np.float64]"]  # success of each graph, by noise


def graphs(folder: Path, degree: int, count: int, seed: int) -> list[str]:
    """Write MAX-CUT of random regular graphs, and return the names of the files."""
    names = [f"{degree}-{k}.npz" for k in range(count)]
    for k, name in enumerate(names):
        if not (folder / name).exists():
            graph = nx.random_regular_graph(degree, SPINS, seed=1000 * seed + 50 * degree + k)
            weights = nx.to_numpy_array(graph, nodelist=range(SPINS))
            write_model(folder / name, IsingModel.from_maxcut(weights))
    return names


def cells_of(part: dict) -> list[Cell]:
    """Return the degrees and gains of a part."""
    return [(degree, gain) for degree in part["degrees"] for gain in part["gains"]]


def curves(folder: Path, part: dict, levels: dict[Cell, list[float]]) -> dict[Cell, Curve]:
    """Run the study of a part at some levels of each cell, and return its curves."""
    folder.mkdir(parents=True, exist_ok=True)
    groups = {
        str(degree): graphs(folder, degree, part["graphs"], part["seed"])
        for degree in part["degrees"]
    }
    points = [
        f"[[point]]\nmodel = '{degree}'\ncoupling_gain = {gain}\nnoise = {noise}\n"
        f"round_trips = {ROUND_TRIPS}\n"
        for (degree, gain), found in levels.items()
        for noise in found
    ]
    text = (
        f"study = {{name = 'V4: {folder.name}', seed = {part['seed']}}}\n"
        "machine = {device = 'emulator-mean-field'}\n"
        f"repeat = {{runs = {RUNS}}}\n"
        f"[models]\nfiles = {[name for files in groups.values() for name in files]}\n"
        "[models.groups]\n" + "".join(f"{name} = {files}\n" for name, files in groups.items())
    )
    (folder / "study.toml").write_text(text + "".join(points))
    run_study(folder / "study.toml", folder / "out", resume=True)
    found: dict[Cell, dict[float, dict[str, float]]] = {}
    for row in read_rows(folder / "out"):
        at = int(row.factors["model"]), float(row.factors["coupling_gain"])
        here = found.setdefault(at, {}).setdefault(float(row.factors["noise"]), {})
        here[row.model] = row.successes / row.runs
    return {
        at: {noise: np.array([each[m] for m in sorted(each)]) for noise, each in sorted(c.items())}
        for at, c in found.items()
    }


def best_of(curve: Curve) -> float:
    """Return the noise of the most successes, by a parabola of log noise through three levels."""
    levels = np.array(list(curve))
    means = np.array([p.mean() for p in curve.values()])
    k = int(means.argmax())
    if not 1 < k < len(levels) - 1:
        return float(levels[k])
    x, y = np.log(levels[k - 1 : k + 2]), means[k - 1 : k + 2]
    a, b, _ = np.polyfit(x, y, 2)
    return float(np.exp(-b / (2 * a)))


def rule_of(fitted: dict[Cell, Curve]) -> NDArray[np.float64]:
    """Return log c, a and b of noise = c gain^a degree^b; cells without a best are left out."""
    best = {at: best_of(curve) for at, curve in fitted.items()}
    inner = {at: noise for at, noise in best.items() if LEVELS[0] < noise < LEVELS[-1]}
    left = np.array([[1, np.log(gain), np.log(degree)] for degree, gain in inner])
    rule, *_ = np.linalg.lstsq(left, np.log(list(inner.values())), rcond=None)
    return rule


def said_by(rule: NDArray[np.float64], at: Cell) -> float:
    """Return the noise that the rule says."""
    degree, gain = at
    return float(np.exp(rule @ [1, np.log(gain), np.log(degree)]))


def resampled_rules(fitted: dict[Cell, Curve]) -> NDArray[np.float64]:
    """Return the rules of bootstrap samples of the graphs of the fit."""
    rng, found = np.random.default_rng(0), []
    for _ in range(SAMPLES):
        n = FIT["graphs"]
        draw = {degree: rng.integers(n, size=n) for degree in FIT["degrees"]}
        sample = {at: {s: p[draw[at[0]]] for s, p in c.items()} for at, c in fitted.items()}
        found.append(rule_of(sample))
    return np.array(found)


def interval(values: NDArray[np.float64], digits: int = 1) -> str:
    """Return the middle 95 % of bootstrap samples."""
    low, high = np.quantile(values, [0.025, 0.975], method="nearest")
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def fit(out: Path) -> tuple[NDArray[np.float64], float]:
    """Fit the rule, and choose one noise for all; say how the curves look."""
    fitted = curves(out / "fit", FIT, {at: list(LEVELS) for at in cells_of(FIT)})
    for (degree, gain), curve in fitted.items():
        line = " ".join(f"{p.mean():.3f}" for p in curve.values())
        print(f"degree {degree}, gain {gain:g}: {line}; best {best_of(curve):.3f}")
    rule = rule_of(fitted)
    total = {noise: sum(c[noise].mean() for c in fitted.values()) for noise in LEVELS}
    one = max(total, key=lambda noise: total[noise])
    names = ("log of the factor", "exponent of the gain", "exponent of the degree")
    for name, value, each in zip(names, rule, resampled_rules(fitted).T, strict=True):
        print(f"{name}: {value:.2f} {interval(each, 2)}")
    print(f"one noise for all: {one:g}")
    return rule, one


def test(out: Path, rule: NDArray[np.float64], one: float) -> None:
    """Compare the noise of the rule with others, on graphs of other degrees at other gains."""
    said = {at: round(said_by(rule, at), 4) for at in cells_of(TEST)}
    levels = {at: sorted({*LEVELS, noise}) for at, noise in said.items()}
    found = curves(out / "test", TEST, levels)
    gains: dict[str, list[NDArray[np.float64]]] = {}
    for at, curve in found.items():
        grid = {noise: p for noise, p in curve.items() if noise in LEVELS}
        best = max(grid, key=lambda noise: grid[noise][::2].mean())
        rivals = {"best of the grid": best, "one noise for all": one, "no noise": 0.0}
        ours = curve[said[at]]
        print(f"degree {at[0]}, gain {at[1]:g}: says {said[at]:g}, success {ours.mean():.3f}")
        for name, noise in rivals.items():
            some = slice(1, None, 2) if name == "best of the grid" else slice(None)
            lost = 100 * (ours - curve[noise])[some]
            rng = np.random.default_rng(at[0])  # graphs have all gains in common
            draws = lost[rng.integers(len(lost), size=(SAMPLES, len(lost)))].mean(axis=1)
            gains.setdefault(name, []).append(np.r_[lost.mean(), draws])
            print(f"   above {name} ({noise:g}): {lost.mean():.1f} {interval(draws)}")
    for name, each in gains.items():
        mean = np.mean(each, axis=0)
        print(f"all: above {name} by {mean[0]:.1f} {interval(mean[1:])} points of success")


def main() -> None:
    """Fit, then test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--only-fit", action="store_true", help="leave the graphs of the test alone"
    )
    options = parser.parse_args()
    rule, one = fit(options.out)
    if not options.only_fit:
        test(options.out, rule, one)


if __name__ == "__main__":
    main()
