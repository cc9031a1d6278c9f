"""The estimators with their defaults on twelve small sets, beside what else there is.

    python benchmarks/training/acceptance.py --splits 10 --rows rows/acceptance
    python benchmarks/training/acceptance.py --table --rows rows/acceptance
    python benchmarks/training/acceptance.py --choose --splits 3 --pretraining 2000
    python benchmarks/training/acceptance.py --compare-starts --splits 4
    python benchmarks/training/acceptance.py --vary tolerance 0.001 0.03 --sets iris --splits 10

A split is a seed: of the samples that are drawn, of those that train (60 %), and of every method.
Scores are of the other 40 %: accuracy, balanced where classes are, R² of real answers. Rows that
are there are not computed again. `ste` has the shape, the activation and the bits of the weights of
`ours` and as many starts, of which the one with the least training loss counts, but real biases and
scales; `coded` is a straight-through estimator that has nothing real that `ours` has not: its
codes, its grid of features, a start with each of its clips, and its choice among them; `mlp` is
scikit-learn's, with as many hidden neurons; `random` is the best of 2,000 networks of the shape of
`ours` on the training samples; `descent` is `ours` with one-flip descents on the host in the place
of the machine.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import ste
from rows import Rows
from scipy.stats import t as student
from sklearn import datasets
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import accuracy_score, balanced_accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from cim_hal import open_device
from qnn_train import QuantizedNetwork, QuantizedNetworkClassifier, QuantizedNetworkRegressor
from qnn_train.solve.losses import CrossEntropy, SquaredError, fitted_line
from qnn_train.solve.straight_through import straight_through as coded_descent

HIDDEN, STARTS, GUESSES, FIRST_SEED, CHOSEN_ON = 8, 4, 2000, 1000, 2020
STE_STEPS, PRETRAINING, DEVICE = 6000, 2000, "emulator-dsb"


def xor(seed):
    X = np.random.default_rng(seed).uniform(-1, 1, (600, 2))
    return X, (X.prod(axis=1) > 0).astype(int)


def checkerboard(seed):
    X = np.random.default_rng(seed).uniform(0, 3, (900, 2))
    return X, (np.floor(X).sum(axis=1) % 2).astype(int)


def parity(seed):
    """Return four signs that count, one that does not, and noise on all."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], (900, 5))
    return signs + rng.normal(0, 0.2, signs.shape), (signs[:, :4].prod(axis=1) > 0).astype(int)


def imbalanced(seed):
    return datasets.make_classification(
        2000, 10, n_informative=5, weights=[0.95], flip_y=0.01, random_state=seed
    )


SETS = {
    "iris": lambda _: datasets.load_iris(return_X_y=True),
    "wine": lambda _: datasets.load_wine(return_X_y=True),
    "breast cancer": lambda _: datasets.load_breast_cancer(return_X_y=True),
    "digits": lambda _: datasets.load_digits(return_X_y=True),
    "moons": lambda seed: datasets.make_moons(600, noise=0.2, random_state=seed),
    "circles": lambda seed: datasets.make_circles(600, noise=0.1, factor=0.5, random_state=seed),
    "XOR": xor,
    "checkerboard": checkerboard,
    "parity, 4 of 5": parity,
    "imbalanced, 5 %": imbalanced,
    "friedman1": lambda seed: datasets.make_friedman1(600, noise=1.0, random_state=seed),
    "diabetes": lambda _: datasets.load_diabetes(return_X_y=True),
}
REAL = {"friedman1", "diabetes"}
MEASURED = {"iris", "wine", "breast cancer", "digits", "diabetes"}


@dataclass(frozen=True)
class Split:
    """Standardized samples to train on, and others."""

    name: str
    seed: int
    X: np.ndarray
    others: np.ndarray
    y: np.ndarray
    answers: np.ndarray

    @classmethod
    def of(cls, name: str, seed: int) -> Self:
        """Draw them."""
        X, y = SETS[name](seed)
        strata = None if name in REAL else y
        X, others, *answers = train_test_split(
            X, y, test_size=0.4, random_state=seed, stratify=strata
        )
        scaler = StandardScaler().fit(X)
        return cls(name, seed, scaler.transform(X), scaler.transform(others), *answers)

    @property
    def weight(self) -> str | None:
        """Whether classes count alike."""
        return "balanced" if self.name.startswith("imbalanced") else None

    def score(self, predicted: np.ndarray) -> float:
        """Return how good answers for the others are."""
        if self.name in REAL:
            return float(r2_score(self.answers, predicted))
        score = balanced_accuracy_score if self.weight else accuracy_score
        return float(score(self.answers, predicted))


