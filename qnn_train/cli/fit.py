"""``qnn-train fit``: train a network on a table of one's own."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cim_hal.console import say, signs_of_life
from cim_hal.option_types import FILE, OutputFile, OutputFolder
from cim_hal.text import counted, printable
from qnn_train.cli.estimator_options import estimator_of, training_options
from qnn_train.cli.options import INIT, add_options, option
from qnn_train.cli.own_data import (
    DEVICE,
    OwnData,
    json_option,
    machine_options,
    refused,
    table_options,
    with_table,
)
from qnn_train.method_names import MACHINE, WAITS

if TYPE_CHECKING:
    from cim_hal import DevicePool, Session
    from cim_hal.study import Interval
    from qnn_train.evaluation import ClassScores, RealScores

__all__ = ["fit", "gap_of", "measured", "session_of"]

RESULTS = add_options(
    option("test", FILE, "Table to test on, in the place of a share.", metavar="FILE"),
    option("init", FILE, INIT, "random networks", metavar="FILE"),
    option(
        "checkpoint", OutputFile(), "Written after each sweep; goes on from there if it exists."
    ),
    option(
        "out", OutputFolder(), "Folder for model, report and picture.", "runs/DATA-TARGET-seedSEED"
    ),
    json_option,
    click.option("--dry-run", is_flag=True, help="Say what it would take, and stop."),
    click.option("--quiet", is_flag=True, help="No progress and no summary."),
)


@click.command("fit")
@table_options
@training_options
@machine_options
@RESULTS
def fit(**options: Any) -> None:
    """Train a network on a table of your own: classes, or real numbers.

    DATA is .csv with a row of names, .parquet, or .npz with X and y or an array for each column.
    Numbers are standardized; true and false are 1 and 0; text is a category, with a feature for
    each. Options of network and machine that are not given are the defaults of
    QuantizedNetworkClassifier and QuantizedNetworkRegressor; --dry-run shows them.

    \b
    Examples:
      qnn-train fit iris.csv --target species
          train on three quarters of the rows, test on the others
      qnn-train fit iris.csv --target species --dry-run
          rows, features, calls and spins, without a call of the machine
      qnn-train fit houses.csv --target price --drop id --missing mean --hidden 4
          real numbers; missing ones are the mean of their column
      qnn-train fit train.csv --test test.csv --target label --device tcp://cim.lab:5555
          on a machine behind a server
    """  # noqa: D301  \b is click's mark for text it must not rewrap
    from qnn_train.cli import train as training
    from qnn_train.data.tables import read_table

    seed = options["random_state"]
    if options["test"] is not None and options["test_share"] is not None:
        raise click.UsageError("--test and --test-share exclude each other")
    with ExitStack() as stack:
        progress = _Progress(stack, training, quiet=options["quiet"])
        with refused():
            table = read_table(options["data"])
            data = OwnData.of(table, options, seed=seed, test=options["test"])
            session = session_of(options, stack)
            network = estimator_of(
                data.target,
                options,
                device=session or DEVICE,
                callbacks=[progress.show],
                checkpoint=options["checkpoint"],
                init=_start(options["init"], data),
            )
            cost = network.estimate_cost(data.X, data.y)  # refuses what cannot be trained
        if options["dry_run"]:
            training.tell_cost(_cost_rows(data, cost, network), options["json_file"])
            return
        folder = options["out"] or _default_folder(options, data, seed)
        stack.enter_context(training.folder_for(folder))
        began = time.monotonic()
        progress.begin(options["oracle"])
        try:
            network.fit(data.X, data.y)
        except KeyboardInterrupt:
            progress.tell_stopped(options["checkpoint"])
            raise
        report = _report(data, network, session, options, time.monotonic() - began)
        _write(network, data, report, folder, options)


def _start(path: Path | None, data: OwnData) -> str | None:
    """Return the file of the network to begin with; refuse one of other columns."""
    from qnn_train.model.onnx import read_model
    from qnn_train.training.start import check_agreement, loaded

    if path is None:
        return None
    if (table := loaded(path, read_model).table) is not None:
        check_agreement({"columns": table.features}, {"columns": data.header.features})
    return str(path)


def session_of(options: dict[str, Any], stack: ExitStack) -> Session | DevicePool | None:
    """Open the machines that options name; none where the oracle is on the host."""
    from qnn_train.cli.train import connect, machines_of

    texts, copies = options["option_texts"], options["machines"]
    devices = machines_of(
        options["oracle"] or MACHINE,
        DEVICE,
        named=options["device"],
        texts=texts,
        copies=copies,
        polish=options["polish"],
    )
    return connect(devices, stack, copies=copies, texts=texts)


class _Progress:
    """A bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self, stack: ExitStack, training: Any, *, quiet: bool) -> None:
        self._text, self._n_done = "preparing", 0
        stack.enter_context(signs_of_life("training", lambda: self._text, quiet=quiet))
        self._bar = stack.enter_context(training.bar(quiet=quiet))

    def begin(self, oracle: str | None) -> None:
        """Say what the first sweep waits for."""
        self._text = f"in the first sweep, {WAITS[oracle or MACHINE]}"

    def show(self, told: Any) -> None:
        """Take what the estimator tells of a sweep."""
        held = told.validation_score
        validation = "" if held is None else f", validation {held:.3f}"
        found = f"loss {told.objective:.4f}, train {told.train_score:.3f}"
        status = f"{counted(told.calls, 'call')}, {found}"
        self._n_done = told.sweep
        self._text = f"sweep {told.sweep} of {told.sweeps}, {status}{validation}"
        self._bar(told.sweep, told.sweeps, f"sweeps, {status}{validation}")

    def tell_stopped(self, checkpoint: Path | None) -> None:
        """Say after Ctrl-C how far it came, and how it goes on."""
        if checkpoint is None:
            how = "nothing is kept; with --checkpoint FILE the same command would go on"
        elif checkpoint.exists():
            how = f"kept in {checkpoint}: the same command goes on from there"
        else:
            how = f"there is no {checkpoint} yet, so the same command begins anew"
        say(f"stopped after sweep {self._n_done}: {how}", err=True)


