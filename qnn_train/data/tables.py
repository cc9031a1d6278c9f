"""Tables in files, as columns of numbers, truth values or text: CSV, Parquet and ``.npz``.

Files are hostile input: their size is bounded, and nothing in them is unpickled or evaluated.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from cim_hal.extras import load_extra
from cim_hal.text import counted
from qnn_train.archive import read_arrays
from qnn_train.arrays import Array, BitArray, FloatArray
from qnn_train.errors import DataError

__all__ = ["MAX_BYTES", "MISSING", "SUFFIXES", "Column", "Table", "did_you_mean", "read_table"]

MAX_BYTES = 512 * 2**20
MAX_CELLS = 50_000_000
MISSING = ("", "na", "n/a", "nan", "null", "none", "?")  # in any case of letters
DELIMITERS = ",;\t|"
TRUTHS = {"true": 1.0, "false": 0.0}
COMMA_NUMBER = re.compile(r"[+-]?\d[\d.]*,\d+")
MOST_NUMBERS = 0.8  # a column with more is one of numbers, and the other cells are mistakes

Kind = Literal["number", "boolean", "text", "unusable"]


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a table.

    Attributes
    ----------
    name : str
    kind : str
        ``number``, ``boolean``, ``text``, or ``unusable`` for what can only be left out.
    values : array, shape (n,)
        float64 with NaN where missing, 0 and 1 for truth values; objects with "" where missing for
        text.
    why : str
        Of an unusable column, what it is.
    """

    name: str
    kind: Kind
    values: Array
    why: str = ""

    @classmethod
    def of_texts(cls, name: str, cells: Sequence[str]) -> Self:
        """Find out what cells of text mean."""
        texts = [_present(cell) for cell in cells]
        present = [text for text in texts if text]
        if present and all(text.lower() in TRUTHS for text in present):
            truths = [TRUTHS.get(text.lower(), np.nan) for text in texts]
            return cls(name, "boolean", np.array(truths))
        numbers = [_number(text) for text in texts]
        count = sum(number is not None for number in numbers) - texts.count("")
        commas = [text for text in present if COMMA_NUMBER.fullmatch(text)]
        if commas and len(commas) + count == len(present):
            why = f"{commas[0]!r:.60} is a number with a comma; numbers have a point"
            return cls(name, "unusable", np.array(texts, dtype=object), why)
        if present and count < len(present) and count <= MOST_NUMBERS * len(present):
            return cls(name, "text", np.array(texts, dtype=object))
        if None in numbers:
            row = numbers.index(None)
            why = f"{cells[row]!r:.60} in row {row + 1}, where most cells are numbers"
            return cls(name, "unusable", np.array(texts, dtype=object), why)
        return cls(name, "number", np.array(numbers, dtype=np.float64))

    @classmethod
    def of_array(cls, name: str, array: Array) -> Self:
        """Return the column of a one-dimensional array of a file."""
        kind = array.dtype.kind
        if kind == "b":
            return cls(name, "boolean", array.astype(np.float64))
        if kind in "iuf":
            return cls(name, "number", array.astype(np.float64))
        if kind == "U":
            return cls.of_texts(name, array.tolist())
        return cls(name, "unusable", array, f"type {array.dtype}")

    @property
    def missing(self) -> BitArray:
        """Where there is no value."""
        if self.values.dtype == object:
            return np.array([not value for value in self.values], dtype=bool)
        return np.isnan(self.values)

    def take(self, rows: Array) -> Column:
        """Return some of the rows."""
        return Column(self.name, self.kind, self.values[rows], self.why)


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of the same length, by their names."""

    path: Path
    columns: Mapping[str, Column]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())).values)

    def column(self, name: str, what: str = "column") -> Column:
        """Return a column.

        Raises
        ------
        DataError
            There is none; names one that is close.
        """
        if name not in self.columns:
            hint = did_you_mean(name, self.columns)
            raise DataError(f"{self.path} has no {what} {name!r}", hint=hint)
        return self.columns[name]


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return a hint: names that are close, or the first of all."""
    lower = {each.lower(): each for each in reversed(list(known))}
    near = [lower[each] for each in get_close_matches(name.lower(), lower, n=3)]
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    some = ", ".join(list(known)[:10])
    return f"it has {some}" + (f" and {len(known) - 10} more" if len(known) > 10 else "")


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a table; the suffix says the format.

    Raises
    ------
    DataError
        Another suffix, a file that cannot be read or is too large, columns without a name or with
        the same one, rows of another length, no row.
    """
    path = Path(path)
    read = SUFFIXES.get(path.suffix.lower())
    if read is None:
        raise DataError(f"{path} is no table", hint=f"a file {', '.join(SUFFIXES)}")
    with _reading(path):
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path} has more than {MAX_BYTES} bytes")
        columns = read(path)
    table = Table(path, {column.name: column for column in columns})
    if not table.n_rows:
        raise DataError(f"{path} has no rows")
    return table


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except UnicodeDecodeError:
        why = f"cannot read {path}: it is not text in UTF-8"
        raise DataError(why, hint="save it as CSV UTF-8") from None
    except csv.Error as error:
        hint = "a comma, semicolon, tab or | between cells, and text with quotes in quotes"
        raise DataError(f"cannot read {path}: {error}", hint=hint) from None
    except (OSError, ValueError, MemoryError) as error:
        raise DataError(f"cannot read {path}: {error}") from None


def _present(cell: str) -> str:
    """Return the text of a cell, "" if the value is missing."""
    text = cell.strip()
    return "" if text.lower() in MISSING else text


def _number(text: str) -> float | None:
    """Return a number, NaN for a missing one, None for other text."""
    if not text:
        return np.nan
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _check_names(path: Path, names: Sequence[str]) -> None:
    """Refuse names that do not tell columns apart."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if not names:
        raise DataError(f"{path} is empty", hint="a row of names of columns, then rows of values")
    if "" in names:
        hint = "name it, or write the file without the index (pandas: index=False)"
        raise DataError(f"column {names.index('') + 1} of {path} has no name", hint=hint)
    if twice:
        raise DataError(f"{path} has several columns {twice[0]!r}")
    if all(_number(name) is not None for name in names):
        hint = "the first row has to name the columns"
        raise DataError(f"{path} begins with numbers ({', '.join(names[:4])}, ...)", hint=hint)


