"""Rows of a study: one for each job, written as they come, enough to repeat it to the last bit."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from cim_hal.atomic_files import replace_text, replacing
from cim_hal.errors import CimError, StudyError
from cim_hal.toml_files import first_problem

if TYPE_CHECKING:
    from cim_hal.study.plan import Point

__all__ = [
    "FORMAT",
    "PARQUET",
    "ROWS",
    "Row",
    "RowFile",
    "by_point",
    "differences",
    "export_csv",
    "export_parquet",
    "key_of",
    "read_rows",
    "writing",
]

FORMAT: Final = 1
ROWS, PARQUET, CSV = "rows.jsonl", "rows.parquet", "rows.csv"
ROUNDING = 1e-9  # as a share of a target: energies that differ by less are the same
SMALLEST_TARGET = 1e-9  # as a share of the energy above it, of which it is the unit

MOST = 2**63  # of whole numbers, which are columns of 64 bits

_Count = Annotated[int, Field(ge=0, lt=MOST)]
_Some = Annotated[int, Field(ge=1, lt=MOST)]
_Whole = Annotated[int, Field(ge=-MOST, lt=MOST)]
_Amount = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Row:
    """One job.

    Attributes
    ----------
    factors : dict
        The level of each factor.
    model, model_digest : str
        Its name in the study, and the digest of its couplings.
    batch : int
        The how many-eth job of this model at this point.
    target, target_source
        Energy from which on a run succeeds, and how it is known.
    energy_mean, energy_min, energy_sd : float
        Of the runs, by the model itself.
    configurations : int
        Different configurations among the runs.
    device_s : float
        Machine time.
    spins_sha256 : str
        Of all spins as int8, run by run; of a training, of its network.
    infeasibility : float or None
        Of a training, at its last step: how far its constraints are violated.
    no_infeasibility : str
        Why a training has none, empty where it has.
    calls : int or None
        Oracle calls that a training paid for.
    schema : int
        Version of these fields: one more for each change that is not a field with a default.
    """

    __pydantic_config__: ClassVar = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    factors: dict[str, bool | _Whole | float | str]
    model: str
    model_digest: str
    n_spins: _Count
    batch: _Count
    seed: _Count
    device: str
    runs: _Some
    successes: _Count
    target: float
    target_source: str
    energy_mean: float
    energy_min: float
    energy_sd: _Amount
    configurations: _Some
    device_s: _Amount
    rounding_error: _Amount
    software: str
    spins_sha256: str
    infeasibility: _Amount | None = None
    no_infeasibility: str = ""
    calls: _Count | None = None
    schema: Annotated[int, Field(ge=FORMAT, le=FORMAT)] = FORMAT

    @property
    def key(self) -> str:
        """What tells the row from all others of its study."""
        return key_of(tuple(self.factors.items()), self.model, self.batch)

    @property
    def gap(self) -> float | None:
        """The mean energy above the target, as a share of its size; None where that is about 0."""
        above, size = self.energy_mean - self.target, abs(self.target)
        if size <= SMALLEST_TARGET * abs(above):
            return None
        return above / size if abs(above) > ROUNDING * size else 0.0


def key_of(point: Point, model: str, batch: int) -> str:
    """Return the key of the row of a job."""
    return json.dumps([[list(level) for level in point], model, batch])


def differences(row: Row, again: Row) -> list[str]:
    """Return what two rows of one job do not have in common; an older row may lack figures."""
    pairs = {
        "spins" if row.calls is None else "network": (row.spins_sha256, again.spins_sha256),
        "successes": (row.successes, again.successes),
        "calls": (row.calls, again.calls),
        "infeasibility": (row.infeasibility, again.infeasibility),
    }
    return [name for name, (one, other) in pairs.items() if one is not None and one != other]


def by_point(rows: Iterable[Row]) -> dict[Point, list[Row]]:
    """Return the rows of each point, in their order."""
    found: dict[Point, list[Row]] = defaultdict(list)
    for row in rows:
        found[tuple(row.factors.items())].append(row)
    return found


class RowFile:
    """The rows in a folder, in the order in which their jobs ended.

    A last line that a kill has cut is dropped: its job runs again. `StudyError` if another line is
    damaged.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / ROWS
        self.rows = {row.key: row for row in read_rows(folder)}
        if path.exists() and not (data := path.read_bytes()).endswith(b"\n"):
            path.write_bytes(data[: data.rfind(b"\n") + 1])
        # without a buffer, of which closing would write the rest to a disk that is full
        self._file = path.open("ab", buffering=0)

    def add(self, row: Row) -> None:
        """Write a row; `StudyError` if that fails, and the rows before it stay."""
        left = f"{_text_of(row)}\n".encode()
        with writing(Path(self._file.name).parent):
            while left:
                left = left[self._file.write(left) :]
        self.rows[row.key] = row

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _text_of(row: Row) -> str:
    try:
        return json.dumps(asdict(row), allow_nan=False)
    except ValueError:
        what = f"{row.device}: a job of {row.model} at {row.factors}"
        raise StudyError(f"{what} gave an energy that is no finite number") from None


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a failure to write into a `StudyError` that says what is left, and how to go on."""
    try:
        yield
    except OSError as error:
        if isinstance(error, CimError):
            raise
        raise StudyError(
            f"{folder} cannot be written: {error.strerror or error}",
            hint="the rows written so far stay; make room, and go on with --resume",
        ) from None


def read_rows(folder: Path) -> list[Row]:
    """Return the rows in a folder, none where there is no file; a line that was cut is left out.

    `StudyError` if a line is damaged, of another schema, or of a job of which another line says
    something else. One that names no schema is of the first.
    """
    path = folder / ROWS
    if not path.exists():
        return []
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    rows = [_row_of(path, k, line) for k, line in enumerate(whole.splitlines(), 1)]
    first = dict[str, Row]()
    for number, row in enumerate(rows, 1):
        if first.setdefault(row.key, row) != row:
            raise StudyError(
                f"{path}, line {number}: a line before says otherwise of the job {row.key:.300}",
                hint="remove one of them",
            )
    return rows


def _row_of(path: Path, number: int, line: bytes) -> Row:
    try:
        return _reader().validate_json(line)
    except ValidationError as error:
        other = _schema_of(line)
        if type(other) is int and other != FORMAT:
            raise StudyError(
                f"{path}, line {number}: rows of schema {other!r:.20}; this version of cim-hal "
                f"reads those of {FORMAT}",
                hint="use the version of cim-hal that wrote them, or another folder",
            ) from None
        raise StudyError(
            f"{path}, line {number} is no row of a study: {first_problem(error)}",
            hint="remove the line, and its job runs again with --resume",
        ) from None


def _schema_of(line: bytes) -> Any:
    """Return what a line says of its schema, None where it says nothing."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found.get("schema") if isinstance(found, dict) else None


