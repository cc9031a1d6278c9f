"""``qnn-train evaluate``: how good a saved model is on a table with right answers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from cim_hal.option_types import FILE, OutputFile
from qnn_train.cli.fit import gap_of, measured
from qnn_train.cli.own_data import json_option, refused
from qnn_train.cli.predict import loaded

__all__ = ["evaluate"]

MAX_SHOWN = 12  # classes of a confusion matrix in text


@click.command("evaluate")
@click.argument("model", type=FILE)
@click.argument("data", type=FILE)
@click.option("--picture", type=OutputFile(".png", ".svg", ".pdf"), help="Draw it here.")
@json_option
def evaluate(model: Path, data: Path, picture: Path | None, json_file: Path | None) -> None:
    """Measure a model that `qnn-train fit` has saved on a table with right answers.

    Classes: accuracy with Wilson's interval, balanced accuracy, confusion matrix, and calibration,
    in bins of the probability of the predicted class. Numbers: R² and root mean squared error, with
    intervals. Both: how much better the model was on its training rows.

    \b
    Examples:
      qnn-train evaluate runs/iris-species-seed0/model.npz new.csv
      qnn-train evaluate model.npz new.csv --picture quality.png --json quality.json
    """  # noqa: D301  \b is click's mark for text it must not rewrap
    from cim_hal.console import say
    from qnn_train.cli.pictures import draw_classes, draw_numbers
    from qnn_train.cli.train import written
    from qnn_train.data.columns import answers_as_trained
    from qnn_train.data.tables import read_table
    from qnn_train.evaluation import ClassScores

    with refused():
        network, header = loaded(model)
        table = read_table(data)
        classes = network.classes if network.KIND == "classifier" else None
        answers = answers_as_trained(table.column(header.target), header.task, classes)
        X = header.encode(table)
    scores = measured(network, X, answers)
    gap = _gap(header.training, scores)
    report = {"model": str(model), "data": str(data), "task": header.task, **asdict(scores)}
    write_numbers(report | {"gap": None if gap is None else asdict(gap)}, json_file)
    if picture is not None:
        title = f"{model} on {data.name}"
        with written(picture):
            if isinstance(scores, ClassScores):
                draw_classes(scores, title, picture)
            else:
                draw_numbers(answers, network.predict(X), title, picture)
    if str(json_file) != "-":
        say(*_lines(header, scores, gap, data))


def write_numbers(report: dict[str, Any], json_file: Path | None) -> None:
    """Write a report as JSON, to a file or to stdout."""
    import json

    from cim_hal.atomic_files import replace_text
    from cim_hal.console import say
    from qnn_train.cli.train import written

    text = json.dumps(report, indent=2)
    if str(json_file) == "-":
        say(*text.split("\n"))
    elif json_file is not None:
        with written(json_file):
            replace_text(json_file, f"{text}\n")


def _gap(training: Any, scores: Any) -> Any:
    """Return how much better the model was on the rows it was trained on."""
    if training is None:
        return None
    return gap_of(training.train_score, training.n_train, scores)


def _lines(header: Any, scores: Any, gap: Any, data: Path) -> list[str]:
    from qnn_train.cli.train import gap_text, two_columns

    rows = [("rows", f"{scores.n}; intervals of 95 % in brackets")]
    is_classes = header.task == "classification"
    rows += _class_rows(scores) if is_classes else _number_rows(scores)
    if gap is not None:
        rows.append(("gap", gap_text(gap, share=is_classes)))
    if header.training is not None and header.training.data == data.name:
        rows.append(("note", f"the model was trained on rows of a file of this name, {data.name}"))
    lines = two_columns(rows)
    if is_classes:
        lines += ["", *_confusion_lines(scores), "", *_calibration_lines(scores)]
    return lines


def _class_rows(scores: Any) -> list[tuple[str, str]]:
    return [
        ("accuracy", scores.accuracy.percent),
        ("balanced", f"{scores.balanced_accuracy.percent}, mean over classes"),
        ("calibration", f"expected error {scores.calibration_error:.3f}"),
    ]


def _number_rows(scores: Any) -> list[tuple[str, str]]:
    return [
        ("R²", str(scores.r2)),
        ("RMSE", f"{scores.rmse.value:.4g} ({scores.rmse.low:.4g} to {scores.rmse.high:.4g})"),
        ("mean |error|", f"{scores.mean_absolute_error:.4g}"),
    ]


def _confusion_lines(scores: Any) -> list[str]:
    """Return the confusion matrix; of many classes only where most is confused."""
    names, counts = scores.classes, scores.confusion
    if len(names) > MAX_SHOWN:
        wrong = [
            (count, f"{names[row]} taken for {names[column]}: {count}")
            for row, line in enumerate(counts)
            for column, count in enumerate(line)
            if row != column and count
        ]
        return ["most confused:", *(text for _, text in sorted(wrong, reverse=True)[:MAX_SHOWN])]
    cells = [["right \\ predicted", *names]]
    cells += [[name, *map(str, line)] for name, line in zip(names, counts, strict=True)]
    return aligned(cells)


def _calibration_lines(scores: Any) -> list[str]:
    cells = [["told probability", "rows", "right"]]
    cells += [
        [f"{each.confidence:.2f}", str(each.count), f"{each.accuracy:.2f}"]
        for each in scores.calibration
    ]
    return aligned(cells)


def aligned(cells: list[list[str]]) -> list[str]:
    """Return rows of cells as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