def _check_size(path: Path, rows: int, columns: int) -> None:
    if rows * columns > MAX_CELLS:
        raise DataError(f"{path} has more than {MAX_CELLS} cells")


def _read_csv(path: Path) -> list[Column]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline(1_000_000)
        delimiter = max(DELIMITERS, key=first.count)
        file.seek(0)
        rows = csv.reader(file, delimiter=delimiter, strict=True)
        names = [name.strip() for name in next(rows, [])]
        _check_names(path, names)
        cells: list[list[str]] = []
        for row in filter(None, rows):
            cells.append(row)
            if len(row) != len(names):
                found = f"row {len(cells)} of {path} has {counted(len(row), 'cell')}"
                raise DataError(found, hint=f"{len(names)}, as many as the first row has names")
            _check_size(path, len(cells), len(names))
    columns = zip(*cells, strict=True) if cells else ([] for _ in names)
    return [Column.of_texts(*pair) for pair in zip(names, columns, strict=True)]


def _read_npz(path: Path) -> list[Column]:
    """Read arrays of one dimension as columns, and of two as several: X and y, or any names."""
    arrays = read_arrays(path, DataError, max_bytes=MAX_BYTES)
    given = arrays.pop("columns", None)  # names of the columns of X
    columns = [part for name, array in arrays.items() for part in _split(name, array, given)]
    _check_names(path, [column.name for column in columns])
    lengths = {len(column.values) for column in columns}
    if len(lengths) > 1:
        raise DataError(f"the arrays of {path} have {' and '.join(map(str, sorted(lengths)))} rows")
    _check_size(path, max(lengths), len(columns))
    return columns


def _split(name: str, array: Array, given: Array | None) -> list[Column]:
    """Return the columns of an array of a file."""
    if array.ndim == 1:
        return [Column.of_array(name, array)]
    if array.ndim != 2:
        raise DataError(f"the array {name} has {array.ndim} dimensions", hint="1 or 2")
    names = [f"{name}{index}" for index in range(array.shape[1])]
    if name == "X" and given is not None:
        names = [str(each) for each in given]
        if len(names) != array.shape[1]:
            raise DataError(
                f"columns has {counted(len(names), 'name')}, X {counted(array.shape[1], 'column')}"
            )
    return [Column.of_array(*pair) for pair in zip(names, array.T, strict=True)]


def _read_parquet(path: Path) -> list[Column]:
    names = ("pyarrow", "pyarrow.parquet")
    pyarrow, parquet = (load_extra(name, f"reading {path}", DataError) for name in names)
    try:
        with parquet.ParquetFile(path) as file:
            _check_size(path, file.metadata.num_rows, file.metadata.num_columns)
            table = file.read()
    except pyarrow.ArrowException as error:
        raise DataError(f"cannot read {path}: {error}") from None
    pairs = zip(table.column_names, table.columns, strict=True)
    named = [pair for pair in pairs if not pair[0].startswith("__index_level_")]  # of pandas
    _check_names(path, [name for name, _ in named])
    return [_of_arrow(name, values, pyarrow.types) for name, values in named]


def _of_arrow(name: str, values: Any, types: Any) -> Column:
    kind = values.type
    if types.is_dictionary(kind):
        kind = kind.value_type
    numeric = (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal)
    if any(is_kind(kind) for is_kind in numeric):
        numbers: FloatArray = np.array(
            [np.nan if value is None else value for value in values.to_pylist()], np.float64
        )
        return Column(name, "boolean" if types.is_boolean(kind) else "number", numbers)
    if types.is_string(kind) or types.is_large_string(kind):
        return Column.of_texts(name, [value or "" for value in values.to_pylist()])
    return Column(name, "unusable", np.zeros(len(values)), f"type {kind}")


SUFFIXES: Mapping[str, Callable[[Path], list[Column]]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".npz": _read_npz,
}