def linear(split: Split) -> np.ndarray:
    if split.name in REAL:
        return RidgeCV(np.logspace(-3, 3, 13)).fit(split.X, split.y).predict(split.others)
    model = LogisticRegression(class_weight=split.weight, max_iter=2000)
    return model.fit(split.X, split.y).predict(split.others)


def mlp(split: Split) -> np.ndarray:
    kind = MLPRegressor if split.name in REAL else MLPClassifier
    model = kind(
        hidden_layer_sizes=(HIDDEN,), activation="tanh", max_iter=2000, random_state=split.seed
    )
    if split.name in REAL:
        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    return model.fit(split.X, split.y, sample_weight=_weights(split)).predict(split.others)


def straight_through(split: Split) -> np.ndarray:
    labels, loss, back = _targets(split)
    X, others = (each.astype(np.float32) for each in (split.X, split.others))
    recipe = ste.Recipe(
        kind="binary", hidden=HIDDEN, loss=loss, activation="hard_tanh", least_steps=STE_STEPS
    )
    rows = _repeated(split)
    found = [
        ste.fit(X[rows], labels[rows], seed=100 * split.seed + start, recipe=recipe)
        for start in range(STARTS)
    ]
    best = min(found, key=lambda net: _loss(net.outputs(X[rows]), labels[rows], loss))
    return back(best.outputs(others))


def coded(split: Split, steps: int = STE_STEPS) -> float:
    """Return the score of a straight-through estimator with the codes and the grid of `ours`."""
    rows, starts = _repeated(split), []
    for start, clip in enumerate(QuantizedNetworkClassifier().clip):
        model = ours(
            split, DEVICE, oracle="descent", clip=clip, sweeps=1, starts=1, pretraining=0
        ).model_
        parts = [model.grid.transform(samples) for samples in (split.X, split.others)]
        loss = SquaredError() if split.name in REAL else CrossEntropy()
        labels = (split.y - split.y.mean()) / split.y.std() if split.name in REAL else split.y
        network, found = coded_descent(
            model.networks.architecture,
            parts[0][rows],
            labels[rows],
            loss=loss,
            seed=100 * split.seed + start,
            steps=steps,
        )
        margins = [network.margin(part).astype(float) for part in parts]
        starts.append((found, _answered(split, *margins)[1]))
    return split.score(_taken(starts, QuantizedNetworkClassifier().clip_gain))


def _targets(split: Split):
    """Return targets (samples, outputs), the loss, and how outputs become answers."""
    if split.name in REAL:
        mean, spread = split.y.mean(), split.y.std()
        labels = ((split.y - mean) / spread)[:, None]
        return labels.astype(np.float32), "squared", lambda out: out[:, 0] * spread + mean
    classes = len(np.unique(split.y))
    if classes == 2:
        labels = split.y[:, None].astype(np.float32)
        return labels, "logistic", lambda out: (out[:, 0] > 0).astype(int)
    return np.eye(classes, dtype=np.float32)[split.y], "softmax", lambda out: out.argmax(axis=1)


def _loss(outputs: np.ndarray, targets: np.ndarray, loss: str) -> float:
    if loss == "squared":
        return float(np.mean(np.square(outputs - targets)))
    if loss == "logistic":
        return float(np.mean(np.logaddexp(0, outputs) - outputs * targets))
    top = np.logaddexp.reduce(outputs, axis=1)
    return float(np.mean(top - (outputs * targets).sum(axis=1)))


def _weights(split: Split) -> np.ndarray | None:
    if not split.weight:
        return None
    counts = np.bincount(split.y)
    return (len(split.y) / len(counts) / counts)[split.y]


def _repeated(split: Split) -> np.ndarray:
    """Return the samples, those of rare classes as often as those of others where they count so."""
    weights = _weights(split)
    if weights is None:
        return np.arange(len(split.y))
    times = np.maximum(1, np.rint(weights / weights.min())).astype(int)
    return np.repeat(np.arange(len(split.y)), times)


def ours(split: Split, device: Any, **changes: Any):
    """Return the estimator with its defaults, fitted."""
    options = {"device": device, "random_state": split.seed} | changes
    if split.name in REAL:
        return QuantizedNetworkRegressor(**options).fit(split.X, split.y)
    model = QuantizedNetworkClassifier(class_weight=split.weight, **options)
    return model.fit(split.X, split.y)


