"""``qnn-train compare``: other methods beside ours on a table of one's own."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from contextlib import ExitStack
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cim_hal.atomic_files import replace_text
from cim_hal.option_types import OutputFile
from cim_hal.text import counted
from qnn_train.cli.estimator_options import estimator_of, training_options
from qnn_train.cli.options import option
from qnn_train.cli.own_data import (
    DEVICE,
    OwnData,
    json_option,
    machine_options,
    refused,
    table_options,
)
from qnn_train.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qnn_train.arrays import Array

__all__ = ["KeptRows", "compare"]

# Activations of scikit-learn that are nearest to ours.
FLOAT_ACTIVATIONS = {"relu": "relu", "leaky_relu": "relu", "sigmoid": "logistic"}
CHUNK = 4_000_000  # sums of random networks at a time


@click.command("compare")
@table_options
@click.option(
    "--splits",
    type=click.IntRange(2, 100),
    default=5,
    show_default=True,
    help="Random splits into rows to train on and rows to test on.",
)
@training_options
@machine_options
@option(
    "checkpoint",
    OutputFile(),
    "Written after each method on each split; goes on from there if it exists.",
)
@click.option("--picture", type=OutputFile(".png", ".svg", ".pdf"), help="Draw it here.")
@json_option
@click.option("--quiet", is_flag=True, help="No progress.")
def compare(**options: Any) -> None:
    """Compare a quantized network with other methods on a table of your own.

    Beside it: logistic regression or ridge; a float network of the same shape, to convergence; the
    straight-through estimator (STE) on the same codes, so at equal bits; as many random networks of
    the same codes as the machine makes runs, of which the best on the training rows counts; and our
    method with simulated annealing on the host in the place of the machine. All see the same
    splits, and what starts at random has --starts of them, the best on the training rows counting.
    Differences are paired; intervals are of 95 %, Student's, over splits, which share rows:
    they are no intervals over other tables.

    \b
    Examples:
      qnn-train compare iris.csv --target species
      qnn-train compare houses.csv --target price --splits 10 --picture compare.png
    """  # noqa: D301  \b is click's mark for text it must not rewrap
    from cim_hal.console import say
    from qnn_train.cli.evaluate import write_numbers

    found, data = _all_splits(options)
    report = _report(found, data, options)
    write_numbers(report, options["json_file"])
    if options["picture"] is not None:
        _draw(report, options)
    if str(options["json_file"]) != "-":
        say(*_lines(report, data))


def _all_splits(options: dict[str, Any]) -> tuple[dict[str, list[dict[str, float]]], OwnData]:
    """Return of each method its scores and seconds on every split, ours last."""
    from cim_hal.console import signs_of_life
    from qnn_train.cli import train as training
    from qnn_train.cli.fit import session_of
    from qnn_train.data.tables import read_table

    found: dict[str, list[dict[str, float]]] = {}
    seed, splits = options["random_state"], options["splits"]
    status = ["preparing"]
    with ExitStack() as stack:
        stack.enter_context(signs_of_life("training", lambda: status[0], quiet=options["quiet"]))
        show = stack.enter_context(training.bar(quiet=options["quiet"]))
        with refused():
            table = read_table(options["data"])
            data = OwnData.of(table, options, seed=seed)
            if not len(data.y_test):
                raise click.UsageError("--test-share 0 leaves nothing to compare on")
            session = session_of(options, stack)
            estimator_of(data.target, options, device=session or DEVICE).estimate_cost(
                data.X, data.y
            )
            kept = KeptRows(options["checkpoint"], _subject(options))
        for split in range(splits):
            data = OwnData.of(table, options, seed=seed + split)
            rivals = _Split(data, options, session, seed + split)
            for name, method in rivals.methods().items():
                status[0] = f"split {split + 1} of {splits}, {name}"
                show(split, splits, f"splits, {name}")
                scores = kept.row(f"{split} {name}", partial(_timed, method, rivals))
                found.setdefault(name, []).append(scores)
    ours = next(iter(found))
    return {**{name: each for name, each in found.items() if name != ours}, ours: found[ours]}, data


def _timed(method: Callable[[], tuple[float, float]], rivals: _Split) -> dict[str, float]:
    if method != rivals.proximal:
        _ = rivals.ours  # trained again where another call has kept its row
    began = time.perf_counter()
    train, test = method()
    return {"train": train, "test": test, "seconds": time.perf_counter() - began}


def _subject(options: dict[str, Any]) -> dict[str, str]:
    """Return what rows depend on, but for the number of splits."""
    no_matter = {"splits", "checkpoint", "picture", "json_file", "quiet", "machines", "data"}
    said = {name: repr(value) for name, value in options.items() if name not in no_matter}
    return {"data": hashlib.sha256(options["data"].read_bytes()).hexdigest(), **said}


class _Split:
    """All methods on one split; ours is first, as its network says what equal bits are."""

    def __init__(self, data: OwnData, options: dict[str, Any], session: Any, seed: int) -> None:
        self._data, self._options, self._session, self._seed = data, options, session, seed
        self._is_classes = data.target.task == "classification"

    def methods(self) -> dict[str, Callable[[], tuple[float, float]]]:
        """Return by name what trains and returns the scores of training and test rows."""
        linear = "logistic regression" if self._is_classes else "ridge regression"
        return {
            "quantized, proximal descent": self.proximal,
            linear: self._linear,
            "float network, same shape": self._float_network,
            "STE, equal bits": self._straight_through,
            "best of random networks": self._random,
            "quantized, annealing on the host": self._annealing,
        }

    @cached_property
    def ours(self) -> Any:
        """Our network."""
        return self._fitted(self._options)

    def _starts(self) -> range:
        first = self._seed * self.ours.starts
        return range(first, first + self.ours.starts)

    def _scores(self, predict: Callable[[Array], Array]) -> tuple[float, float]:
        from sklearn.metrics import accuracy_score, r2_score

        score = accuracy_score if self._is_classes else r2_score
        data = self._data
        pairs = ((data.X, data.y), (data.X_test, data.y_test))
        train, test = (float(score(y, predict(X))) for X, y in pairs)
        return train, test

    def proximal(self) -> tuple[float, float]:
        """Score our network."""
        return self._scores(self.ours.predict)

    def _annealing(self) -> tuple[float, float]:
        return self._scores(self._fitted(self._options | {"oracle": "annealing"}).predict)

    def _fitted(self, options: dict[str, Any]) -> Any:
        data, device = self._data, self._session or DEVICE
        network = estimator_of(data.target, options, device=device, random_state=self._seed)
        return network.fit(data.X, data.y)

    def _linear(self) -> tuple[float, float]:
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        kind = LogisticRegression(max_iter=10_000) if self._is_classes else Ridge()
        return self._scores(
            make_pipeline(StandardScaler(), kind).fit(self._data.X, self._data.y).predict
        )

    def _float_network(self) -> tuple[float, float]:
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        architecture = self.ours.model_.networks.architecture
        kind = MLPClassifier if self._is_classes else MLPRegressor
        spread = 1.0 if self._is_classes else float(self._data.y.std()) or 1.0
        centre = 0.0 if self._is_classes else float(self._data.y.mean())
        y = self._data.y if self._is_classes else (self._data.y - centre) / spread
        samples = _standardized(self._data)
        shape = tuple(layer.outputs for layer in architecture.hidden)
        activation = FLOAT_ACTIVATIONS.get(self.ours.activation, "tanh")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the last step of lbfgs may find nothing better
            fitted = [
                kind(
                    hidden_layer_sizes=shape,
                    activation=activation,
                    solver="lbfgs",
                    max_iter=5000,
                    max_fun=10**6,
                    random_state=start,
                ).fit(samples(self._data.X), y)
                for start in self._starts()
            ]
        best: Any = min(fitted, key=lambda each: each.loss_)
        if self._is_classes:
            return self._scores(lambda X: best.predict(samples(X)))
        return self._scores(lambda X: spread * best.predict(samples(X)) + centre)

    def _straight_through(self) -> tuple[float, float]:
        from qnn_train.solve.losses import CrossEntropy, SquaredError
        from qnn_train.solve.straight_through import straight_through

        model = self.ours.model_
        inputs, labels = model.grid.transform(self._data.X), self._labels()
        loss = CrossEntropy() if self._is_classes else SquaredError()
        found = [
            straight_through(model.networks.architecture, inputs, labels, loss=loss, seed=start)
            for start in self._starts()
        ]
        return self._of_network(min(found, key=lambda each: each[1])[0])

    def _random(self) -> tuple[float, float]:
        """Draw networks in chunks, and keep the one of the highest score on the training rows."""
        import numpy as np

        from qnn_train.network import QuantizedNetwork

        model = self.ours.model_
        architecture, left = model.networks.architecture, self.ours.summary_.runs
        inputs = model.grid.transform(self._data.X)
        width = max(layer.outputs for layer in architecture.layers)
        rng = np.random.default_rng([self._seed, 1])
        best, most = None, -np.inf
        while left:
            count = min(left, max(1, CHUNK // (width * len(inputs))))
            bits = rng.integers(0, 2, (count, architecture.n_bits), np.int8)
            drawn = QuantizedNetwork.from_bits(architecture, bits)
            scores = self._training_scores(drawn.margin(inputs))
            if scores.max() > most:
                best, most = drawn[int(scores.argmax())], scores.max()
            left -= count
        return self._of_network(best)

    def _labels(self) -> Array:
        """Return the answers as losses take them."""
        import numpy as np

        y = self._data.y
        if not self._is_classes:
            return (y - y.mean()) / (y.std() or 1.0)
        index = np.searchsorted(self.ours.classes_, y)
        return 2 * index - 1 if len(self.ours.classes_) == 2 else index

    def _training_scores(self, margins: Array) -> Array:
        """Return the score of each of many networks, of margins (networks, n, ...)."""
        import numpy as np

        labels = self._labels()
        if self._is_classes:
            told = margins.argmax(axis=-1) if margins.ndim == 3 else np.where(margins > 0, 1, -1)
            return (told == labels).mean(axis=-1)
        centred = margins - margins.mean(axis=1, keepdims=True)
        spread = np.sqrt(np.square(centred).sum(axis=1) * np.square(labels).sum())
        return np.abs(centred @ labels) / np.maximum(spread, 1e-300)

    def _of_network(self, network: Any) -> tuple[float, float]:
        """Return the scores of one network, on the scale that suits it."""
        from qnn_train.solve.losses import fitted_line

        model, classes = self.ours.model_, self._data.target.classes

        def margins(X: Array) -> Array:
            return network.margin(model.grid.transform(X)).astype(float)

        if not self._is_classes:
            labels = self._data.y[:, None]
            (scale,), (offset,) = fitted_line(margins(self._data.X)[:, None], labels)
            return self._scores(lambda X: scale * margins(X) + offset)
        if len(classes) == 2:
            return self._scores(lambda X: classes[(margins(X) > 0).astype(int)])
        return self._scores(lambda X: classes[margins(X).argmax(axis=-1)])


def _standardized(data: OwnData) -> Callable[[Array], Array]:
    import numpy as np
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(data.X)
    return lambda X: np.asarray(scaler.transform(X))


def _report(
    found: dict[str, list[dict[str, float]]], data: OwnData, options: dict[str, Any]
) -> dict[str, Any]:
    import numpy as np

    from qnn_train.evaluation import mean_interval

    columns = {
        name: {key: np.array([each[key] for each in rows]) for key in rows[0]}
        for name, rows in found.items()
    }
    ours = list(columns)[-1]
    methods = [
        {
            "method": name,
            "test": asdict(mean_interval(each["test"])),
            "train": float(each["train"].mean()),
            "less_ours": asdict(mean_interval(each["test"] - columns[ours]["test"])),
            "seconds": float(each["seconds"].mean()),
            "splits": each["test"].tolist(),
        }
        for name, each in columns.items()
    ]
    return {
        "data": str(options["data"]),
        "task": data.target.task,
        "score": "accuracy" if data.target.task == "classification" else "R²",
        "n_train": len(data.y),
        "n_test": len(data.y_test),
        "methods": methods,
    }


def _lines(report: dict[str, Any], data: OwnData) -> list[str]:
    from qnn_train.cli.evaluate import aligned

    cells = [["method", f"test {report['score']}", "train", "less ours", "seconds"]]
    for row in report["methods"]:
        less = "" if row is report["methods"][-1] else _plus_minus(row["less_ours"], "+")
        test = _plus_minus(row["test"])
        cells.append([row["method"], test, f"{row['train']:.3f}", less, f"{row['seconds']:.1f}"])
    splits = len(report["methods"][0]["splits"])
    rows = f"{counted(report['n_train'], 'row')} to train on and {report['n_test']} to test on"
    return [
        data.task_text,
        f"{counted(splits, 'split')} of {rows}; ± is half an interval of 95 % over splits",
        "less ours: the score less that of the last row, paired by split",
        "",
        *aligned(cells),
    ]


def _plus_minus(interval: dict[str, float], sign: str = "") -> str:
    half = interval["high"] - interval["value"]
    return f"{interval['value']:{sign}.3f} ± {half:.3f}"


def _draw(report: dict[str, Any], options: dict[str, Any]) -> None:
    from cim_hal.study import Interval
    from qnn_train.cli.pictures import draw_comparison
    from qnn_train.cli.train import written

    rows = [(row["method"], row["splits"], Interval(**row["test"])) for row in report["methods"]]
    path: Path = options["picture"]
    with written(path):
        draw_comparison(rows, f"test {report['score']}", Path(report["data"]).name, path)


class KeptRows:
    """Rows by name, in a file of JSON that is written after each; nowhere without a path.

    Raises
    ------
    CheckpointError
        The file is none of these, or of another subject.
    """

    def __init__(self, path: Path | None, subject: Mapping[str, str]) -> None:
        self._path, self._subject = path, dict(subject)
        self._rows: dict[str, dict[str, float]] = {}
        if path is not None and path.exists():
            self._rows = self._read(path)

    def row(self, name: str, make: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Return the row that is kept, or make it and keep it."""
        if name not in self._rows:
            self._rows[name] = make()
            self._save()
        return self._rows[name]

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            subject, rows = {**found["subject"]}, {**found["rows"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} holds no rows: {error}") from None
        names = {*subject} | {*self._subject}
        other = sorted(n for n in names if subject.get(n) != self._subject.get(n))
        if other:
            raise CheckpointError(
                f"{path} is of a comparison with other values of {', '.join(other)}",
                hint="use another file",
            )
        return rows

    def _save(self) -> None:
        if self._path is None:
            return
        text = json.dumps({"subject": self._subject, "rows": self._rows}, indent=1)
        replace_text(self._path, f"{text}\n")
