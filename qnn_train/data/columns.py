"""What the columns of a table mean to a network: features by name, and answers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cim_hal.model.conversion import require
from cim_hal.text import counted
from qnn_train.arrays import Array, FloatArray
from qnn_train.data.tables import Column, Table, did_you_mean
from qnn_train.errors import DataError

__all__ = [
    "ColumnHeader",
    "TableHeader",
    "Target",
    "TrainingHeader",
    "answers_as_trained",
    "answers_of",
]

MAX_CATEGORIES = 64
MAX_FEATURES = 4096  # inputs of a network
MAX_CLASSES = 20  # whole numbers as a target are classes up to so many
FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
Text = Annotated[str, Field(max_length=1024)]
Number: TypeAlias = int | float | str | bool | None
TaskName = Literal["classification", "regression"]


class ColumnHeader(BaseModel):
    """A column that features are made of.

    Attributes
    ----------
    name : str
    kind : str
        ``number``, ``boolean`` (0 and 1), or ``category``: a feature for each of `categories`.
    categories : tuple of str
    mean : float or None
        What stands in for a missing number; None refuses it.
    """

    model_config = FROZEN

    name: Text
    kind: Literal["number", "boolean", "category"]
    categories: Annotated[tuple[Text, ...], Field(max_length=MAX_CATEGORIES)] = ()
    mean: float | None = None

    @property
    def features(self) -> list[str]:
        """Names of its features."""
        if self.kind != "category":
            return [self.name]
        return [f"{self.name}={category}" for category in self.categories]


class TrainingHeader(BaseModel):
    """How a model was trained: for people, nothing depends on it."""

    model_config = FROZEN

    version: Text  # of this package
    date: Text
    data: Text  # name of the file
    method: Text
    device: Text
    seed: int
    calls: int
    runs_per_call: int
    seconds: float
    n_train: int
    n_test: int
    train_score: float  # accuracy, or R²
    test_score: float | None
    parameters: Annotated[dict[Text, Number | list[Number]], Field(max_length=64)]


class TableHeader(BaseModel):
    """The columns of the table that a model was trained on."""

    model_config = FROZEN

    target: Text
    task: TaskName
    columns: Annotated[tuple[ColumnHeader, ...], Field(min_length=1, max_length=MAX_FEATURES)]
    fills_missing: bool = False
    training: TrainingHeader | None = None

    @classmethod
    def of(
        cls, table: Table, target: Target, *, drop: Collection[str], train: Array, fill: bool
    ) -> Self:
        """Decide what the columns mean; means are those of the rows `train`.

        Raises
        ------
        DataError
            A column that cannot be used, with the reason, or more features than a network takes.
        """
        for name in drop:
            table.column(name)
        left_out = {target.name, *drop}
        used = [column for name, column in table.columns.items() if name not in left_out]
        if not used:
            raise DataError(f"{table.path} has no column but {target.name!r} to learn from")
        columns = tuple(_described(column, train, fill=fill) for column in used)
        found = cls(target=target.name, task=target.task, columns=columns, fills_missing=fill)
        if len(found.features) > MAX_FEATURES:
            raise DataError(
                f"{table.path} makes {counted(len(found.features), 'feature')}",
                hint=f"at most {MAX_FEATURES}; leave columns out with --drop",
            )
        return found

    @property
    def features(self) -> list[str]:
        """Names of the features of the network, in its order."""
        return [name for column in self.columns for name in column.features]

    def encode(self, table: Table) -> FloatArray:
        """Return the features of a table, float64, shape (n, features); columns in any order.

        Raises
        ------
        DataError
            Columns that are missing, values of another kind, missing or unknown ones.
        """
        require("table", table, Table, DataError, hint="qnn_train.data.tables.read_table reads one")
        names = [column.name for column in self.columns]
        missing = [name for name in names if name not in table.columns]
        if missing:
            others = self.others(table)
            hint = did_you_mean(missing[0], others) if others else ""
            listed = ", ".join(map(repr, missing[:8])) + (", ..." if len(missing) > 8 else "")
            raise DataError(f"{table.path} lacks {len(missing)} column(s): {listed}", hint=hint)
        parts = [
            _encoded(column, table.columns[column.name], fill=self.fills_missing)
            for column in self.columns
        ]
        return np.concatenate(parts, axis=1)

    def n_missing(self, table: Table) -> int:
        """Return how many values of its columns a table lacks."""
        return sum(int(table.columns[column.name].missing.sum()) for column in self.columns)

    def others(self, table: Table) -> list[str]:
        """Return the columns of a table that the model does not know, without the target."""
        known = {self.target, *(column.name for column in self.columns)}
        return [name for name in table.columns if name not in known]


def _described(column: Column, train: Array, *, fill: bool) -> ColumnHeader:
    """Decide what a column means, or refuse it."""
    absent = column.missing
    if column.kind == "unusable":
        raise _refuse(column, column.why, "mend it, or leave the column out with --drop")
    if absent.all():
        raise _refuse(column, "has no values", "leave it out with --drop")
    if absent.any() and not fill:
        raise _lacking(column)
    if column.kind == "text":
        found = sorted({value for value in column.values if value})
        if len(found) > min(MAX_CATEGORIES, max(2, column.values.size // 2)):
            limit = (
                f"{counted(len(found), 'different text')} in {counted(column.values.size, 'row')}"
            )
            most = f"categories are at most {MAX_CATEGORIES}"
            hint = f"{most}; make numbers of it, or leave it out with --drop"
            raise _refuse(column, limit, hint)
        return ColumnHeader(name=column.name, kind="category", categories=tuple(found))
    _check_finite(column)
    mean = float(np.nanmean(column.values[train])) if fill and _any(column, train) else None
    return ColumnHeader(name=column.name, kind=column.kind, mean=mean)


def _any(column: Column, rows: Array) -> bool:
    return not np.isnan(column.values[rows]).all()


def _check_finite(column: Column) -> None:
    wrong = np.isinf(column.values)
    if wrong.any():
        raise _refuse(column, f"infinite in row {int(wrong.argmax()) + 1}", "finite numbers")


def _refuse(column: Column, why: str, hint: str) -> DataError:
    return DataError(f"column {column.name!r}: {why}", hint=hint)


def _lacking(column: Column, hint: str = "") -> DataError:
    """Return the error of a value that is missing: row and column."""
    absent = column.missing
    first, count = int(absent.argmax()) + 1, int(absent.sum())
    more = f" and {count - 1} more" if count > 1 else ""
    put = "no category" if column.kind == "text" else "the mean"
    usual = f"--missing mean puts {put} in its place; or --drop the column"
    return _refuse(column, f"no value in row {first}{more}", hint or usual)


def _encoded(known: ColumnHeader, column: Column, *, fill: bool) -> FloatArray:
    """Return the features (n, features) of a column as a model knows it."""
    absent = column.missing
    if absent.any() and not (fill and (known.kind == "category" or known.mean is not None)):
        raise _lacking(column, "the model was trained without --missing mean")
    if known.kind == "category":
        return _one_hot(known, column, absent)
    if column.kind not in {"number", "boolean"} and not absent.all():
        why = column.why or f"text such as {column.values[~absent][0]!r:.60}"
        raise _refuse(column, why, f"the model was trained on a {known.kind}")
    _check_finite(column)
    values = column.values.astype(np.float64)
    values[absent] = known.mean
    return values[:, None]


def _one_hot(known: ColumnHeader, column: Column, absent: Array) -> FloatArray:
    """Return a feature for each category; all are 0 where the value is missing."""
    texts = column.values if column.kind == "text" else _texts_of(column)
    places = {category: place for place, category in enumerate(known.categories)}
    features = np.zeros((len(texts), len(places)))
    for row in np.flatnonzero(~absent):
        place = places.get(texts[row])
        if place is None:
            hint = did_you_mean(str(texts[row]), known.categories)
            raise _refuse(column, f"{texts[row]!r:.60} in row {row + 1} is no category", hint)
        features[row, place] = 1.0
    return features


def _texts_of(column: Column) -> list[str]:
    """Return numbers and truth values as the text that they were in a file."""
    if column.kind == "boolean":
        return ["true" if value else "false" for value in column.values]
    return [f"{value:.17g}" for value in column.values]


@dataclass(frozen=True, eq=False)
class Target:
    """The column that is to be predicted.

    Attributes
    ----------
    name : str
    task : str
        ``classification`` or ``regression``.
    answers : array, shape (n,)
        Labels, text or whole numbers; or float64.
    why : str
        Where the task was not given: how it was decided, for people.
    """

    name: str
    task: TaskName
    answers: Array
    why: str

    @property
    def classes(self) -> Array:
        """All labels, sorted."""
        return np.unique(self.answers)


def answers_of(column: Column, task: str | None) -> Target:
    """Return a column as what is to be predicted; without `task` its values decide.

    Text and truth values are classes, and so are whole numbers of which there are at most 20.

    Raises
    ------
    DataError
        Values that are missing, of the wrong kind for the task, or a class with a single row.
    """
    target = _answers(column, task)
    if target.task == "classification":
        _check_classes(column, target.answers)
    return target


def answers_as_trained(column: Column, task: str, classes: Array | None) -> Array:
    """Return the answers of a table to a model: of its task, and among its classes.

    Raises
    ------
    DataError
        Values that are missing, of the wrong kind, or a class that the model does not know.
    """
    answers = _answers(column, task).answers
    if classes is None:
        return answers
    if classes.dtype.kind == "U" and answers.dtype.kind != "U":
        answers = np.array(_texts_of(column))
    if classes.dtype.kind != "U" and answers.dtype.kind == "U":
        raise _refuse(column, f"has text such as {answers[0]!r:.60}", "the classes are numbers")
    unknown = ~np.isin(answers, classes)
    if unknown.any():
        row, known = int(unknown.argmax()), [str(each) for each in classes]
        why = f"{str(answers[row])!r:.60} in row {row + 1} is no class of the model"
        raise _refuse(column, why, did_you_mean(str(answers[row]), known))
    return answers.astype(classes.dtype)


def _answers(column: Column, task: str | None) -> Target:
    if column.kind == "unusable":
        raise _refuse(column, column.why, "numbers, or text for classes")
    if column.missing.any():
        raise _lacking(column, "rows without an answer are of no use here: take them out")
    if column.kind in {"text", "boolean"}:
        if task == "regression":
            raise _refuse(column, f"is {column.kind}", "regression needs numbers")
        labels = column.values if column.kind == "text" else _texts_of(column)
        why = "text" if column.kind == "text" else "true or false"
        return Target(column.name, "classification", np.array(list(labels), dtype=np.str_), why)
    _check_finite(column)
    return _numeric(column, task)


def _numeric(column: Column, task: str | None) -> Target:
    values = column.values
    whole = bool((values == np.round(values)).all()) and float(np.abs(values).max()) < 2**53
    count = len(np.unique(values))
    if task == "classification" and not whole:
        raise _refuse(column, "has numbers that are not whole", "--task regression")
    if task == "classification" or (task is None and whole and count <= MAX_CLASSES):
        why = f"{count} different whole numbers"
        return Target(column.name, "classification", values.astype(np.int64), why)
    why = f"{count} different numbers" + ("" if whole else ", not all whole")
    return Target(column.name, "regression", values, why)


def _check_classes(column: Column, labels: Array) -> None:
    """Refuse classes that cannot be told apart, or not be tested."""
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise _refuse(column, f"is {classes[0]!s:.60} in every row", "two classes or more")
    if len(classes) > MAX_FEATURES:
        raise _refuse(column, f"has {counted(len(classes), 'class')}", "--task regression")
    if counts.min() < 2:
        single: Sequence[object] = classes[counts == 1].tolist()
        hint = "at least two rows of each class, one to train on and one to test"
        raise _refuse(column, f"one row only of class {single[0]!r:.60}", hint)