@cache
def _reader() -> TypeAdapter[Row]:
    return TypeAdapter(Annotated[Row, AfterValidator(_possible)])


def _possible(row: Row) -> Row:
    for name in ("successes", "configurations"):
        if (count := getattr(row, name)) > row.runs:
            raise ValueError(f"{name} = {count} of runs = {row.runs}")
    if row.energy_min > row.energy_mean + ROUNDING * abs(row.energy_mean):
        raise ValueError(f"energy_min = {row.energy_min} above energy_mean = {row.energy_mean}")
    if row.infeasibility is not None and row.no_infeasibility:
        raise ValueError("no_infeasibility: it says why there is none, and there is one")
    return row


def _flat(row: Row) -> dict[str, Any]:
    values = asdict(row)
    factors = values.pop("factors")
    return {f"factor.{name}": level for name, level in factors.items()} | values


def _columns(rows: Sequence[Row]) -> list[str]:
    """Return the columns of a table: all factors, then the rest."""
    factors = dict.fromkeys(f"factor.{name}" for row in rows for name in row.factors)
    return [*factors, *(field.name for field in fields(Row) if field.name != "factors")]


def export_csv(rows: Sequence[Row], folder: Path) -> Path:
    """Write rows as CSV, a column for each factor."""
    path = folder / CSV
    names = _columns(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(map(_flat, rows))
    replace_text(path, text.getvalue())
    return path


def export_parquet(rows: Sequence[Row], folder: Path) -> Path | None:
    """Write rows as Parquet, with the version of their schema; None without the extra `parquet`."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        return None
    path = folder / PARQUET
    values, names = [_flat(row) for row in rows], _columns(rows)
    types = {"infeasibility": pa.float64(), "calls": pa.int64()}  # also where all are null
    table = pa.table(
        {name: pa.array([each.get(name) for each in values], types.get(name)) for name in names}
    )
    table = table.replace_schema_metadata({"cim_hal.study.rows": str(FORMAT)})
    with replacing(path) as file:
        parquet.write_table(table, file)
    return path
