"""Arrays in ``.npz`` files: written whole or not at all; read as if hostile, without pickle."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from qnn_train.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray


__all__ = ["format_of", "read_arrays", "reading", "write_arrays"]

# What zipfile, zlib and numpy raise for bytes that are not what they should be; RuntimeError for
# encryption and unknown compression.
UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_arrays(
    path: Path, refuse: type[TrainingError], *, max_bytes: int
) -> dict[str, NDArray[Any]]:
    """Return all arrays of a file.

    Raises
    ------
    TrainingError
        `refuse`, where it cannot be read or unpacks to more than `max_bytes`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size <= max_bytes:
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
    except UNREADABLE as error:
        raise refuse(f"cannot read {path}: {error}") from None
    raise refuse(f"{path} unpacks to more than {max_bytes} bytes")


@contextmanager
def reading(path: Path, refuse: type[TrainingError], what: str) -> Iterator[None]:
    """Refuse what a block finds missing or wrong in a file.

    Raises
    ------
    TrainingError
        `refuse`, for a missing entry (KeyError) or a value that cannot be (ValueError, another
        TrainingError): the file is not `what` it should be, such as "is no checkpoint".
    """
    try:
        yield
    except KeyError as error:
        raise refuse(f"{path} has no entry {error}") from None
    except TrainingError as error:
        raise refuse(f"{path} {what}: {error.message}") from None
    except ValueError as error:
        raise refuse(f"{path} {what}: {error}") from None


def write_arrays(path: Path, arrays: Mapping[str, ArrayLike]) -> None:
    """Write a file beside its place and move it there: it is whole at every moment."""
    beside = path.with_name(path.name + ".part")
    with beside.open("wb") as file:
        np.savez(file, allow_pickle=False, **dict(arrays))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def format_of(path: Path, refuse: type[TrainingError], *, max_bytes: int) -> str:
    """Return what the entry ``about`` of a file says of its format; "" if it says nothing.

    Raises
    ------
    TrainingError
        See `read_arrays`.
    """
    try:
        about = json.loads(str(read_arrays(path, refuse, max_bytes=max_bytes)["about"]))
        return str(about["format"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return ""
