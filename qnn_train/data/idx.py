"""The IDX format of MNIST and its kin: gzip, a big-endian header, then bytes.

Files come from outside: the header is checked and no more is unpacked than it says.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from qnn_train.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["read_idx"]

UNSIGNED_BYTES = 0x08
MAX_ITEMS = 100_000


def read_idx(path: Path, *, item_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read unsigned bytes of shape (count, *item_shape).

    Raises
    ------
    DataError
        Not gzip, another type or shape, an unlikely count, or a length that does not match.
    """
    n_axes = 1 + len(item_shape)
    try:
        with gzip.open(path) as file:
            header = file.read(4 + 4 * n_axes)
            shape = _shape(path, header, n_axes, item_shape)
            data = file.read(prod(shape) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}", hint="damaged? fetch it again") from None
    if len(data) != prod(shape):
        more = "more" if len(data) > prod(shape) else "fewer"
        raise DataError(f"{path} holds {more} bytes than its header says", hint="fetch it again")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def _shape(path: Path, header: bytes, n_axes: int, item_shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(header) < 4 + 4 * n_axes:
        raise DataError(f"{path} ends within its header", hint="fetch it again")
    magic, *shape = struct.unpack(f">{1 + n_axes}I", header)
    if magic != UNSIGNED_BYTES << 8 | n_axes:
        raise DataError(f"{path} is no IDX file of {n_axes} axes: it begins with 0x{magic:08x}")
    if not 1 <= shape[0] <= MAX_ITEMS or tuple(shape[1:]) != item_shape:
        sizes = " x ".join(str(size) for size in shape)
        raise DataError(f"{path} says it holds {sizes} bytes", hint=f"expected _ x {item_shape}")
    return tuple(shape)
