"""Own data: options of the commands that read a table, and what they make of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cim_hal.option_types import FILE, OutputFile, Real, Target, driver_option
from cim_hal.text import counted
from qnn_train.cli.options import DEVICES, add_options, option

if TYPE_CHECKING:
    from qnn_train.arrays import Array, FloatArray
    from qnn_train.data.columns import TableHeader
    from qnn_train.data.columns import Target as Answers
    from qnn_train.data.tables import Table

__all__ = [
    "DEVICE",
    "OwnData",
    "json_option",
    "machine_options",
    "refused",
    "split_rows",
    "table_options",
    "with_table",
]

DEVICE = "emulator-dsb"
TASKS = click.Choice(["classification", "regression"])

table_options = add_options(
    click.argument("data", type=FILE),
    option("target", str, "Column to predict.", "y of a .npz", metavar="COLUMN"),
    option("task", TASKS, "What it is.", "classes for text and up to 20 whole numbers"),
    click.option("--drop", multiple=True, metavar="COLUMN", help="Leave a column out. Repeatable."),
    click.option(
        "--missing",
        type=click.Choice(["refuse", "mean"]),
        default="refuse",
        show_default=True,
        help="What a missing number is: an error, or the mean of the training rows.",
    ),
    option("test-share", Real(0, 1, below=True), "Share of the rows to test on; 0 for none.", 0.25),
)
machine_options = add_options(
    option("device", Target(), DEVICES, DEVICE, multiple=True),
    driver_option,
    click.option(
        "--machines",
        type=click.IntRange(1, 64),
        default=1,
        show_default=True,
        help="Processes of a named driver, used as a pool.",
    ),
)
json_option = click.option(
    "--json",
    "json_file",
    type=OutputFile(allow_dash=True),
    help="Write the numbers here; - is stdout, and nothing else is printed there.",
)


@contextmanager
def refused() -> Iterator[None]:
    """Turn what is wrong with data or parameters into a usage error."""
    from qnn_train.errors import TrainingError

    try:
        yield
    except TrainingError as error:
        raise click.UsageError(str(error)) from None
    except ValueError as error:  # of scikit-learn
        raise click.UsageError(str(error).split("\n")[0]) from None


@dataclass(frozen=True, eq=False)
class OwnData:
    """A table read for training: features, answers, and which rows are for what."""

    header: TableHeader
    target: Answers
    X: FloatArray
    y: Array
    train: Array  # rows
    test: Array
    X_test: FloatArray
    y_test: Array
    has_task: bool  # whether the task was given
    n_filled: int  # missing values that are filled

    @classmethod
    def of(
        cls, table: Table, options: dict[str, Any], *, seed: int, test: Path | None = None
    ) -> OwnData:
        """Split a table as options say.

        Raises
        ------
        DataError
            A table or a column that cannot be used.
        """
        import numpy as np

        from qnn_train.data.columns import TableHeader, answers_as_trained, answers_of
        from qnn_train.data.tables import read_table

        target = answers_of(table.column(_target(options, table), "column"), options["task"])
        share = 0.25 if options["test_share"] is None else options["test_share"]
        train, held = split_rows(target, 0.0 if test else share, seed)
        header = TableHeader.of(
            table, target, drop=options["drop"], train=train, fill=options["missing"] == "mean"
        )
        X, y, n_filled = header.encode(table), target.answers, header.n_missing(table)
        X_test, y_test = X[held], y[held]
        if test is not None:
            other = read_table(test)
            is_classes = target.task == "classification"
            classes = target.classes if is_classes else None
            X_test, n_filled = header.encode(other), n_filled + header.n_missing(other)
            y_test = answers_as_trained(other.column(target.name), target.task, classes)
            held = np.arange(len(y_test))
        given = options["task"] is not None
        rows = X[train], y[train], train, held, X_test, y_test
        return cls(header, target, *rows, given, n_filled)

    @property
    def columns_text(self) -> str:
        """How many columns are of each kind, and how many values were filled."""
        kinds = Counter(column.kind for column in self.header.columns)
        said = {"number": "numbers", "boolean": "true and false", "category": "categories"}
        text = ", ".join(f"{name}: {kinds[kind]}" for kind, name in said.items() if kinds[kind])
        return f"{text}; missing values filled: {self.n_filled}" if self.n_filled else text

    @property
    def task_text(self) -> str:
        """The task, and how it was decided."""
        target, name = self.target, self.target.name
        count = len(target.classes)
        is_classes = target.task == "classification"
        said = f"{target.task} of {name!r}" + (
            f" in {counted(count, 'class')}" if is_classes else ""
        )
        if self.has_task:
            return said
        can_choose = target.answers.dtype.kind == "i"
        choice = "; --task regression learns numbers" if can_choose else ""
        return f"{said}, as it is {target.why}{choice}"


def _target(options: dict[str, Any], table: Table) -> str:
    """Return the name of the column to predict."""
    if options["target"] is not None:
        return options["target"]
    if table.path.suffix == ".npz" and "y" in table.columns:
        return "y"
    names = list(table.columns)
    shown = ", ".join(names[-10:]) if len(names) <= 10 else f"..., {', '.join(names[-10:])}"
    raise click.UsageError(f"--target is needed: the column to predict, one of {shown}")


def split_rows(target: Answers, share: float, seed: int) -> tuple[Array, Array]:
    """Return rows to train on and to test on; of each class the same share."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    rows = np.arange(len(target.answers))
    if not share:
        return rows, rows[:0]
    strata = target.answers if target.task == "classification" else None
    train, test = train_test_split(rows, test_size=share, stratify=strata, random_state=seed)
    if strata is not None and len(np.setdiff1d(strata, strata[train])):
        raise click.UsageError("a class has no row left to train on; take a smaller --test-share")
    return np.sort(train), np.sort(test)


def with_table(model: Any, header: TableHeader) -> Any:
    """Return a model that knows its columns."""
    return replace(model, table=header)
