"""Parquet files of samples: what `SampleSet.to_parquet` writes is read again without loss.

Needs the extra ``tables``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.atomic_files import replacing
from cim_hal.errors import ModelError
from cim_hal.extras import load_extra
from cim_hal.model.conversion import with_article
from cim_hal.model.record import RunRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read_parquet", "write_parquet"]

RECORD, TOLERANCE, SYMMETRIC = b"cim_hal.record", b"cim_hal.tolerance", b"cim_hal.is_symmetric"
MAX_RECORD_BYTES = 1 << 20


def write_parquet(
    path: str | os.PathLike[str],
    arrays: dict[str, NDArray[Any] | None],
    record: RunRecord,
    *,
    tolerance: float,
    is_symmetric: bool,
) -> None:
    """Write ``energy``, and rows of ``spins`` and ``amplitudes`` where there are any."""
    pa, parquet = _pyarrow()
    _check_path(path)
    if Path(path).suffix != ".parquet":
        raise ModelError(f"the file {path} is not named .parquet")
    columns = {name: _column(pa, array) for name, array in arrays.items() if array is not None}
    facts = {
        RECORD: record.model_dump_json().encode(),
        TOLERANCE: tolerance.hex().encode(),
        SYMMETRIC: str(int(is_symmetric)).encode(),
    }
    try:
        with replacing(path) as file:
            parquet.write_table(pa.table(columns).replace_schema_metadata(facts), file)
    except (OSError, pa.ArrowInvalid) as error:
        raise ModelError(f"cannot write the file {path}: {error}") from None


def read_parquet(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the fields of a sample set, but for a trace."""
    pa, parquet = _pyarrow()
    _check_path(path)
    try:
        return _fields(parquet.read_table(os.fspath(path)), path)
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        what = f"the file {path} holds no samples: {type(error).__name__}: {error}"
        raise ModelError(what) from None


def _fields(table: Any, path: str | os.PathLike[str]) -> dict[str, Any]:
    facts = table.schema.metadata or {}
    if len(facts[RECORD]) > MAX_RECORD_BYTES:
        raise ModelError(f"{path}: its record has {len(facts[RECORD])} bytes")
    matrices = {name: _matrix(table[name]) for name in table.column_names if name != "energy"}
    spins = matrices["spins"]
    if not (np.abs(spins) == 1).all():
        raise ModelError(f"{path}: spins are not -1 and +1")
    return {
        "spins": spins,
        "energies": table["energy"].to_numpy().astype(np.float64),
        "amplitudes": matrices.get("amplitudes"),
        "record": RunRecord.model_validate_json(facts[RECORD]),
        "tolerance": float.fromhex(facts[TOLERANCE].decode()),
        "is_symmetric": facts[SYMMETRIC] == b"1",
    }


def _pyarrow() -> tuple[Any, Any]:
    module, parquet = (
        load_extra(name, "Parquet", ModelError) for name in ("pyarrow", "pyarrow.parquet")
    )
    return module, parquet


def _check_path(path: object) -> None:
    if not isinstance(path, str | os.PathLike):
        raise ModelError(
            f"path is {with_article(type(path).__name__)}", hint="pass the name of a file"
        )


def _column(pa: Any, array: NDArray[Any]) -> Any:
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1])


def _matrix(column: Any) -> NDArray[Any]:
    rows = column.combine_chunks()
    return rows.values.to_numpy().reshape(len(rows), -1)
