"""Model files: G-set text (MAX-CUT), and ``.npz`` with ``J`` and an optional ``h``."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy  # not scipy.sparse: it takes 0.4 s, and dense models do not need it

from cim_hal.errors import ModelError
from cim_hal.model.ising import IsingModel

if TYPE_CHECKING:
    import scipy.sparse as sp
    from numpy.typing import NDArray

__all__ = ["MAX_FILE_BYTES", "ModelFile", "read_model"]

MAX_FILE_BYTES = 4 * 1024**3
MAX_FILE_SPINS = 1_000_000


@dataclass(frozen=True)
class ModelFile:
    """A model read from disk, and whether it is a MAX-CUT graph."""

    model: IsingModel
    is_graph: bool


def read_model(path: str | Path) -> ModelFile:
    """Read a model file: an archive if the suffix is ``.npz``, otherwise G-set text.

    G-set text has a first line ``n m`` and m lines ``i j w`` with i, j from 1 to n; the couplings
    are J = -W, so that the ground state is the maximum cut. In lines without w, w is 1.

    Raises
    ------
    ModelError
        The file is missing, too large or malformed; the message says where.
    """
    file = Path(path)
    try:
        size = file.stat().st_size
    except OSError as error:
        raise ModelError(f"cannot read the model file {file}: {error.strerror}") from None
    if not file.is_file():
        raise ModelError(f"{file} is not a file", hint="pass a G-set text file or a .npz file")
    if size > MAX_FILE_BYTES:
        raise ModelError(f"{file} has {size} bytes", hint=f"at most {MAX_FILE_BYTES} are read")
    if file.suffix == ".npz":
        return ModelFile(_read_npz(file), is_graph=False)
    return ModelFile(_read_gset(file), is_graph=True)


def _read_npz(file: Path) -> IsingModel:
    try:
        with np.load(file, allow_pickle=False) as archive:
            _check_members(file)
            if "J" not in archive:
                names = ", ".join(archive.files) or "nothing"
                raise ModelError(f"{file} holds {names}", hint="it must hold J, and may hold h")
            return IsingModel.from_couplings(archive["J"], archive.get("h"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{file} is not a readable .npz file: {error}") from None


def _check_members(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > MAX_FILE_BYTES:
        raise ModelError(f"{file} unpacks to {unpacked} bytes", hint=f"at most {MAX_FILE_BYTES}")


def _read_gset(file: Path) -> IsingModel:
    try:
        with file.open(encoding="ascii") as lines:
            n_spins, n_edges = _read_header(file, lines.readline())
            edges = _read_edges(file, lines, n_edges)
    except UnicodeDecodeError:
        raise ModelError(
            f"{file} is not a text file", hint="G-set text starts with a line 'n m'"
        ) from None
    return IsingModel.from_maxcut(_as_weights(file, edges, n_spins))


def _read_header(file: Path, line: str) -> tuple[int, int]:
    try:
        n_spins, n_edges = (int(word) for word in line.split())
    except ValueError:
        raise ModelError(
            f"{file}:1: {line.strip()[:60]!r} is not a G-set header",
            hint="the first line must be 'n m', the numbers of spins and edges",
        ) from None
    if not (1 <= n_spins <= MAX_FILE_SPINS and 0 <= n_edges <= n_spins * (n_spins - 1) // 2):
        raise ModelError(f"{file}:1: {n_spins} spins and {n_edges} edges do not make a graph")
    return n_spins, n_edges


def _edge(row: str, column: str, weight: str = "1") -> tuple[int, int, float]:
    return int(row), int(column), float(weight)


def _read_edges(file: Path, lines: Iterable[str], n_edges: int) -> NDArray[np.float64]:
    rows: list[tuple[float, float, float]] = []
    for number, line in enumerate(lines, start=2):
        words = line.split()
        if not words:
            continue
        try:
            row, column, weight = _edge(*words)
        except (TypeError, ValueError):
            raise ModelError(
                f"{file}:{number}: {line.strip()[:60]!r} is not an edge", hint="expected 'i j w'"
            ) from None
        rows.append((row, column, weight))
        if len(rows) > n_edges:
            break
    if len(rows) != n_edges:
        found = f"more than {n_edges}" if len(rows) > n_edges else str(len(rows))
        raise ModelError(f"{file}: the header says {n_edges} edges, the file has {found}")
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def _as_weights(file: Path, edges: NDArray[np.float64], n_spins: int) -> sp.csr_array:
    ends = edges[:, :2].astype(np.int64) - 1
    wrong = (ends < 0).any(axis=1) | (ends >= n_spins).any(axis=1) | (ends[:, 0] == ends[:, 1])
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        row, column = ends[at] + 1
        raise ModelError(
            f"{file}: edge {at + 1} joins {row} and {column}",
            hint=f"ends must be two different numbers from 1 to {n_spins}",
        )
    half = scipy.sparse.coo_array((edges[:, 2], (ends[:, 0], ends[:, 1])), shape=(n_spins, n_spins))
    return scipy.sparse.csr_array(half + half.T)
