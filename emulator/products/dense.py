r"""Dense couplings: integers times integer codes in bytes, and real numbers.

Bytes are as exact as floating point, and faster.

AVX-512 VNNI adds four products of an unsigned and a signed byte to a 32-bit sum, in 16 lanes; AMX,
where available, does that for 16 rows of couplings at once. Against float32 (BLAS), 64
runs, one core of 2023: 3.9 times as fast at n = 550, 5.1 times at 2000, and with AMX 20 and 17
times. Without VNNI BLAS remains: integer loops that LLVM vectorizes reach a fifth of it.

Codes are signed bytes as they are. Levels become unsigned by an offset, which the sum of the
codes of a run takes back; a level of 16 bits has two digits:

.. math:: J = u - 2^7:\quad & f = \textstyle\sum_j u_j c_j - 2^7 C, \qquad C = \sum_j c_j \\
          J = 2^8 (u - 2^7) + v:\quad & f = 2^8 \big(\textstyle\sum_j u_j c_j - 2^7 C\big)
          + \sum_j v_j c_j

with :math:`0 \le u, v \le 255`. Sums wrap modulo :math:`2^{32}`, so that only results must fit:
they do for up to `MAX_COLUMNS` spins, or half as many where there are two digits.

Real numbers are multiplied in tiles of 6 rows in registers, or by BLAS. With vectors of 512 bits
the tiles take 0.7 of the time of OpenBLAS for 64 runs (one core of 2023: 190 GFLOP/s from 100 to
2000 spins), and a run's product does not depend on how many runs there are, which BLAS does not
promise. Without them BLAS is faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from cim_hal import Triangle
from emulator.kernel import kernel_part
from emulator.products.byte_products import (
    AMX_BYTES,
    AMX_ROWS,
    TILE_VECTORS,
    VNNI_ROWS,
    has_byte_products,
    has_tiles,
    multiply_tile,
    multiply_tiles,
    tiles_off,
    tiles_on,
)
from emulator.products.llvm import LANES, processor_has
from emulator.products.packing import (
    BLOCK_ROWS,
    LARGEST_CODE,
    PackedCodes,
    aligned_words,
    aligned_zeros,
    code_workspace,
    pack_words,
    padded_runs,
)
from emulator.products.vectors import TILE_ROWS, WIDTHS, add_dense_row, add_dense_rows, widest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import DTypeLike, NDArray

__all__ = [
    "HAS_TILES",
    "MAX_COLUMNS",
    "TILE_ROWS",
    "DenseFloats",
    "DenseLevels",
    "dense_product",
    "digits_of",
    "fits_bits",
    "level_chunks",
    "level_words",
    "multiply_dense_floats",
    "multiply_dense_levels",
    "multiply_few",
    "padded_shape",
    "rows_of",
    "shape_of",
]

# Results fit 31 bits: 128 * 128 * MAX_COLUMNS < 2^31; the low digit of two has no sign, and half as
# many columns: 255 * 128 * MAX_COLUMNS / 2 < 2^31.
MAX_COLUMNS = 2**17 - 64

_WORD = 4  # bytes
_WIDTH = TILE_VECTORS * LANES  # runs
# Rows that are prepared at a time, so that no copy of all of J is made: whole tiles of either kind.
_CHUNK_ROWS = 20 * BLOCK_ROWS


def rows_of(J: Any, first: int, stop: int) -> NDArray[Any]:
    """Return rows of a matrix, an array or a `Triangle`."""
    return J.block(first, stop) if isinstance(J, Triangle) else J[first:stop]


def fits_bits(J: Any, bits: int) -> bool:
    """Return whether integers fit, which an array or a `Triangle` holds."""
    values = J.values if isinstance(J, Triangle) else J
    if values.dtype.kind == "i" and 8 * values.dtype.itemsize <= bits:
        return True
    ends = np.min(values, initial=0), np.max(values, initial=0)
    return bool(ends[0] >= -(2 ** (bits - 1)) and ends[1] < 2 ** (bits - 1))


def padded_shape(n_rows: int, n_columns: int) -> tuple[int, ...]:
    """Return the shape of words that hold rows of digits: `DenseLevels` tells the layouts."""
    if has_tiles():
        return -(-n_rows // AMX_ROWS), -(-n_columns // AMX_BYTES), AMX_ROWS, AMX_ROWS
    return -(-n_rows // VNNI_ROWS) * VNNI_ROWS, -(-n_columns // _WORD)


def level_words(digits: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return rows of unsigned digits in words, with padding, in tiles where there are any."""
    shape = padded_shape(*digits.shape)
    height, width = (shape[0] * AMX_ROWS, shape[1] * AMX_ROWS) if len(shape) == 4 else shape
    padded = np.zeros((height, width * _WORD), np.uint8)
    padded[: len(digits), : digits.shape[1]] = digits
    words = padded.view(np.int32)
    if len(shape) < 4:
        return words
    return words.reshape(shape[0], AMX_ROWS, shape[1], AMX_ROWS).transpose(0, 2, 1, 3)