def best_random(split: Split, device: Any) -> np.ndarray:
    """Return the answers of the best of networks with each of the clips of `ours`."""
    clips = QuantizedNetworkClassifier().clip
    found = []
    for place, clip in enumerate(clips):
        model = ours(split, device, oracle="descent", clip=clip, sweeps=1, starts=1, pretraining=0)
        architecture, grid = model.model_.networks.architecture, model.model_.grid
        rng = np.random.default_rng([split.seed, 1, place])
        bits = rng.integers(0, 2, (GUESSES // len(clips), architecture.n_bits), np.int8)
        parts = [grid.transform(samples) for samples in (split.X, split.others)]
        for some in np.array_split(bits, 5):
            networks = QuantizedNetwork.from_bits(architecture, some)
            pairs = zip(*(networks.margin(part).astype(float) for part in parts), strict=True)
            found.append(max((_answered(split, *pair) for pair in pairs), key=lambda each: each[0]))
    return max(found, key=lambda each: each[0])[1]


def _answered(split: Split, margins: np.ndarray, elsewhere: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the score on the training samples, and the answers for the others."""
    if split.name in REAL:
        (scale,), (offset,) = fitted_line(margins[:, None], split.y[:, None])
        return r2_score(split.y, scale * margins + offset), scale * elsewhere + offset
    kind = balanced_accuracy_score if split.weight else accuracy_score
    mine, others = (
        (m > 0).astype(int) if m.ndim == 1 else m.argmax(axis=1) for m in (margins, elsewhere)
    )
    return kind(split.y, mine), others


def to_choose_by(name: str, seed: int) -> Split:
    """Return a split that may be looked at.

    What trains of a measured set is split once more: the other 40 % are not looked at.
    """
    split = Split.of(name, seed)
    if name not in MEASURED:
        return split
    strata = None if name in REAL else split.y
    parts = train_test_split(split.X, split.y, test_size=0.3, random_state=seed, stratify=strata)
    return Split(name, seed, *parts)


def starts(names: list[str], seeds: range) -> None:
    """Print the scores of descents from random and from pretrained networks, and of these alone."""
    print("| set | random, descent | STE alone | STE, descent |\n|---|---|---|---|")
    for name in names:
        rows = []
        for split in (to_choose_by(name, seed) for seed in seeds):
            fitted = [
                ours(split, DEVICE, oracle="descent", pretraining=n) for n in (0, PRETRAINING)
            ]
            random, trained = (split.score(each.predict(split.others)) for each in fitted)
            rows.append((random, coded(split, PRETRAINING), trained))
        print(f"| {name} | {' | '.join(f'{100 * each:.1f}' for each in np.mean(rows, axis=0))} |")


def vary(names: list[str], seeds: range, option: str, values: list[float]) -> None:
    """Print the score of each value of an option, and the paired difference to the first."""
    print("| set | " + " | ".join(f"{option} {value:g}" for value in values), "| calls |")
    for name in names:
        splits = [to_choose_by(name, seed) for seed in seeds]
        fitted = [
            [ours(split, DEVICE, oracle="descent", **{option: value}) for split in splits]
            for value in values
        ]
        scores = 100 * np.array(
            [
                [
                    split.score(model.predict(split.others))
                    for split, model in zip(splits, models, strict=True)
                ]
                for models in fitted
            ]
        )
        cells = [f"{scores[0].mean():.1f}"]
        cells += [
            f"{each.mean():.1f} ({_with_interval(each - scores[0], 1)})" for each in scores[1:]
        ]
        calls = ", ".join(f"{np.mean([m.calls_ for m in models]):.0f}" for models in fitted)
        print(f"| {name} | {' | '.join(cells)} | {calls} |", flush=True)


def by_clip(name: str, seed: int, steps: int) -> list[tuple[float, float]]:
    """Return loss and score of one start with each clip, pretrained by so many steps.

    On samples to choose by.
    """
    split = to_choose_by(name, seed)
    clips = QuantizedNetworkClassifier().clip
    fitted = [
        ours(split, DEVICE, oracle="descent", clip=clip, starts=1, pretraining=steps)
        for clip in clips
    ]
    return [
        (each.history_[-1].best_objective, split.score(each.predict(split.others)))
        for each in fitted
    ]


def choice(names: list[str], seeds: range, steps: int) -> None:
    """Print mean loss and score by clip, and the score of what each `clip_gain` takes."""
    clips, gains = QuantizedNetworkClassifier().clip, (0.0, 0.1, 0.2, 0.3, 0.4)
    print(
        "| set | " + " | ".join([*(f"clip {c:g}" for c in clips), *(f"gain {g:g}" for g in gains)])
    )
    for name in names:
        found = [by_clip(name, seed, steps) for seed in seeds]
        cells = [f"{loss:.3f}: {100 * score:.1f}" for loss, score in np.mean(found, axis=0)]
        cells += [f"{100 * np.mean([_taken(each, gain) for each in found]):.1f}" for gain in gains]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _taken(starts: list[tuple[float, Any]], gain: float) -> Any:
    """Return what the first clip found, or one behind it whose loss gains a share on it."""
    taken = starts[0]
    for each in starts[1:]:
        taken = each if each[0] < (1 - gain) * taken[0] else taken
    return taken[1]


METHODS = {
    "linear": lambda split, _device: {"score": split.score(linear(split))},
    "mlp": lambda split, _device: {"score": split.score(mlp(split))},
    "ste": lambda split, _device: {"score": split.score(straight_through(split))},
    "coded": lambda split, _device: {"score": coded(split)},
    "ours": lambda split, device: _row(split, ours(split, device)),
    "descent": lambda split, device: _row(split, ours(split, device, oracle="descent")),
    "random": lambda split, device: {"score": split.score(best_random(split, device))},
}


COLUMNS = ("linear", "mlp", "ste", "coded", "random", "descent", "ours")


def _row(split: Split, model: Any) -> dict[str, Any]:
    return {
        "score": split.score(model.predict(split.others)),
        "train": model.score(split.X, split.y),
        "loss": model.history_[-1].best_objective,
        "calls": model.calls_,
        "bits_per_parameter": model.summary_.bits_per_parameter,
    }


def table(rows: Rows) -> None:
    """Print means over splits, and the paired differences of ours with their intervals.

    A number of splits in brackets is that of a column with fewer.
    """
    names = "linear | MLP | STE, real | STE | best of random | one-flip descent | this"
    print(f"| set | splits | {names} | less STE | less STE, real |\n" + "|---" * 11 + "|")
    for name in SETS:
        found = {(r["method"], r["seed"]): r["score"] for r in rows.all if r["task"] == name}
        seeds = sorted(seed for method, seed in found if method == "ours")
        scores = {m: np.array([found[m, s] for s in seeds if (m, s) in found]) for m in COLUMNS}
        unit, digits = (1, 3) if name in REAL else (100, 1)
        cells = []
        for each in scores.values():
            fewer = "" if len(each) == len(seeds) else f" ({len(each)})"
            cells.append(f"{unit * each.mean():.{digits}f}{fewer}" if len(each) else "")
        for other in ("coded", "ste"):
            both = [seed for seed in seeds if (other, seed) in found]
            apart = np.array([unit * (found["ours", s] - found[other, s]) for s in both])
            cells.append(_with_interval(apart, digits))
        print(f"| {name} | {len(seeds)} | {' | '.join(cells)} |")


def _with_interval(apart: np.ndarray, digits: int) -> str:
    if not len(apart):
        return ""
    told = f"{apart.mean():+.{digits}f}"
    if len(apart) > 1:
        half = student.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / np.sqrt(len(apart))
        told += f" ± {half:.{digits}f}"
    return told


def main() -> None:
    """Compute the rows that are missing, split by split, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="seed of the first split")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--choose", action="store_true", help="compare clips on other seeds")
    parser.add_argument("--pretraining", type=int, default=0, help="steps, of --choose")
    parser.add_argument("--compare-starts", action="store_true", help="on those seeds too")
    parser.add_argument("--vary", nargs="+", metavar=("OPTION", "VALUE"), help="on those seeds too")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    options = parser.parse_args()
    if options.choose or options.compare_starts or options.vary:
        seeds = range(CHOSEN_ON, CHOSEN_ON + options.splits)
        with threadpool_limits(1):
            if options.vary:
                option, *values = options.vary
                vary(options.sets, seeds, option, [float(value) for value in values])
            elif options.choose:
                choice(options.sets, seeds, options.pretraining)
            else:
                starts(options.sets, seeds)
        return
    if options.rows is None:
        parser.error("--rows FOLDER keeps what is computed")
    options.rows.mkdir(parents=True, exist_ok=True)
    rows = Rows(options.rows)
    if not options.table:
        warnings.simplefilter("ignore", ConvergenceWarning)
        with threadpool_limits(1), open_device(DEVICE) as device:
            for seed in range(options.first, options.first + options.splits):
                for name in options.sets:
                    for method in options.methods:
                        key = {"task": name, "method": method, "classes": [], "seed": seed}
                        if not rows.has(**key):
                            rows.add([key | METHODS[method](Split.of(name, seed), device)])
    table(rows)


if __name__ == "__main__":
    main()