def _default_folder(options: dict[str, Any], data: OwnData, seed: int) -> Path:
    target = "".join(c if c.isalnum() or c in "-_" else "-" for c in data.target.name)[:40]
    return Path("runs") / f"{options['data'].stem}-{target}-seed{seed}"


def _cost_rows(data: OwnData, cost: Any, network: Any) -> list[tuple[str, str]]:
    left_out = {"device", "callbacks", "checkpoint", "random_state"}
    parameters = {k: v for k, v in network.get_params(deep=False).items() if k not in left_out}
    return [
        ("task", data.task_text),
        ("columns", data.columns_text),
        ("features", str(len(data.header.features))),
        ("n_test", str(len(data.y_test))),
        *cost.rows(),
        *((name, str(value)) for name, value in parameters.items()),
    ]


def measured(model: Any, X: Any, answers: Any) -> ClassScores | RealScores:
    """Return the scores of a model on features and right answers."""
    from qnn_train.evaluation import ClassScores, RealScores

    if model.KIND == "regressor":
        return RealScores.of(answers, model.predict(X))
    return ClassScores.of(answers, model.classes, model.predict_proba(X), model.predict(X))


def _report(
    data: OwnData, network: Any, session: Any, options: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Return all numbers of a training."""
    train = measured(network.model_, data.X, data.y)
    test = measured(network.model_, data.X_test, data.y_test) if len(data.y_test) else None
    summary = network.summary_
    left_out = {"device", "callbacks", "checkpoint"}
    parameters = network.get_params(deep=False)
    return {
        "task": data.target.task,
        "target": data.target.name,
        "task_text": data.task_text,
        "data": str(options["data"]),
        "columns": data.columns_text,
        "features": data.header.features,
        "n_train": len(data.y),
        "n_test": len(data.y_test),
        "train": asdict(train),
        "test": None if test is None else asdict(test),
        "gap": None
        if test is None
        else asdict(gap_of(network.score(data.X, data.y), train.n, test)),
        "summary": asdict(summary),
        "hardness": network.hardness_,
        "parameters": {k: v for k, v in parameters.items() if k not in left_out},
        "seed": options["random_state"],
        "device": "none" if session is None else session.capabilities.name,
        "seconds": seconds,
        "history": [asdict(told) for told in network.history_],
    }


def gap_of(train: float, n_train: int, test: ClassScores | RealScores) -> Interval:
    """Return how much better the score of training rows is, with its interval.

    Of R² the interval is that of the test rows alone.
    """
    from cim_hal.study import Interval
    from qnn_train.evaluation import ClassScores, generalization_gap

    if isinstance(test, ClassScores):
        return generalization_gap(train, n_train, test.accuracy, test.n)
    low, value, high = (train - each for each in (test.r2.high, test.r2.value, test.r2.low))
    return Interval(value, low, high)


def _write(
    network: Any, data: OwnData, report: dict[str, Any], folder: Path, options: dict[str, Any]
) -> None:
    from cim_hal.atomic_files import replace_text
    from qnn_train.cli.train import written

    header = data.header.model_copy(update={"training": _training_header(network, report)})
    text = json.dumps(report, indent=2)
    places = [folder / "report.json", options["json_file"]]
    with written(folder):
        with_table(network.model_, header).save(folder / "model.npz")
        title = f"{options['data'].name}: {data.target.name}"
        network.save_picture(folder / "training.png", title=printable(title))
        for path in places:
            if path is not None and str(path) != "-":
                replace_text(path, f"{text}\n")
    if str(options["json_file"]) == "-":
        say(*text.split("\n"))
    elif not options["quiet"]:
        say(*_summary(report, folder, options))


def _training_header(network: Any, report: dict[str, Any]) -> Any:
    from importlib.metadata import version

    from qnn_train.data.columns import TrainingHeader

    shown = {
        name: str(report["parameters"][name])
        for name in ("settings", "class_weight")
        if report["parameters"][name] is not None
    }
    name, kinds = ("accuracy" if report["task"] == "classification" else "r2"), (int, float, str)
    plain = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in (report["parameters"] | shown).items()
        if isinstance(value, (*kinds, tuple, bool)) or value is None
    }
    test = report["test"]
    return TrainingHeader(
        version=version("cim-hal"),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        data=Path(report["data"]).name,
        method="proximal",
        device=report["device"],
        seed=report["seed"],
        calls=network.calls_,
        runs_per_call=network.n_runs,
        seconds=report["seconds"],
        n_train=report["n_train"],
        n_test=report["n_test"],
        train_score=report["train"][name]["value"],
        test_score=None if test is None else test[name]["value"],
        parameters=plain,
    )


def _summary(report: dict[str, Any], folder: Path, options: dict[str, Any]) -> list[str]:
    from qnn_train.cli.train import hardness_rows, two_columns

    summary = report["summary"]
    sizes = [summary["layers"][0]["inputs"], *(each["outputs"] for each in summary["layers"])]
    rows = [("task", report["task_text"]), ("columns", report["columns"]), *_score_rows(report)]
    bits = (
        f"{counted(summary['n_bits'], 'bit')}"
        f", {summary['bits_per_parameter']:.2f} bits per parameter"
    )
    rows += [
        ("network", f"{'-'.join(map(str, sizes))}, {bits}"),
        (
            "machine",
            (
                f"{report['device']}, {counted(summary['calls'], 'call')}"
                f", {counted(summary['spins'], 'spin')}"
            ),
        ),
        *hardness_rows(report["hardness"]),
        *_start_rows(report["history"][0]),
        ("seconds", f"{report['seconds']:.1f}"),
        ("model", str(folder / "model.npz")),
        ("picture", str(folder / "training.png")),
        ("next", f"qnn-train predict {folder / 'model.npz'} NEW{options['data'].suffix}"),
    ]
    return two_columns(rows)


def _start_rows(first: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the row of the network that the training began with, where it was given."""
    if first["sweep"]:
        return []
    return [("start", f"train {first['train_score']:.4f}, objective {first['objective']:.4f}")]


def _score_rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows of scores, and whether training and test rows differ beyond chance."""
    from cim_hal.study import Interval
    from qnn_train.cli.train import gap_text

    classes = report["task"] == "classification"
    key, name = ("accuracy", "accuracy") if classes else ("r2", "R²")
    rows = []
    for part, count in (("test", report["n_test"]), ("train", report["n_train"])):
        if report[part] is not None:
            interval = Interval(**report[part][key])
            text = interval.percent if classes else str(interval)
            rows.append(
                (f"{part} {name}", f"{text} of {counted(count, 'row')}, 95 % interval in brackets")
            )
    if report["gap"] is not None:
        rows.append(("gap", gap_text(Interval(**report["gap"]), share=classes)))
    return rows
