"""Model files as they are written: whole, and nothing of a model dropped without a word."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from cim_hal.atomic_files import replacing
from cim_hal.errors import ModelError
from cim_hal.model.conversion import flag, with_article
from cim_hal.model.ising import IsingModel, check_model
from cim_hal.model.text_files import MATRIX_IS_J
from cim_hal.text import counted

__all__ = ["LAYOUTS", "SUFFIXES", "layout_of", "write_model"]

SUFFIXES = {
    ".txt": "gset",
    ".gset": "gset",
    ".mc": "gset",
    ".rud": "gset",
    ".rudy": "gset",
    ".sparse": "biqmac",
    ".qubo": "qbsolv",
    ".coo": "coo",
    ".json": "bqpjson",
    ".npz": "npz",
    ".npy": "npy",
    ".mtx": "mtx",
}
COMPLETE = {"bqpjson", "dimod", "npz"}  # layouts with a place for all of a model
NUMPY = {"npz": ".npz", "scipy": ".npz", "npy": ".npy"}
OWN = {layout: suffix for suffix, layout in reversed(SUFFIXES.items())} | {"dimod": ".json"}
MISREAD = {"gset": {".sparse", ".qubo"}}  # suffixes under which a layout is taken for another
BITS = {"biqmac", "qbsolv"}  # layouts of bits 0 and 1, whose energies have another constant
MAX_MATRIX_BYTES = 4 * 1024**3
PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def layout_of(path: str | os.PathLike[str]) -> str:
    """Return the layout that a path names by its suffix, before that of a compression.

    Raises
    ------
    ModelError
        It names none.
    """
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes and suffixes[-1] in PACKERS:
        suffixes.pop()
    found = SUFFIXES.get(suffixes[-1] if suffixes else "")
    if found is None:
        known = ", ".join(SUFFIXES)
        raise ModelError(f"{path} has no suffix of a model file", hint=f"one of {known}")
    return found


def write_model(
    path: str | os.PathLike[str],
    model: IsingModel,
    *,
    layout: str | None = None,
    drop_offset: bool = False,
) -> str:
    """Write a model file, whole or not at all; return its layout.

    `read_model` reads it with equal energies, to the rounding of float64: a matrix of Matrix Market
    with ``format="ising"``.

    Parameters
    ----------
    path : str or path
        Text that ends with ``.gz``, ``.bz2`` or ``.xz`` is compressed.
    model : IsingModel
    layout : str, optional
        One of ``LAYOUTS``, by default what the suffix says; one that is read as something else
        under that suffix is refused.
    drop_offset : bool
        Leave the constant of the energy out where the layout has no place for one.

    Raises
    ------
    ModelError
        The layout has no place for the field, or for the offset, of the model; or the file cannot
        be written.
    """
    if not isinstance(path, (str, os.PathLike)):
        what = f"path is {with_article(type(path).__name__)}, not a path"
        raise ModelError(what, hint="pass the name of a file")
    check_model(model)
    file, is_dropping = Path(path), flag("drop_offset", drop_offset, ModelError)
    chosen = layout_of(file) if layout is None else layout
    if not isinstance(chosen, str) or chosen not in LAYOUTS:
        raise ModelError(f"layout = {layout!r:.50}", hint=f"one of {', '.join(LAYOUTS)}")
    _check_suffix(file, chosen)
    if is_dropping and chosen not in COMPLETE:
        model = replace(model, offset=0.0, origin=None)
        if chosen in BITS:
            model = replace(model, offset=-model.to_qubo()[1])
    data = LAYOUTS[chosen](model)
    pack = PACKERS.get(file.suffix.lower())
    _write_whole(file, pack(data) if pack else data)
    return chosen


def _check_suffix(file: Path, layout: str) -> None:
    """Refuse a layout that `read_model` would not read, or misread, under the suffix of a file."""
    suffix = file.suffix.lower()
    if layout in NUMPY:
        is_right = suffix == NUMPY[layout]
    else:
        suffix = Path(file.stem).suffix.lower() if suffix in PACKERS else suffix
        wrong = {".npz", ".npy"} | MISREAD.get(layout, set())
        is_right = suffix == ".sparse" if layout == "biqmac" else suffix not in wrong
    if not is_right:
        own = NUMPY.get(layout) or OWN[layout]
        raise ModelError(f"{file} would not be read as {layout}", hint=f"its suffix is {own}")


def _write_whole(file: Path, data: bytes) -> None:
    try:
        with replacing(file) as target:
            target.write(data)
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or error
        raise ModelError(f"cannot write {file}: {what}") from None


# ---- what a layout has no place for ---------------------------------------------------------


def _without_offset(offset: float, layout: str) -> None:
    if offset:
        raise ModelError(
            f"the energy has the constant {offset:.17g}, for which {layout} has no place",
            hint="drop_offset (--drop-offset) leaves it out, or write .json or .npz",
        )


def _without_field(model: IsingModel, layout: str) -> None:
    if model.h.any():
        raise ModelError(
            f"the model has a field, for which {layout} has no place",
            hint="write .coo, .qubo, .json or .npz",
        )


# ---- layouts --------------------------------------------------------------------------------


def _upper(matrix: Any, *, diagonal: bool) -> tuple[list[int], list[int], list[float]]:
    """Return the entries above the diagonal, or on and above it, by rows."""
    found: Any = scipy.sparse.triu(scipy.sparse.csr_array(matrix), 0 if diagonal else 1).tocoo()
    found.eliminate_zeros()
    order = np.lexsort((found.col, found.row))
    values = np.asarray(found.data, np.float64)[order]
    return found.row[order].tolist(), found.col[order].tolist(), values.tolist()


def _number(value: float) -> str:
    """Return the shortest text of a number, whole ones without a point."""
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)


def _lines(entries: tuple[list[int], list[int], list[float]], base: int) -> Iterator[str]:
    for i, j, value in zip(*entries, strict=True):
        yield f"{i + base} {j + base} {_number(value)}"


def _text(*lines: str) -> bytes:
    return ("\n".join(lines) + "\n").encode()


def _gset(model: IsingModel) -> bytes:
    _without_field(model, "a graph")
    _without_offset(model.offset, "a graph")
    edges = _upper(-model.J, diagonal=False)
    return _text(f"{model.n_spins} {len(edges[0])}", *_lines(edges, 1))


def _quadratic(model: IsingModel, layout: str) -> Any:
    Q, constant = model.to_qubo()
    is_rounding = abs(constant) <= model.energy_tolerance
    _without_offset(0.0 if is_rounding else constant, layout)
    return Q


def _biqmac(model: IsingModel) -> bytes:
    entries = _upper(_quadratic(model, "Biq Mac"), diagonal=True)
    return _text(f"{model.n_spins} {len(entries[0])}", *_lines(entries, 1))


def _qbsolv(model: IsingModel) -> bytes:
    Q = scipy.sparse.csr_array(_quadratic(model, "qbsolv"))
    diagonal = Q.diagonal()
    nodes = [(i, i, value) for i, value in enumerate(diagonal.tolist()) if value]
    rows, columns, values = _upper(Q, diagonal=False)
    couplers = rows, columns, [2.0 * value for value in values]  # each pair stands once
    listed = [f"{i} {j} {_number(value)}" for i, j, value in nodes]
    header = f"p qubo 0 {model.n_spins} {len(nodes)} {len(rows)}"
    return _text(header, *listed, *_lines(couplers, 0))


def _coo(model: IsingModel) -> bytes:
    _without_offset(model.offset, "COO")
    fields = [f"{i} {i} {_number(-value)}" for i, value in enumerate(model.h.tolist()) if value]
    last = model.n_spins - 1
    rows, columns, values = _upper(-model.J, diagonal=False)
    # the number of spins is that of the last one that is named
    is_named = bool(model.h[last]) or last in columns
    ends = [] if is_named else [f"{last} {last} 0"]
    return _text("# vartype: SPIN", *fields, *ends, *_lines((rows, columns, values), 0))


def _bqpjson(model: IsingModel) -> bytes:
    rows, columns, values = _upper(-model.J, diagonal=False)
    table = {
        "version": "1.0.0",
        "id": 0,
        "metadata": {},
        "variable_ids": list(range(model.n_spins)),
        "variable_domain": "spin",
        "scale": 1.0,
        "offset": model.offset,
        "linear_terms": [
            {"id": i, "coeff": -value} for i, value in enumerate(model.h.tolist()) if value
        ],
        "quadratic_terms": [
            {"id_tail": i, "id_head": j, "coeff": value}
            for i, j, value in zip(rows, columns, values, strict=True)
        ],
    }
    return json.dumps(table, indent=1).encode()


def _dimod(model: IsingModel) -> bytes:
    rows, columns, values = _upper(-model.J, diagonal=False)
    table = {
        "type": "BinaryQuadraticModel",
        "version": {"bqm_schema": "3.0.0"},
        "use_bytes": False,
        "index_type": "int32",
        "bias_type": "float64",
        "num_variables": model.n_spins,
        "num_interactions": len(rows),
        "variable_labels": list(range(model.n_spins)),
        "variable_type": "SPIN",
        "offset": model.offset,
        "info": {},
        "linear_biases": (-model.h).tolist(),
        "quadratic_biases": values,
        "quadratic_head": rows,
        "quadratic_tail": columns,
    }
    return json.dumps(table).encode()


def _dense(model: IsingModel) -> Any:
    if isinstance(model.J, np.ndarray):
        return model.J
    if 8 * model.n_spins**2 > MAX_MATRIX_BYTES:
        what = (
            f"a matrix of {counted(model.n_spins, 'spin')} has more than {MAX_MATRIX_BYTES} bytes"
        )
        raise ModelError(what, hint="write .coo, .json, or a sparse matrix: layout scipy")
    return model.J.toarray()


def _npz(model: IsingModel) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, J=_dense(model), h=model.h, offset=np.float64(model.offset))
    return stream.getvalue()


def _npy(model: IsingModel) -> bytes:
    _without_field(model, "a matrix")
    _without_offset(model.offset, "a matrix")
    stream = io.BytesIO()
    np.save(stream, _dense(model), allow_pickle=False)
    return stream.getvalue()


def _scipy(model: IsingModel) -> bytes:
    _without_field(model, "a matrix")
    _without_offset(model.offset, "a matrix")
    stream = io.BytesIO()
    scipy.sparse.save_npz(stream, scipy.sparse.csr_array(model.J))
    return stream.getvalue()


def _mtx(model: IsingModel) -> bytes:
    _without_field(model, "a matrix")
    _without_offset(model.offset, "a matrix")
    from scipy.io import mmwrite

    stream = io.BytesIO()
    mmwrite(
        stream, scipy.sparse.coo_array(model.J), comment=f" {MATRIX_IS_J}", symmetry="symmetric"
    )
    return stream.getvalue()


LAYOUTS: Mapping[str, Callable[[IsingModel], bytes]] = {
    "gset": _gset,
    "biqmac": _biqmac,
    "qbsolv": _qbsolv,
    "coo": _coo,
    "bqpjson": _bqpjson,
    "dimod": _dimod,
    "npz": _npz,
    "npy": _npy,
    "scipy": _scipy,
    "mtx": _mtx,
}