def level_chunks(J: Any) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the first row, and some rows of integers."""
    n_rows, _ = shape_of(J)
    for first in range(0, n_rows, _CHUNK_ROWS):
        yield first, rows_of(J, first, min(first + _CHUNK_ROWS, n_rows))


def shape_of(J: Any) -> tuple[int, int]:
    """Return rows and columns of a matrix, an array or a `Triangle`."""
    return (J.n_spins, J.n_spins) if isinstance(J, Triangle) else J.shape


class DenseLevels(NamedTuple):
    """Integer couplings in unsigned digits of 8 bits; make them with `of`.

    Attributes
    ----------
    words : int32 array
        Digits, four columns a word, with rows and columns of padding: (rows, columns / 4), or for
        AMX tiles of 16 rows of 16 words, (row tiles, column tiles, 16, 16). The digits of row i
        start in row ``n_digits * i``, the high one first.
    n_digits : int
        1 for levels of 8 bits, 2 for levels of 16.
    n_spins : int
    """

    words: NDArray[np.int32]
    n_digits: int
    n_spins: int

    @classmethod
    def of(cls, J: NDArray[Any], largest_code: float | None = LARGEST_CODE) -> DenseLevels | None:
        """Pack integers `J` (n, n) of any dtype, an array or a `Triangle`.

        None where the processor has no products of bytes, or `J` or the codes are out of range.
        """
        if largest_code is None or largest_code > LARGEST_CODE or not has_byte_products():
            return None
        n_digits = 1 if fits_bits(J, 8) else 2
        n_spins, n_columns = shape_of(J)
        if not 0 < n_columns <= MAX_COLUMNS // n_digits or not fits_bits(J, 16):
            return None
        words = aligned_zeros(padded_shape(n_spins * n_digits, n_columns), np.int32)
        for first, levels in level_chunks(J):
            some = level_words(_digits(levels, n_digits))
            row = first * n_digits // (AMX_ROWS if words.ndim == 4 else 1)
            words[row : row + len(some)] = some
        return cls(words, n_digits, n_spins)

    code_dtype = np.dtype(np.float32)
    depends_on_grouping = False

    def workspace(self, n_runs: int) -> PackedCodes:
        """Return arrays for the packed codes of `n_runs` runs."""
        return code_workspace(self.n_spins, n_runs)

    def multiply(self, codes: NDArray[Any], out: NDArray[Any]) -> bool:
        """Write the product, or return False where codes are no integers of a signed byte.

        `out` is float32 or float64, whichever holds all results exactly.
        """
        return _multiply(self, codes, out)

    def rows(self, first: int, stop: int, dtype: DTypeLike) -> NDArray[Any]:
        """Return rows `first`, a multiple of `BLOCK_ROWS`, to `stop` - 1 of J."""
        stop = min(stop, self.n_spins)
        digits = digits_of(self.words, first * self.n_digits, stop * self.n_digits)
        J = digits[:: self.n_digits, : self.n_spins].astype(dtype)
        J -= 128
        if self.n_digits == 2:
            J *= 256
            J += digits[1::2, : self.n_spins]
        return J

    def unpack(self, dtype: DTypeLike) -> NDArray[Any]:
        """Return J (n, n)."""
        return self.rows(0, self.n_spins, dtype)


def digits_of(words: NDArray[np.int32], first: int, stop: int) -> NDArray[np.uint8]:
    """Return rows of digits that `level_words` has packed; `first` is a multiple of 48."""
    if words.ndim == 4:
        tiles = words[first // AMX_ROWS : -(-stop // AMX_ROWS)].transpose(0, 2, 1, 3)
        rows = tiles.reshape(len(tiles) * AMX_ROWS, -1)
    else:
        rows = words[first:stop]
    return np.ascontiguousarray(rows).view(np.uint8)[: stop - first]


def _digits(levels: NDArray[Any], n_digits: int) -> NDArray[np.uint8]:
    if n_digits == 1:
        return levels.astype(np.int8, copy=False).view(np.uint8) ^ np.uint8(128)
    wide = levels.astype(np.int32)
    digits = np.empty((2 * len(levels), levels.shape[1]), np.uint8)
    digits[0::2] = (wide >> 8) + 128
    digits[1::2] = wide & 255
    return digits


@kernel_part
def _unload(
    tile: NDArray[np.int32],
    n_digits: int,
    totals: NDArray[np.int32],
    out: NDArray[Any],
    first_spin: int,
    first_run: int,
) -> None:
    """Put digits together in `out`, over which the tile may stick out."""
    n_runs = min(tile.shape[1], out.shape[1] - first_run)
    offsets = totals[first_run : first_run + n_runs]
    for i in range(min(len(tile) // n_digits, len(out) - first_spin)):
        row = out[first_spin + i, first_run : first_run + n_runs]
        high, low = tile[n_digits * i], tile[n_digits * i + n_digits - 1]
        if n_digits == 1:
            for r in range(n_runs):
                row[r] = np.int32(high[r] - np.int32(offsets[r] << np.int32(7)))
        else:
            for r in range(n_runs):
                digit = np.int32(high[r] - np.int32(offsets[r] << np.int32(7)))
                row[r] = np.float64(digit) * 256.0 + np.float64(low[r])


@njit(cache=True, nogil=True)
def multiply_dense_levels(
    couplings: DenseLevels, codes: PackedCodes, first: int, out: NDArray[Any]
) -> None:
    """Write rows of the product with packed codes, from row `first` on, to `out` (rows, runs).

    `first` is a multiple of 48, and `out` of a dtype that holds results exactly.
    """
    _multiply_words(couplings.words, couplings.n_digits, codes, first, out)


@kernel_part
def _multiply_words(
    words: NDArray[np.int32], n_digits: int, codes: PackedCodes, first_row: int, out: NDArray[Any]
) -> None:
    # a tile passes through 4 KB of memory, where whatever sticks out over `out` stays behind
    height = AMX_ROWS if words.ndim == 4 else VNNI_ROWS
    tile = aligned_words(height, _WIDTH)
    n_runs, spins_per_tile = out.shape[1], height // n_digits
    if words.ndim == 4:
        tiles_on()
    for first_run in range(0, n_runs, _WIDTH):
        n_vectors = min((codes.words.shape[1] - first_run) // LANES, TILE_VECTORS)
        for first in range(0, len(out), spins_per_tile):
            if words.ndim == 4:
                number = (first_row + first) // spins_per_tile
                multiply_tiles(words, number, codes.words, first_run, n_vectors, tile)
            else:
                row = (first_row + first) * n_digits
                multiply_tile(words, row, codes.words, first_run, n_vectors, tile)
            _unload(tile, n_digits, codes.totals, out, first, first_run)
    if words.ndim == 4:
        tiles_off()


@njit(cache=True, nogil=True)
def _multiply(couplings: DenseLevels, codes: NDArray[Any], out: NDArray[Any]) -> bool:
    packed = code_workspace(len(codes), codes.shape[1])
    if not pack_words(codes, packed):
        return False
    multiply_dense_levels(couplings, packed, 0, out)
    return True


HAS_TILES = processor_has("avx512f")

_, _HALF, _ = WIDTHS


@njit(cache=True, nogil=True)
def dense_product(J: NDArray[Any], codes: NDArray[Any], out: NDArray[Any]) -> None:
    """Write the product of `J` (rows, n) and `codes` (n, runs) to `out`; runs come in sixteens."""
    if not HAS_TILES:
        np.dot(J, codes, out)
        return
    n_runs, first_run = codes.shape[1], 0
    while first_run < n_runs:
        width = widest(n_runs - first_run)
        if J.itemsize == 8:
            width = min(width, _HALF)  # 64 float64 do not fit into the registers
        _tile_rows(J, codes, first_run, width, out)
        first_run += width


@kernel_part
def multiply_few(tile: NDArray[Any], codes: NDArray[Any], out: NDArray[Any]) -> None:
    """Write the product of `tile` (TILE_ROWS, n) and `codes` (n or more, runs) to `out`.

    The bits of a run do not depend on the others, which come in sixteens.
    """
    for first_run in range(0, codes.shape[1], LANES):
        add_dense_rows(tile, 0, codes, first_run, LANES, out)


@kernel_part
def _tile_rows(
    J: NDArray[Any], codes: NDArray[Any], first_run: int, width: int, out: NDArray[Any]
) -> None:
    if len(J) < TILE_ROWS:
        for i in range(len(J)):
            for first in range(first_run, first_run + width, LANES):
                add_dense_row(J, i, codes, first, out)
        return
    for first in range(0, len(J), TILE_ROWS):
        i = min(first, len(J) - TILE_ROWS)  # the last tile computes some rows again
        add_dense_rows(J, i, codes, first_run, width, out)


class DenseFloats(NamedTuple):
    """Dense couplings as floating-point numbers.

    Attributes
    ----------
    values : float32 or float64 array, shape (n, n)
    """

    values: NDArray[Any]

    @property
    def code_dtype(self) -> np.dtype[Any]:
        """That of the values."""
        return self.values.dtype

    depends_on_grouping = not HAS_TILES  # BLAS promises nothing about last bits

    def workspace(self, n_runs: int) -> NDArray[Any]:
        """Return an array for the codes of `n_runs` runs."""
        return aligned_zeros((len(self.values), padded_runs(n_runs)), self.values.dtype)

    def multiply(self, codes: NDArray[Any], out: NDArray[Any]) -> bool:
        """Write the product in the dtype of `out`; return True."""
        dense_product(self.astype(out.dtype).values, codes.astype(out.dtype, copy=False), out)
        return True

    def astype(self, dtype: DTypeLike, *, copy: bool = False) -> DenseFloats:
        """Return the couplings as `dtype`, the same array where that is theirs already."""
        return DenseFloats(self.values.astype(dtype, copy=copy))

    def matrix(self) -> NDArray[Any]:
        """Return the couplings (n, n) as an array."""
        return self.values

    def row_squares(self) -> NDArray[np.float64]:
        """Return the sum of squares of each row."""
        return np.square(self.values, dtype=np.float64).sum(axis=1)


@njit(cache=True, nogil=True)
def multiply_dense_floats(
    couplings: DenseFloats, codes: NDArray[Any], first: int, out: NDArray[Any]
) -> None:
    """Write rows of the product with `codes`, from row `first` on, to `out` (rows, runs)."""
    dense_product(couplings.values[first : first + len(out)], codes, out)
