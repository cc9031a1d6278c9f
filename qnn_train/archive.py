"""Arrays in ``.npz`` files: written whole or not at all; read as hostile input, without pickle."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from cim_hal.atomic_files import replacing
from cim_hal.toml_files import first_problem
from qnn_train.arrays import Array, ArrayLike, Arrays, BitArray
from qnn_train.errors import TrainingError

__all__ = [
    "Members",
    "checked_array",
    "checked_bits",
    "read_arrays",
    "reading",
    "unpacked_size",
    "write_arrays",
]

# What zipfile, zlib and numpy raise for damaged bytes; RuntimeError for encryption and unknown
# compression.
UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Members(dict[str, Array]):
    """The arrays of a file, which remember what was read of them; see `reading`."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        super().__init__(arrays)
        self.unread = set(arrays)

    def __getitem__(self, name: str) -> Array:
        self.unread.discard(name)
        return super().__getitem__(name)

    def check_read(self) -> None:
        """Raise a ValueError if something was not read: it would be lost without a word."""
        if self.unread:
            raise ValueError(f"it has an entry {min(self.unread)!r} that means nothing")


def read_arrays(
    path: str | os.PathLike[str], refuse: type[TrainingError], *, max_bytes: int
) -> Members:
    """Return all arrays of a file.

    Raises
    ------
    TrainingError
        `refuse`, if the file cannot be read, unpacks to more than `max_bytes` or has an entry
        twice.
    """
    try:
        if unpacked_size(path) <= max_bytes:
            with np.load(path, allow_pickle=False) as archive:
                if len(set(archive.files)) < len(archive.files):
                    raise refuse(f"{path} has an entry twice")
                return Members({name: archive[name] for name in archive.files})
    except zipfile.BadZipFile:
        raise refuse(f"cannot read {path}: it is no whole archive of arrays (.npz)") from None
    except UNREADABLE as error:
        raise refuse(f"cannot read {path}: {error}") from None
    raise refuse(f"{path} unpacks to more than {max_bytes} bytes")


def unpacked_size(path: str | os.PathLike[str]) -> int:
    """Return the bytes that all entries of a file unpack to."""
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())


@contextmanager
def reading(
    path: str | os.PathLike[str],
    refuse: type[TrainingError],
    what: str,
    arrays: Arrays | None = None,
) -> Iterator[None]:
    """Refuse a file in which the block finds something missing or wrong, or leaves arrays unread.

    Raises
    ------
    TrainingError
        `refuse`, for a missing entry (KeyError) or an invalid value (ValueError, another
        TrainingError). The message says that the file `what`, such as "is no checkpoint".
    """
    try:
        yield
        if isinstance(arrays, Members):
            arrays.check_read()
    except KeyError as error:
        raise refuse(f"{path} has no entry {error}") from None
    except TrainingError as error:
        raise refuse(f"{path} {what}: {error.message}") from None
    except ValidationError as error:
        raise refuse(f"{path} {what}: {first_problem(error)}") from None
    except ValueError as error:
        raise refuse(f"{path} {what}: {error}") from None


def write_arrays(
    path: str | os.PathLike[str],
    arrays: Mapping[str, ArrayLike],
    check: Callable[[Path], object],
    *,
    compressed: bool = False,
) -> None:
    """Write a file beside its place, let `check` refuse what a reader would, and move it there.

    An interruption or an error leaves the file that was at `path` as it was.
    """
    save = np.savez_compressed if compressed else np.savez
    with replacing(path, durable=True) as file:
        save(file, allow_pickle=False, **dict(arrays))
        file.flush()
        check(Path(file.name))


def checked_array(arrays: Arrays, name: str, kinds: str, shape: tuple[int, ...] | None) -> Array:
    """Return an array of a file, of one of some kinds of dtype and of a shape, None for any row.

    A KeyError if there is none; a ValueError for another one, or numbers that are not finite.
    """
    array = arrays[name]
    fits = array.ndim == 1 if shape is None else array.shape == shape
    if not fits or array.dtype.kind not in kinds:
        raise ValueError(f"{name} has shape {array.shape} and type {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} holds numbers that are not finite")
    return array


def checked_bits(arrays: Arrays, name: str, rows: int, n_bits: int) -> BitArray:
    """Return rows of bits (rows, n_bits), int8, that a file holds packed by `numpy.packbits`.

    A KeyError if there are none; a ValueError for another shape or type.
    """
    packed = arrays[name]
    if packed.dtype != np.uint8 or packed.shape != (rows, -(-n_bits // 8)):
        raise ValueError(f"{name} has shape {packed.shape} and type {packed.dtype}")
    return np.unpackbits(packed, axis=1, count=n_bits).astype(np.int8)
