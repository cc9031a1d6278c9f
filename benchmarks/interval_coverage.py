"""How often the interval of a success probability holds the truth, in simulated studies.

Other figures: ``figure_coverage.py``.

    python benchmarks/interval_coverage.py --out coverage.csv [--studies 1000] [--models 5 20 100]

Rows are kept, and a second call goes on. Hardness of models: Beta of a mean and a concentration
(1: many models near 0 and near 1; 1e6: all equal), `logistic` (normal logits of deviation 2, skewed
as glasses are) and `two kinds` (models that always fail, and models of success 0.9: no family that
the interval assumes). `none` is the share of studies without any success: where it is above 0.97 no
interval that is not drawn by lot covers between 93 and 97 %, as it holds the truth in all of these
studies or in none.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from cim_hal.study.shares import Interval, share_of

MEANS = (0.001, 0.01, 0.1, 0.5)  # intervals of 1 - p mirror those of p
HARDNESS = ("beta 1", "logistic", "two kinds", "beta 10", "beta 1e6")
FIELDS = (
    "models",
    "hardness",
    "mean",
    "runs",
    "studies",
    "none",
    "covered",
    "above",
    "below",
    "width",
)


@cache
def centre(mean: float) -> float:
    """Return the middle of the logits whose shares have a mean."""
    z = np.linspace(-6, 6, 4001)
    weights = np.exp(-z * z / 2) / np.exp(-z * z / 2).sum()
    found: Any = brentq(lambda mu: (weights * expit(mu + 2 * z)).sum() - mean, -30, 30)
    return float(found)


def shares(rng: np.random.Generator, hardness: str, mean: float, shape: tuple[int, int]) -> Any:
    if hardness == "logistic":
        return expit(centre(mean) + 2 * rng.normal(size=shape))
    if hardness == "two kinds":
        return 0.9 * (rng.random(shape) < mean / 0.9)
    concentration = float(hardness.split()[1])
    return rng.beta(mean * concentration, (1 - mean) * concentration, shape)


def _misses(mean: float) -> tuple[Callable[[Interval], bool], ...]:
    return (lambda found: found.low > mean), (lambda found: found.high < mean)


def row(n_models: int, hardness: str, mean: float, runs: int, n_studies: int) -> dict[str, Any]:
    rng = np.random.default_rng([n_models, int(1e6 * mean), HARDNESS.index(hardness)])
    counts = rng.binomial(runs, shares(rng, hardness, mean, (n_studies, n_models)))
    found = [share_of(each, [runs] * n_models).of_family for each in np.sort(counts).tolist()]
    above, below = (float(np.mean([f(each) for each in found])) for f in _misses(mean))
    width = float(np.median([each.high - each.low for each in found]))
    none = float((counts.sum(axis=1) == 0).mean())
    covered = round(1 - above - below, 6)
    values = (
        n_models,
        hardness,
        mean,
        runs,
        n_studies,
        none,
        covered,
        above,
        below,
        f"{width:.4f}",
    )
    return dict(zip(FIELDS, values, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("coverage.csv"))
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--models", type=int, nargs="*", default=[5, 20, 100])
    parser.add_argument("--means", type=float, nargs="*", default=MEANS)
    parser.add_argument("--hardness", nargs="*", choices=HARDNESS, default=HARDNESS)
    parser.add_argument("--runs", type=int, default=64)
    asked = parser.parse_args()
    with asked.out.open("a+", newline="") as file:
        file.seek(0)
        known = {tuple(each[n] for n in FIELDS[:5]) for each in csv.DictReader(file)}
        writer: csv.DictWriter[str] = csv.DictWriter(file, FIELDS)
        if not known:
            writer.writeheader()
        for n, hardness, mean in itertools.product(asked.models, asked.hardness, asked.means):
            what = (n, hardness, mean, asked.runs)
            if tuple(map(str, (*what, asked.studies))) not in known:
                found = row(*what, asked.studies)
                writer.writerow(found)
                file.flush()
                print(*found.values(), flush=True)


if __name__ == "__main__":
    main()
