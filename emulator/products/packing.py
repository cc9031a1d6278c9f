"""Arrays laid out for products: codes of a byte, four spins a word, and cache lines.

A vector of 512 bits is a cache line: one that straddles two is read twice. Products of sparse
couplings take half the time with aligned amplitudes (64 runs, AVX-512).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from emulator.kernel import inlined, kernel, kernel_part
from emulator.products.llvm import LANES

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = [
    "BLOCK_ROWS",
    "LARGEST_CODE",
    "LINE",
    "PackedCodes",
    "aligned_words",
    "aligned_zeros",
    "code_workspace",
    "pack_bytes",
    "pack_sign_words",
    "pack_words",
    "padded_runs",
    "read_spins",
]

LINE = 64  # bytes
LARGEST_CODE = 127.0
# Rows of a product that stay in the fastest cache until they are used: 24 KB for 64 runs, and
# whole tiles of 6 and of 16 rows.
BLOCK_ROWS = 96

_WORD = 4  # bytes
_TILE = 16  # words: products of tiles read whole ones


def padded_runs(n_runs: int) -> int:
    """Return the runs of the arrays that kernels take: `n_runs` rounded up to a multiple of 16."""
    return -(-n_runs // LANES) * LANES


def aligned_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return zeros whose first item starts a cache line."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    spare = np.zeros(size + LINE, np.uint8)
    first = -spare.ctypes.data % LINE
    return spare[first : first + size].view(kind).reshape(shape)


class PackedCodes(NamedTuple):
    """Codes in words, and each run's sum; the padding of both is zero.

    Attributes
    ----------
    words : int32 array, shape (spins / 4, runs)
        Spins padded to 64, runs to 16; spin j is byte ``j % 4`` of word ``j // 4``.
    totals : int32 array, shape (runs,)
    """

    words: NDArray[np.int32]
    totals: NDArray[np.int32]


@kernel_part
def aligned_words(height: int, width: int) -> NDArray[np.int32]:
    """Return zeros (height, width) from the start of a cache line on."""
    spare = np.zeros(height * width + LINE // _WORD, np.int32)
    first = (-spare.ctypes.data % LINE) // _WORD
    return spare[first : first + height * width].reshape(height, width)


@njit(cache=True, nogil=True)
def code_workspace(n_spins: int, n_runs: int) -> PackedCodes:
    """Return zeros for the packed codes of `n_runs` runs."""
    n_padded = -(-n_runs // LANES) * LANES
    height = -(-n_spins // (_WORD * _TILE)) * _TILE
    return PackedCodes(aligned_words(height, n_padded), np.zeros(n_padded, np.int32))


@inlined
def _word(a: Any, b: Any, c: Any, d: Any) -> Any:
    low = (a & np.int32(255)) | ((b & np.int32(255)) << np.int32(8))
    return np.int32(low | ((c & np.int32(255)) << np.int32(16)) | (d << np.int32(24)))


@kernel
def pack_words(codes: NDArray[Any], packed: PackedCodes) -> bool:
    """Pack `codes` (n, runs) into words; return whether all were integers of a signed byte."""
    n_runs, fits = codes.shape[1], True
    packed.totals[:] = 0
    four = np.zeros((_WORD, n_runs), codes.dtype)
    for first in range(0, len(codes), _WORD):
        n_left = min(len(codes) - first, _WORD)
        rows = codes[first : first + _WORD]
        if n_left < _WORD:
            for k in range(n_left):  # a slice takes 4 s to compile, for its error message
                for r in range(n_runs):
                    four[k, r] = rows[k, r]
            rows = four
        word = packed.words[first // _WORD]
        one, two, three, last = rows[0], rows[1], rows[2], rows[3]
        for r in range(n_runs):
            a, b, c, d = np.int32(one[r]), np.int32(two[r]), np.int32(three[r]), np.int32(last[r])
            fits &= (one.dtype.type(a) == one[r]) & (one.dtype.type(b) == two[r])
            fits &= (one.dtype.type(c) == three[r]) & (one.dtype.type(d) == last[r])
            fits &= (max(a, b, c, d) <= 127) & (min(a, b, c, d) >= -128)
            packed.totals[r] += a + b + c + d
            word[r] = _word(a, b, c, d)
    return fits


@inlined
def _sign(x: Any) -> Any:
    return np.int32(-1) if x < 0 else np.int32(1)


@kernel
def pack_sign_words(x: NDArray[Any], packed: PackedCodes) -> None:
    """Pack the signs of `x` (n, runs) into words; an exact zero counts as +1."""
    n_runs, n_whole = x.shape[1], len(x) // _WORD
    packed.totals[:] = 0
    for k in range(n_whole):
        word = packed.words[k]
        one, two, three, last = x[4 * k], x[4 * k + 1], x[4 * k + 2], x[4 * k + 3]
        for r in range(n_runs):
            a, b, c, d = _sign(one[r]), _sign(two[r]), _sign(three[r]), _sign(last[r])
            packed.totals[r] += a + b + c + d
            word[r] = _word(a, b, c, d)
    if n_whole < len(x) / _WORD:
        packed.words[n_whole] = 0
    for j in range(n_whole * _WORD, len(x)):
        word, shift = packed.words[n_whole], np.int32(8 * (j % _WORD))
        for r in range(n_runs):
            sign = _sign(x[j, r])
            packed.totals[r] += sign
            word[r] |= (sign & np.int32(255)) << shift


@kernel
def pack_bytes(
    codes: NDArray[Any], packed: NDArray[np.int8], largest_code: float = LARGEST_CODE
) -> bool:
    """Copy `codes` (n, runs); return whether all were integers up to `largest_code`."""
    fits, top = True, np.int32(largest_code)
    for i in range(len(codes)):
        row, place = codes[i], packed[i]
        for r in range(len(row)):
            code = np.int32(row[r])
            fits &= (row.dtype.type(code) == row[r]) & (code <= top) & (code >= -top)
            place[r] = np.int8(code)
    return fits


@kernel
def read_spins(x: NDArray[Any], spins: NDArray[Any]) -> None:
    """Write the signs of `x` (n, runs) to `spins`, perhaps wider; an exact zero counts as +1."""
    for i in range(len(x)):
        row, place = x[i], spins[i]
        for r in range(len(row)):
            place[r] = -1 if row[r] < 0 else 1
