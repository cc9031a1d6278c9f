"""Arrays of a ``.npz`` file that may be damaged or hostile: bounded, and no pickle."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from qnn_train.errors import TrainingError

__all__ = ["read_arrays"]

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
