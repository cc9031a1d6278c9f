"""The regressor on scikit-learn's diabetes data, beside linear regression and cheap baselines.

    python benchmarks/training/diabetes.py --seeds 10

A seed draws 60 % of the 442 samples to train on, the first network and the machine; R² is of the
other 40 %. Settings are the estimator's defaults, and those whose names say what differs. Random
networks are as many as the machine made runs, and the best on the training samples is kept.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.stats import t as student
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from qnn_train import QuantizedNetwork, QuantizedNetworkRegressor
from qnn_train.solve.losses import fitted_line

SETTINGS = {
    "8 hidden, binary": {},
    "4 hidden, ternary": {"hidden": 4, "weights": "ternary"},
    "no hidden layer, ternary": {"hidden": 0, "weights": "ternary"},
}


def main() -> None:
    """Print a table: mean R², its interval, the paired difference to linear regression."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    seeds = parser.parse_args().seeds
    with threadpool_limits(1):
        rows = [_one_split(seed) for seed in range(seeds)]
    print("| | bits per parameter | calls | R², training | R², others | less linear regression |")
    print("|---|---|---|---|---|---|")
    reference = np.array([row["linear regression"][3] for row in rows])
    for name in rows[0]:
        bits, calls, train, test = np.array([row[name] for row in rows]).T
        said = "real" if np.isnan(bits[0]) else f"{bits[0]:.2f}"
        calls = f"{calls[0]:.0f}" if calls[0] else ""
        less = "" if name == "linear regression" else interval(test - reference, "+")
        print(f"| {name} | {said} | {calls} | {train.mean():.3f} | {interval(test)} | {less} |")


def interval(values: np.ndarray, sign: str = "") -> str:
    """Return the mean and its 95 % interval over seeds (Student's t)."""
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():{sign}.3f} ± {half:.3f}"


@dataclass(frozen=True)
class Split:
    """Samples to train on, and others."""

    X: np.ndarray
    y: np.ndarray
    others: np.ndarray
    answers: np.ndarray

    @classmethod
    def of(cls, seed: int) -> Self:
        """Draw them."""
        X, y = load_diabetes(return_X_y=True)
        X, others, y, answers = train_test_split(X, y, test_size=0.4, random_state=seed)
        return cls(X, y, others, answers)

    def scores(self, margins: np.ndarray, elsewhere: np.ndarray) -> tuple[float, float]:
        """Return R² on both, of margins on the line that suits the first."""
        (scale,), (offset,) = fitted_line(margins[:, None], self.y[:, None])
        pairs = ((self.y, margins), (self.answers, elsewhere))
        return tuple(r2_score(y, scale * of_one + offset) for y, of_one in pairs)


def _one_split(seed: int) -> dict[str, tuple[float, float, float, float]]:
    """Return bits per parameter, calls, and R² on the training samples and on the others."""
    split = Split.of(seed)
    linear = LinearRegression().fit(split.X, split.y)
    scores = linear.score(split.X, split.y), linear.score(split.others, split.answers)
    found = {"linear regression": (np.nan, 0, *scores)}
    for name, changes in SETTINGS.items():
        network = QuantizedNetworkRegressor(random_state=seed, **changes).fit(split.X, split.y)
        summary = network.summary_
        scores = network.score(split.X, split.y), network.score(split.others, split.answers)
        found[name] = (summary.bits_per_parameter, summary.calls, *scores)
        guessed = _best_random(network, split, seed)
        found[f"{name}, best of {summary.runs} random"] = (summary.bits_per_parameter, 0, *guessed)
    for code, bits in (("binary", 1.0), ("ternary", 2.0)):
        rounded = _rounded(linear.coef_, split, code)
        found[f"linear regression, rounded to {code}"] = (bits, 0, *rounded)
    return found


def _best_random(
    network: QuantizedNetworkRegressor, split: Split, seed: int
) -> tuple[float, float]:
    """Return R² of the random network of the same shape that is best on the training samples."""
    architecture, grid = network.model_.networks.architecture, network.model_.grid
    shape = (network.summary_.runs, architecture.n_bits)
    bits = np.random.default_rng([seed, 1]).integers(0, 2, shape).astype(np.int8)
    networks = QuantizedNetwork.from_bits(architecture, bits)
    parts = (grid.transform(samples) for samples in (split.X, split.others))
    both = (networks.margin(part).astype(float) for part in parts)
    return max(split.scores(*pair) for pair in zip(*both, strict=True))


def _rounded(coefficients: np.ndarray, split: Split, code: str) -> tuple[float, float]:
    """Return R² of signs of standardized coefficients, small ones 0 where that helps (ternary)."""
    spread = split.X.std(axis=0)
    weights = coefficients * spread
    limits = [0.0] if code == "binary" else [0.0, *np.sort(np.abs(weights))[:-1]]
    signs = [np.where(np.abs(weights) > limit, np.sign(weights), 0) / spread for limit in limits]
    return max(split.scores(split.X @ each, split.others @ each) for each in signs)


if __name__ == "__main__":
    main()
