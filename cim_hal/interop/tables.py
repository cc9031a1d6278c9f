"""Samples as tables: data frames of pandas, data sets of xarray, Parquet files. Extra ``tables``.

What is written to Parquet is read again without loss, but for a trace.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.errors import ModelError
from cim_hal.model.record import RunRecord
from cim_hal.model.sampleset import SampleSet

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["from_parquet", "to_pandas", "to_parquet", "to_xarray"]

RECORD, TOLERANCE, SYMMETRIC = b"cim_hal.record", b"cim_hal.tolerance", b"cim_hal.is_symmetric"
MAX_RECORD_BYTES = 1 << 20


def to_pandas(samples: SampleSet) -> pd.DataFrame:
    """Return a row for each run: its ``energy``, and its spins in columns 0 to n - 1.

    The record is in ``attrs["record"]``, as a dict.
    """
    import pandas as pd

    frame = pd.DataFrame(samples.spins, columns=range(samples.spins.shape[1]))
    frame.insert(0, "energy", samples.energies)
    frame.attrs["record"] = samples.record.model_dump(mode="json")
    return frame


def to_xarray(samples: SampleSet) -> xr.Dataset:
    """Return spins (run, spin), energies (run), and amplitudes and trace where there are any.

    Its attributes are the facts of the record that are one text or number.
    """
    import xarray as xr

    parts: dict[str, Any] = {
        "spins": (("run", "spin"), samples.spins),
        "energy": (("run",), samples.energies),
    }
    coordinates: dict[str, Any] = {}
    if samples.amplitudes is not None:
        parts["amplitude"] = (("run", "spin"), samples.amplitudes)
    if samples.trace is not None:  # its runs are in the order of the job
        parts["trace"] = (("round_trip", "traced_run", "spin"), samples.trace.amplitudes)
        parts["pump"] = (("round_trip",), samples.trace.pump)
        coordinates["round_trip"] = samples.trace.round_trips
    record = samples.record.model_dump(mode="json")
    facts = {name: value for name, value in record.items() if isinstance(value, str | int | float)}
    return xr.Dataset(parts, coordinates, facts)


def to_parquet(samples: SampleSet, path: str | os.PathLike[str]) -> None:
    """Write energies, packed spins, amplitudes where there are any, and the record.

    Raises
    ------
    ModelError
        The samples have a trace, which has no place in a table, or the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if samples.trace is not None:
        what = "the samples have a trace, which is no table"
        raise ModelError(what, hint="dataclasses.replace(samples, trace=None) leaves it out")
    n_spins = samples.spins.shape[1]
    columns = {"energy": pa.array(samples.energies), "spins": _rows(samples.spins, n_spins)}
    if samples.amplitudes is not None:
        columns["amplitudes"] = _rows(samples.amplitudes, n_spins)
    facts = {
        RECORD: samples.record.model_dump_json().encode(),
        TOLERANCE: samples.tolerance.hex().encode(),
        SYMMETRIC: str(int(samples.is_symmetric)).encode(),
    }
    try:
        pq.write_table(pa.table(columns).replace_schema_metadata(facts), os.fspath(path))
    except (OSError, pa.ArrowInvalid) as error:
        raise ModelError(f"cannot write {path}: {error}") from None


def from_parquet(path: str | os.PathLike[str]) -> SampleSet:
    """Return the samples that `to_parquet` wrote.

    Raises
    ------
    ModelError
        The file cannot be read, or holds no samples.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(os.fspath(path))
        facts = table.schema.metadata or {}
        if len(facts[RECORD]) > MAX_RECORD_BYTES:
            raise ModelError(f"{path}: its record has {len(facts[RECORD])} bytes")
        record = RunRecord.model_validate_json(facts[RECORD])
        energies = table["energy"].to_numpy().astype(np.float64)
        parts = {name: _matrix(table[name]) for name in table.column_names if name != "energy"}
        spins, amplitudes = parts["spins"], parts.get("amplitudes")
        if not (np.abs(spins) == 1).all():
            raise ModelError(f"{path}: spins are not -1 and +1")
        return SampleSet(
            *(spins, energies, amplitudes, record),
            tolerance=float.fromhex(facts[TOLERANCE].decode()),
            is_symmetric=facts[SYMMETRIC] == b"1",
        )
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{path} holds no samples: {type(error).__name__}: {error}") from None


def _rows(matrix: Any, width: int) -> Any:
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), width)


def _matrix(column: Any) -> Any:
    rows = column.combine_chunks()
    return rows.values.to_numpy().reshape(len(rows), -1)
