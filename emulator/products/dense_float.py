"""Dense couplings times real numbers: tiles of 6 rows in registers, or BLAS.

With vectors of 512 bits the tiles take 0.7 of the time of OpenBLAS for 64 runs (one core of 2023:
190 GFLOP/s from 100 to 2000 spins), and a run's product does not depend on how many runs there
are, which BLAS does not promise. Without them BLAS is faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from emulator.products.llvm import LANES, processor_has
from emulator.products.packing import aligned_zeros, padded_runs
from emulator.products.vectors import ROWS, WIDTHS, add_dense_row, add_dense_rows, widest

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["HAS_TILES", "DenseFloats", "dense_product", "multiply_dense_floats"]

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


@njit(cache=True, nogil=True)
def _tile_rows(
    J: NDArray[Any], codes: NDArray[Any], first_run: int, width: int, out: NDArray[Any]
) -> None:
    if len(J) < ROWS:
        for i in range(len(J)):
            for first in range(first_run, first_run + width, LANES):
                add_dense_row(J, i, codes, first, out)
        return
    for first in range(0, len(J), ROWS):
        i = min(first, len(J) - ROWS)  # the last tile computes some rows again
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
