"""Arrays in a file that is whole or not there: a checked header, their bytes, and a checksum.

::

    8 bytes   "CIMDATA1"
    4 bytes   length of the header, u32 little endian
    header    JSON: what the file is about, each array's dtype and shape, SHA-256 of what follows
    the rest  the arrays, C order, little endian, one after the other
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cim_hal.errors import JournalError, StorageError
from cim_hal.protocol.wire.codec import DTYPES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["read_arrays", "remove", "storage_error", "write_arrays"]

MAGIC = b"CIMDATA1"
MAX_HEADER_BYTES = 64 * 1024
TEMPORARY = ".part"


class _Array(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: Literal[DTYPES]  # pyright: ignore[reportInvalidTypeForm]
    shape: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=3)]

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    about: dict[str, Any]
    arrays: Annotated[tuple[_Array, ...], Field(max_length=8)]
    sha256: str


def write_arrays(path: Path, about: dict[str, Any], arrays: Sequence[NDArray[Any]]) -> None:
    """Write a file, or leave what was there before; it is on the disk when this returns.

    Raises
    ------
    StorageError
        There is no room, or the disk does not take it.
    """
    raw = [np.ascontiguousarray(array) for array in arrays]
    digest = hashlib.sha256()
    for array in raw:
        digest.update(array.reshape(-1).view(np.uint8).data)
    header = _Header(
        about=about,
        arrays=tuple(_Array(dtype=array.dtype.str, shape=array.shape) for array in raw),
        sha256=digest.hexdigest(),
    )
    packed = header.model_dump_json().encode()
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("wb") as file:
            file.write(MAGIC + struct.pack("<I", len(packed)) + packed)
            for array in raw:
                file.write(array.reshape(-1).view(np.uint8).data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        remove(temporary)
        raise storage_error(error) from error


def read_arrays(path: Path) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Return what a file is about and its arrays, read-only, in memory only where they are used.

    Raises
    ------
    FileNotFoundError
        There is none.
    JournalError
        It is damaged, or no such file.
    """
    with path.open("rb") as file:
        start = file.read(len(MAGIC) + 4)
        if len(start) != len(MAGIC) + 4 or not start.startswith(MAGIC):
            raise _damaged(path, "it does not begin with CIMDATA1")
        (length,) = struct.unpack("<I", start[len(MAGIC) :])
        if length > MAX_HEADER_BYTES:
            raise _damaged(path, f"its header has {length} bytes")
        try:
            header = _Header.model_validate(json.loads(file.read(length)))
        except (ValidationError, ValueError) as error:
            raise _damaged(path, f"its header is not one: {type(error).__name__}") from None
    offset, size = len(start) + length, path.stat().st_size
    if offset + sum(array.n_bytes for array in header.arrays) != size:
        raise _damaged(path, f"it has {size} bytes, and its header says otherwise")
    arrays = [_view(path, at, array) for at, array in _placed(header.arrays, offset)]
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.reshape(-1).view(np.uint8).data)
    if digest.hexdigest() != header.sha256:
        raise _damaged(path, "its bytes do not have its checksum")
    return header.about, arrays


def remove(path: Path) -> None:
    """Remove a file that may be there."""
    try:
        path.unlink(missing_ok=True)
    except OSError:  # it stays, and is removed at the next start
        return


def storage_error(error: Exception) -> StorageError:
    """Return what a client is told where the disk does not take something."""
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return StorageError(
        f"the server cannot write to its disk: {reason}",
        hint="nothing was lost: send the same request again once there is room",
    )


def _placed(arrays: Sequence[_Array], offset: int) -> list[tuple[int, _Array]]:
    places = []
    for array in arrays:
        places.append((offset, array))
        offset += array.n_bytes
    return places


def _view(path: Path, offset: int, array: _Array) -> NDArray[Any]:
    if array.n_bytes == 0:
        return np.zeros(array.shape, array.dtype)
    return np.asarray(np.memmap(path, array.dtype, "r", offset, array.shape))


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damaged(path: Path, why: str) -> JournalError:
    return JournalError(f"{path} is damaged: {why}", hint="remove it", path=str(path))
