r"""Dense couplings -1, 0 and 1 in two bits each, for models whose bytes would not fit the memory.

100,000 spins take 2.5 GB. The rows of one tile are unpacked at a time, to where the products of
bytes of `dense` read them: 1.6 MB that stay in the cache, for all runs.

.. math:: f = \sum_j (J_j + 1)\,c_j - C, \qquad C = \sum_j c_j
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from cim_hal import Triangle
from emulator.kernel import kernel_part
from emulator.products.byte_products import (
    AMX_ROWS,
    TILE_VECTORS,
    VNNI_ROWS,
    has_byte_products,
    multiply_tile,
    multiply_tiles,
    tiles_off,
    tiles_on,
)
from emulator.products.dense import (
    MAX_COLUMNS,
    digits_of,
    level_chunks,
    level_words,
    padded_shape,
    shape_of,
)
from emulator.products.llvm import LANES
from emulator.products.packing import (
    LARGEST_CODE,
    PackedCodes,
    aligned_words,
    aligned_zeros,
    code_workspace,
    pack_words,
)

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["LEAST_SPINS", "TernaryLevels", "multiply_ternary_levels"]

LEAST_SPINS = 2**14  # with fewer, bytes take less than 256 MB, and need no unpacking

_WIDTH = TILE_VECTORS * LANES  # runs
_MASK = 0x03030303


class TernaryLevels(NamedTuple):
    """Couplings of two bits; make them with `of`.

    Attributes
    ----------
    words : int32 array
        The digits J + 1 of the rows of a tile in a row of words: (tiles, words), or for AMX
        (tiles, 1, words). Word k holds the words k, k + n, k + 2n and k + 3n of the tile in the
        layout of `DenseLevels`, n being the number of words here.
    n_spins : int
    """

    words: NDArray[np.int32]
    n_spins: int

    @classmethod
    def of(cls, J: Any, largest_code: float | None = LARGEST_CODE) -> TernaryLevels | None:
        """Pack -1, 0 and 1, of an array or a `Triangle`.

        None where the processor has no products of bytes, codes are no signed bytes, there are
        other couplings, or fewer than `LEAST_SPINS`.
        """
        if largest_code is None or largest_code > LARGEST_CODE or not has_byte_products():
            return None
        n_spins, n_columns = shape_of(J)
        if not LEAST_SPINS <= n_spins <= MAX_COLUMNS or not _are_ternary(J):
            return None
        shape = padded_shape(n_spins, n_columns)
        n_rows = AMX_ROWS if len(shape) == 4 else VNNI_ROWS
        size = int(np.prod(shape))
        n_tiles = shape[0] if len(shape) == 4 else shape[0] // VNNI_ROWS
        n_words = -(-size // n_tiles // (4 * LANES)) * LANES
        words = aligned_zeros((n_tiles, n_words), np.int32)
        for first, levels in level_chunks(J):
            digits = levels.astype(np.int8, copy=False).view(np.uint8) + np.uint8(1)
            tiles = level_words(digits).reshape(-1, size // n_tiles)
            place = words[first // n_rows :][: len(tiles)]
            for part in range(4):
                some = tiles[:, part * n_words : (part + 1) * n_words]
                place[:, : some.shape[1]] |= some << (2 * part)
        return cls(words[:, None] if len(shape) == 4 else words, n_spins)

    code_dtype = np.dtype(np.float32)
    depends_on_grouping = False

    def workspace(self, n_runs: int) -> PackedCodes:
        """Return arrays for the packed codes of `n_runs` runs."""
        return code_workspace(self.n_spins, n_runs)

    def multiply(self, codes: NDArray[Any], out: NDArray[Any]) -> bool:
        """Write the product, or return False where codes are no integers of a signed byte."""
        return _multiply(self, codes, out)

    def rows(self, first: int, stop: int, dtype: DTypeLike) -> NDArray[Any]:
        """Return rows `first`, a multiple of `BLOCK_ROWS`, to `stop` - 1 of J."""
        stop = min(stop, self.n_spins)
        shape = padded_shape(stop - first, self.n_spins)
        n_rows = AMX_ROWS if self.words.ndim == 3 else VNNI_ROWS
        tiles = self.words.reshape(len(self.words), -1)[first // n_rows : -(-stop // n_rows)]
        digits = np.concatenate([tiles >> (2 * part) & _MASK for part in range(4)], axis=1)
        words = digits[:, : int(np.prod(shape)) // len(tiles)].reshape(shape)
        return digits_of(words, 0, stop - first)[:, : self.n_spins].astype(dtype) - 1

    def unpack(self, dtype: DTypeLike) -> NDArray[Any]:
        """Return J (n, n)."""
        return self.rows(0, self.n_spins, dtype)


def _are_ternary(J: Any) -> bool:
    values: Any = J.values if isinstance(J, Triangle) else J
    if not isinstance(values, np.ndarray):
        return True  # packed ones
    return values.dtype.kind == "i" and bool(values.min() >= -1 and values.max() <= 1)


@kernel_part
def _unpack(packed: NDArray[np.int32], digits: NDArray[np.int32]) -> None:
    n_words, mask = len(packed), np.int32(_MASK)
    for part in range(4):
        some, shift = digits[part * n_words : (part + 1) * n_words], np.int32(2 * part)
        for k in range(n_words):
            some[k] = (packed[k] >> shift) & mask


@kernel_part
def _unload(
    tile: NDArray[np.int32],
    totals: NDArray[np.int32],
    out: NDArray[Any],
    first_spin: int,
    first_run: int,
) -> None:
    """Write sums to `out`, over which the tile may stick out."""
    for i in range(min(len(tile), len(out) - first_spin)):
        row, some = out[first_spin + i], tile[i]
        for r in range(min(tile.shape[1], out.shape[1] - first_run)):
            row[first_run + r] = np.int32(some[r] - totals[first_run + r])


@njit(cache=True, nogil=True)
def multiply_ternary_levels(
    couplings: TernaryLevels, codes: PackedCodes, first: int, out: NDArray[Any]
) -> None:
    """Write rows of the product with packed codes, from row `first` on, to `out` (rows, runs).

    `first` is a multiple of 48, and `out` of a dtype that holds results exactly.
    """
    _multiply_words(couplings.words, couplings.n_spins, codes, first, out)


@kernel_part
def _multiply_words(
    words: NDArray[np.int32], n_spins: int, codes: PackedCodes, first: int, out: NDArray[Any]
) -> None:
    # a function of its own: numba tells layouts apart by an argument's dimensions only
    height = AMX_ROWS if words.ndim == 3 else VNNI_ROWS
    n_words = AMX_ROWS if words.ndim == 3 else 1  # that the rows of a tile come in
    width = -(-n_spins // (4 * n_words)) * n_words
    digits = aligned_words(4, words.shape[-1]).reshape(-1)
    tile = aligned_words(height, _WIDTH)
    if words.ndim == 3:
        tiles_on()
    for start in range(0, len(out), height):
        number = (first + start) // height
        if words.ndim == 3:
            _unpack(words[number, 0], digits)
        else:
            _unpack(words[number], digits)
        for first_run in range(0, out.shape[1], _WIDTH):
            n_vectors = min((codes.words.shape[1] - first_run) // LANES, TILE_VECTORS)
            if words.ndim == 3:
                of_tile = digits[: height * width].reshape(1, width // AMX_ROWS, AMX_ROWS, AMX_ROWS)
                multiply_tiles(of_tile, 0, codes.words, first_run, n_vectors, tile)
            else:
                of_rows = digits[: height * width].reshape(height, width)
                multiply_tile(of_rows, 0, codes.words, first_run, n_vectors, tile)
            _unload(tile, codes.totals, out, start, first_run)
    if words.ndim == 3:
        tiles_off()


@njit(cache=True, nogil=True)
def _multiply(couplings: TernaryLevels, codes: NDArray[Any], out: NDArray[Any]) -> bool:
    packed = code_workspace(len(codes), codes.shape[1])
    if not pack_words(codes, packed):
        return False
    multiply_ternary_levels(couplings, packed, 0, out)
    return True
