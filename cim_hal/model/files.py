"""Model files: which formats are read, and how a file tells which one it is.

=============  ==================================================  =========================
format         content                                             told by
=============  ==================================================  =========================
``gset``       "n m", then "i j w" from 1: J = -w (MAX-CUT)        the first line
``gset``       the same, entries of a symmetric matrix Q (QUBO)    suffix ``.sparse``
``qbsolv``     "p qubo 0 n a b", then "i j w" from 0: w x_i x_j    the line ``p qubo``
``coo``        "i j w" from 0: w s_i s_j, or w x_i x_j             comment ``vartype: SPIN``
``bqpjson``    scale * (terms + offset), over spins or bits        its members
``dimod``      a binary quadratic model as JSON                    its members
``mtx``        a matrix of Matrix Market, W, Q or J                ``%%MatrixMarket``
``npz``        J, and h and offset where there are any             the name J
``scipy``      a sparse matrix J                                   what scipy writes
``npy``        a matrix J                                          the first bytes
=============  ==================================================  =========================

Text may be compressed (gzip, bzip2, xz), begin with a byte order mark, and have comments. The file
``-`` is standard input.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import os
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import scipy  # not scipy.sparse: it takes 0.4 s, and dense models do not need it

from cim_hal.errors import ModelError
from cim_hal.model.ising import IsingModel
from cim_hal.model.json_files import is_json, read_json
from cim_hal.model.text_files import (
    MATRIX_MARKET,
    MAX_FILE_SPINS,
    READINGS,
    check_matrix_market,
    read_text,
)
from cim_hal.text import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.model.text_files import TextModel

__all__ = ["FORMATS", "MAX_FILE_BYTES", "ModelFile", "read_model"]

MAX_FILE_BYTES = 4 * 1024**3
MAX_TEXT_BYTES = 1024**3
FORMATS = tuple(READINGS)
COMPRESSED: Mapping[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
SCIPY = {
    "format", "shape", "data", "indices", "indptr", "row", "col", "offsets", "coords", "_is_array"
}  # fmt: skip
NPY, ZIP, DIMOD = b"\x93NUMPY", b"PK\x03\x04", b"DIMODBQM"


@dataclass(frozen=True)
class ModelFile:
    """A model read from disk, whether it is a MAX-CUT graph, and the format it was read as.

    `labels` are the names or numbers of its variables, where the file has some.
    """

    model: IsingModel
    is_graph: bool
    format: str = ""
    labels: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class _Source:
    """Where a file comes from; every call of `open` begins anew."""

    name: str
    suffixes: list[str]
    size: int
    open: Callable[[], IO[bytes]]

    def __str__(self) -> str:
        return self.name

    @property
    def suffix(self) -> str:
        return self.suffixes[-1].lower() if self.suffixes else ""


def read_model(path: str | os.PathLike[str], *, format: str | None = None) -> ModelFile:  # noqa: A002
    """Read a model file; the module says which formats there are.

    Parameters
    ----------
    path : str or path
        ``-`` for standard input.
    format : str, optional
        What the entries are, where the file leaves it open: ``maxcut`` (weights of a graph),
        ``qubo`` (entries of a symmetric matrix Q) or ``ising`` (terms w s_i s_j of an energy, so
        that J = -w, in text; J itself in a matrix).

    Raises
    ------
    ModelError
        The file is missing, too large, malformed, says something twice or something that is not
        read, or can be read in several ways; the message says where.
    """
    if not isinstance(path, (str, os.PathLike)):
        what = type(path).__name__
        raise ModelError(f"path is a {what}, not a path", hint="pass the name of a file")
    if format is not None and not (isinstance(format, str) and format in FORMATS):
        raise ModelError(f"format = {format!r:.50}", hint=f"one of {', '.join(FORMATS)}")
    file = _standard_input() if str(path) == "-" else _on_disk(Path(path))
    with file.open() as stream:
        start = stream.read(8)
    suffix = file.suffix
    if start.startswith(ZIP) and suffix == ".npz":
        return _read_npz(file, format)
    if start.startswith(NPY) and suffix in (".npz", ".npy"):
        with file.open() as stream:
            matrix = _read_array(str(file), stream, file.size)
        return _of_matrix(str(file), matrix, format, "npy")
    if suffix in (".npz", ".npy"):
        raise ModelError(f"{file} is not a readable {suffix} file: it begins with {start!r}")
    if start.startswith((ZIP, NPY)):
        raise ModelError(f"{file} is not a text file", hint="numpy's files end with .npz or .npy")
    return _of_characters(file, start, format)


def _of_characters(file: _Source, start: bytes, reading: str | None) -> ModelFile:
    """Read a file of text."""
    if start.startswith(DIMOD):
        hint = "cim_hal.interop.dimod.from_bqm takes dimod.BinaryQuadraticModel.from_file(path)"
        raise ModelError(f"{file} is a binary file of dimod", hint=hint)
    text, suffix = _text_of(file, start)
    if is_json(text):
        return _of_json(text, str(file), reading)
    if text[: len(MATRIX_MARKET)].lower() != MATRIX_MARKET:
        return _of_text(read_text(text, str(file), suffix, reading))
    if reading is None:
        raise ModelError(
            f"{file} is a matrix of Matrix Market: the weights of a graph, Q, or J",
            hint="pass format (--format) maxcut, qubo or ising",
        )
    return _of_matrix(str(file), _matrix_market(text, str(file)), reading, "mtx")


def _on_disk(file: Path) -> _Source:
    try:
        size = file.stat().st_size
        if not file.is_file():
            raise ModelError(f"{file} is not a file", hint="pass a G-set text file or a .npz file")
        if size > MAX_FILE_BYTES:
            raise ModelError(f"{file} has {size} bytes", hint=f"at most {MAX_FILE_BYTES} are read")
        file.open("rb").close()
    except (OSError, ValueError) as error:  # a ValueError for a path with a zero
        if isinstance(error, ModelError):
            raise
        what = error.strerror if isinstance(error, OSError) else error
        raise ModelError(f"cannot read the model file {file}: {what}") from None
    return _Source(str(file), file.suffixes, size, lambda: file.open("rb"))


def _standard_input() -> _Source:
    """Read all of standard input, which has no suffix: its first bytes tell those of numpy."""
    data = sys.stdin.buffer.read(MAX_TEXT_BYTES + 1)
    if len(data) > MAX_TEXT_BYTES:
        raise ModelError(f"standard input is longer than {MAX_TEXT_BYTES} bytes")
    binary = {ZIP: ".npz", NPY: ".npy"}
    suffixes = [suffix for magic, suffix in binary.items() if data.startswith(magic)]
    return _Source("standard input", suffixes, len(data), lambda: io.BytesIO(data))


# ---- text -------------------------------------------------------------------------------------


def _text_of(file: _Source, start: bytes) -> tuple[str, str]:
    """Return the text of a file, and its suffix without that of a compression."""
    unpack = next((opener for magic, opener in COMPRESSED.items() if start.startswith(magic)), None)
    try:
        with file.open() as packed, unpack(packed) if unpack else nullcontext(packed) as stream:
            data = stream.read(MAX_TEXT_BYTES + 1)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise ModelError(f"{file} cannot be unpacked: {error}") from None
    if len(data) > MAX_TEXT_BYTES:
        raise ModelError(f"{file} is longer than {MAX_TEXT_BYTES} bytes of text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ModelError(f"{file} is not a text file", hint="G-set text starts with a line 'n m'")
    suffixes = file.suffixes[:-1] if unpack else file.suffixes
    return text, suffixes[-1].lower() if suffixes else ""


def _of_json(text: str, file: str, reading: str | None) -> ModelFile:
    model, name, labels = read_json(text, file)
    if reading is not None:
        raise ModelError(f"{file} is {name}, which says what its terms are", hint="leave it out")
    return ModelFile(model, is_graph=False, format=name, labels=labels)


def _matrix_market(text: str, file: str) -> Any:
    """Return the matrix of a text of Matrix Market, whose sizes are checked before it is read."""
    shape = check_matrix_market(text, file)
    from scipy.io import mmread

    with (
        _reading(f"{file} is not a readable file of Matrix Market"),
        warnings.catch_warnings(action="ignore", category=DeprecationWarning),  # of what it returns
    ):
        matrix: Any = mmread(io.BytesIO(text.encode()))
        if len(shape) == 2:
            return matrix
        places = matrix.row.astype(np.int64) * shape[1] + matrix.col
        if len(np.unique(places)) < len(places):
            raise ModelError(f"{file} holds an entry twice", hint="each pair once")
        return scipy.sparse.csr_array(matrix)


def _of_text(read: TextModel) -> ModelFile:
    entries, name = read.entries, f"{read.layout} ({read.reading})"
    if read.reading == "qubo":
        diagonal = scipy.sparse.diags_array(entries.diagonal())
        # in a matrix an entry stands for its mirror image too, in a sum each term is there once
        full = entries + entries.T - diagonal if read.layout in {"gset", "biqmac"} else entries
        return ModelFile(IsingModel.from_qubo(full), is_graph=False, format=name)
    field: Any = entries.diagonal()
    hollow = scipy.sparse.triu(entries, 1)
    weights = scipy.sparse.csr_array(hollow + hollow.T)
    model = IsingModel.from_couplings(-weights, -field)
    return ModelFile(model, is_graph=read.reading == "maxcut", format=name)


# ---- arrays -----------------------------------------------------------------------------------


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Turn whatever zipfile, numpy and scipy raise about foreign bytes into a `ModelError`."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001
        raise ModelError(f"{what}: {type(error).__name__}: {error}") from None


def _read_npz(file: _Source, reading: str | None) -> ModelFile:
    with (
        _reading(f"{file} is not a readable .npz file"),
        file.open() as packed,
        zipfile.ZipFile(packed) as archive,
    ):
        arrays = _members(file, archive)
    if "J" in arrays:
        return _of_members(file, arrays, reading)
    if "format" in arrays and "shape" in arrays:
        return _of_matrix(str(file), _sparse(file, arrays), reading, "scipy")
    held = ", ".join(arrays) or "nothing"
    raise ModelError(f"{file} holds {held}", hint="it must hold J, and may hold h and offset")


def _members(file: _Source, archive: zipfile.ZipFile) -> dict[str, NDArray[Any]]:
    members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    if unpacked > MAX_FILE_BYTES:
        raise ModelError(f"{file} unpacks to {unpacked} bytes", hint=f"at most {MAX_FILE_BYTES}")
    arrays: dict[str, NDArray[Any]] = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name in arrays:
            raise ModelError(f"{file} holds {name} twice")
        with archive.open(member) as stream:
            arrays[name] = _read_array(f"{file}: {name}", stream, member.file_size)
    return arrays


def _read_array(name: str, stream: IO[bytes], size: int) -> NDArray[Any]:
    """Read an array of numpy whose header promises as many bytes as there are, at most `size`."""
    with _reading(f"{name} is not a readable array"):
        version = np.lib.format.read_magic(stream)
        first = version == (1, 0)
        read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read(stream)
        if dtype.hasobject:
            raise ModelError(f"{name} is not a readable array: it holds Python objects")
        promised = math.prod(shape) * dtype.itemsize
        data = stream.read(promised + 1) if promised <= size else b""
        if len(data) != promised:
            raise ModelError(f"{name} has the shape {shape} by its header, and other bytes follow")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")


def _of_members(file: _Source, arrays: dict[str, NDArray[Any]], reading: str | None) -> ModelFile:
    unknown = arrays.keys() - {"J", "h", "offset"}
    numbers = sorted(name for name in unknown if arrays[name].dtype.kind not in "SU")
    if numbers:
        what = ", ".join(numbers)
        raise ModelError(f"{file} holds {what} beside J", hint="J, h and offset are read")
    if unknown:
        what = f"{file} holds the text {', '.join(sorted(unknown))}, which is not read"
        warnings.warn(printable(what), stacklevel=4)
    if reading not in (None, "ising"):
        raise ModelError(f"{file} holds J, which is no {reading}", hint="leave the format out")
    offset: Any = arrays.get("offset", 0.0)
    model = IsingModel.from_couplings(arrays["J"], arrays.get("h"), offset)
    return ModelFile(model, is_graph=False, format="npz")


def _sparse(file: _Source, arrays: dict[str, NDArray[Any]]) -> Any:
    shape = arrays["shape"]
    unknown = arrays.keys() - SCIPY
    if unknown:
        raise ModelError(f"{file} holds {', '.join(sorted(unknown))} beside a sparse matrix")
    if shape.shape != (2,) or not (shape <= MAX_FILE_SPINS).all():
        hint = f"at most {MAX_FILE_SPINS} spins are read"
        raise ModelError(f"{file} holds a matrix of shape {shape.tolist()}", hint=hint)
    with _reading(f"{file} is not a sparse matrix of scipy"):
        with file.open() as stream:
            matrix = scipy.sparse.load_npz(stream)
        if hasattr(matrix, "check_format"):  # scipy trusts indices that point outside
            matrix.check_format(full_check=True)
        return matrix


def _of_matrix(name: str, matrix: Any, reading: str | None, layout: str) -> ModelFile:
    """Make a model of a bare matrix: J unless `reading` says otherwise."""
    try:
        make = {"qubo": IsingModel.from_qubo, "maxcut": IsingModel.from_maxcut}
        model = make.get(reading or "", IsingModel.from_couplings)(matrix)
    except ModelError as error:
        hint = "a matrix without a name is J; pass format (--format) qubo or maxcut if it is Q or W"
        raise ModelError(f"{name}: {error.message}", hint=hint) from None
    is_graph = reading == "maxcut"
    return ModelFile(model, is_graph=is_graph, format=f"{layout} ({reading or 'ising'})")
