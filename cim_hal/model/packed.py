"""Integers of one or two bits, kept packed and read a piece at a time.

Dense couplings of 100,000 spins of which each is -1, 0 or +1 take 1.3 GB above the diagonal, and
40 GB as float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BITS", "TRITS", "PackedValues", "Values", "pack", "packed_bits"]

BITS = "bits"  # 1 is +1, 0 is -1
TRITS = "trits"  # two bits: 00 is 0, 01 is +1, 11 is -1


def _table(n_bits: int) -> NDArray[np.int8]:
    """Return the numbers that each byte holds, (256, 8 / n_bits)."""
    fields = np.arange(256)[:, None] >> np.arange(0, 8, n_bits) & (2**n_bits - 1)
    numbers = 2 * fields - 1 if n_bits == 1 else np.array([0, 1, 0, -1])[fields]
    return numbers.astype(np.int8)


# As words, one for each byte: a look-up then copies four or eight numbers at once.
_WORDS: Mapping[str, NDArray[Any]] = MappingProxyType(
    {BITS: _table(1).view(np.uint64).ravel(), TRITS: _table(2).view(np.uint32).ravel()}
)
_PER_BYTE: Mapping[str, int] = MappingProxyType({BITS: 8, TRITS: 4})


def packed_bits(kind: str) -> int:
    """Return the bits of a number of a kind, 0 where it is none of the packed ones."""
    return 8 // _PER_BYTE[kind] if kind in _PER_BYTE else 0


@dataclass(frozen=True, eq=False)
class PackedValues:
    """A flat array of int8 that is -1, +1 or, of the kind "trits", 0.

    Attributes
    ----------
    kind : {"bits", "trits"}
    items : uint8 array
        Numbers, least significant bits first, padded with zeros.
    size : int
        How many numbers there are.
    """

    kind: str
    items: NDArray[np.uint8]
    size: int
    dtype: ClassVar[np.dtype[np.int8]] = np.dtype(np.int8)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.items.nbytes

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> NDArray[np.int8]:
        """Return a part as an array of its own; steps are not for it."""
        start, stop, _ = part.indices(self.size)
        per_byte = _PER_BYTE[self.kind]
        first = start // per_byte
        numbers = _WORDS[self.kind][self.items[first : -(-stop // per_byte)]].view(np.int8)
        return numbers[start - first * per_byte : max(stop, start) - first * per_byte]

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        """Return all numbers, for `numpy.asarray`."""
        del copy
        return self[:].astype(dtype or np.int8, copy=False)


Values: TypeAlias = "NDArray[Any] | PackedValues"


def pack(kind: str, values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the items of numbers, all of which the kind must hold."""
    if kind == BITS:
        return np.packbits(values > 0, bitorder="little")
    fields = np.zeros(-(-len(values) // 4) * 4, np.uint8)
    fields[: len(values)] = values.astype(np.int8, copy=False).view(np.uint8) & np.uint8(3)
    items = fields[0::4].copy()
    for place in (1, 2, 3):
        items |= fields[place::4] << np.uint8(2 * place)
    return items
