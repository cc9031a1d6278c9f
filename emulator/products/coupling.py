r"""The product of couplings and codes: what the FPGA computes between measurement and injection.

.. math:: f_{ir} = \sum_j J_{ij}\,c_{jr}

Integer levels times integer codes are summed exactly: in bytes where the processor and the bounds
allow (`integer_product`, `sparse_product`); else in float32 where every partial sum stays below
2^24 (550 spins of 8-bit couplings and 8-bit codes do: 550 * 127 * 127 < 2^24); else in float64, up
to 2^53. Exact sums depend neither on their order nor on how runs are grouped, nor on which of
these is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from emulator.products.dense_float import HAS_TILES
from emulator.products.dense_int import PackedLevels
from emulator.products.operand import LANES, Form, multiply_reals, padded_runs
from emulator.products.packing import aligned_zeros, room_for_codes
from emulator.products.sparse import SparseLevels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import DTypeLike, NDArray

__all__ = ["CouplingMatrix"]

# The row norm that this share of rows falls short of sets the natural coupling strength.
TYPICAL_QUANTILE = 0.1
# ... unless it is this much weaker than the strongest row, which keeps all within float32.
LEAST_TYPICAL_NORM = 1e-4
CHUNK_ROWS = 1024


@dataclass(frozen=True, eq=False)
class CouplingMatrix:
    r"""Couplings in the form the product wants, and the field beside them.

    Make one with `of`. The natural unit of couplings is the norm
    :math:`|J| = (\sum_j J_{ij}^2 + h_i^2)^{1/2}` of a weakly coupled row: nine in ten have more.
    A machine that is to solve models of spins with very different couplings, as constraints make
    them, must serve the weak ones; the root mean square would follow the strong.

    Attributes
    ----------
    plain : array (n, n), or None
        Dense couplings as numbers.
    packed : PackedLevels, SparseLevels or None
        Couplings as bytes, for integer codes. Dense ones are then stored in no other form.
    sparse : tuple of array, or None
        Row starts, columns and values, as numbers.
    field : float64 array, shape (n,)
        In the same unit as the values.
    unit : float
        One of the values in natural units: 1 / \|J\| for integers, 1 for reals, which are scaled.
    dtype : numpy dtype
        Of the values, the codes and the product: float32 or float64.
    is_exact : bool
        Whether no sum is ever rounded.
    """

    plain: NDArray[Any] | None
    packed: PackedLevels | SparseLevels | None
    sparse: tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None
    field: NDArray[np.float64]
    unit: float
    dtype: np.dtype[Any]
    is_exact: bool

    @classmethod
    def of(
        cls, J: Any, h: NDArray[Any], *, largest_code: float | None, dtype: DTypeLike
    ) -> CouplingMatrix:
        """Prepare couplings `J` (n, n), dense or CSR, and a field `h` (n,).

        Parameters
        ----------
        largest_code : float or None
            Bound of the integer codes to come; None where they are real.
        dtype : dtype
            Of the product where it cannot be exact.
        """
        matrix = sp.csr_array(J) if sp.issparse(J) else np.asarray(J)
        field = np.array(h, dtype=np.float64)
        peak, relative_norm, largest_row_sum = _row_statistics(matrix, field)
        bound = np.inf if largest_code is None else largest_code * largest_row_sum
        is_exact = bound < 2.0**53 and _are_integers(matrix)
        if is_exact:
            dtype = np.dtype(np.float32 if bound < 2.0**24 else np.float64)
            unit = 1.0 / (peak * relative_norm)
            forms = _integer_forms(matrix, dtype, largest_code)
            return cls(*forms, field, unit, dtype, is_exact)
        plain, sparse = _parts(matrix, np.dtype(dtype), peak, relative_norm)
        unit_field = field / peak / relative_norm
        return cls(plain, None, sparse, unit_field, 1.0, np.dtype(dtype), is_exact)

    @property
    def dense(self) -> NDArray[Any] | None:
        """Couplings (n, n), of `dtype`; None where they are sparse, a new array if packed."""
        return (
            self.packed.unpack(self.dtype) if isinstance(self.packed, PackedLevels) else self.plain
        )

    @property
    def code_dtype(self) -> np.dtype[Any]:
        """The dtype codes should have: that of the product, or float32 if that becomes bytes."""
        return self.dtype if self.packed is None else np.dtype(np.float32)

    @property
    def depends_on_grouping(self) -> bool:
        """Whether the number of runs in a batch can change the last bits of a product."""
        return self.sparse is None and not self.is_exact and not HAS_TILES

    @cached_property
    def form(self) -> Form:
        """The couplings for kernels, as bytes where there are some."""
        if isinstance(self.packed, PackedLevels):
            return Form(None, self.packed.rows, None, None)
        if isinstance(self.packed, SparseLevels):
            return Form(None, None, self.packed.rows, None)
        return Form(self.plain, None, None, self.sparse)

    def numbers(self, dtype: DTypeLike) -> Form:
        """Return the couplings for kernels as numbers: copies unless they are so already."""
        if self.sparse is None:
            return Form(np.asarray(self.dense, dtype), None, None, None)
        starts, columns, values = self.sparse
        return Form(None, None, None, (starts, columns, values.astype(dtype, copy=False)))

    def room(self, n_runs: int) -> Any:
        """Return what `multiply_taken` needs for `n_runs` runs beside the product."""
        n_spins, n_padded = len(self.field), padded_runs(n_runs)
        if isinstance(self.packed, PackedLevels):
            return room_for_codes(n_spins, n_padded)
        dtype = self.dtype if self.packed is None else np.int8
        return aligned_zeros((n_spins, n_padded), dtype)

    def multiply(self, codes: NDArray[Any], out: NDArray[Any]) -> None:
        """Write the product with `codes` (n, runs) to `out` (n, runs).

        Codes are of `code_dtype`, the product is of `dtype`. Where integers were announced, real
        numbers are multiplied as well, but slowly: couplings may have to be unpacked first. Both
        arrays are best aligned (`aligned_zeros`), of runs in sixteens.
        """
        n_runs = codes.shape[1]
        if n_runs % LANES or not (codes.flags.c_contiguous and out.flags.c_contiguous):
            padded = aligned_zeros((len(codes), padded_runs(n_runs)), codes.dtype)
            padded[:, :n_runs] = codes
            product = aligned_zeros(padded.shape, out.dtype)
            self.multiply(padded, product)
            out[...] = product[:, :n_runs]
        elif self.packed is None or not self.packed.multiply(codes, out):
            multiply_reals(self.numbers(out.dtype), codes.astype(out.dtype, copy=False), out)


def _values(matrix: Any) -> NDArray[Any]:
    return matrix if isinstance(matrix, np.ndarray) else matrix.data


def _chunks(length: int) -> Iterator[slice]:
    """Slices of rows, so that no copy of all of J is made on the way."""
    return (slice(first, first + CHUNK_ROWS) for first in range(0, length, CHUNK_ROWS))


def _are_integers(matrix: Any) -> bool:
    values = _values(matrix)
    if values.dtype.kind == "i":
        return True
    return all((values[some] == np.rint(values[some])).all() for some in _chunks(len(values)))


def _parts(matrix: Any, dtype: np.dtype[Any], *divisors: float) -> tuple[Any, Any]:
    values = np.empty(_values(matrix).shape, dtype)
    for some in _chunks(len(values)):
        chunk = _values(matrix)[some].astype(np.float64)
        for divisor in divisors:
            chunk /= divisor
        values[some] = chunk
    if isinstance(matrix, np.ndarray):
        return values, None
    # unsigned indices: numba then omits the test for negative ones
    starts, columns = (index.astype(np.uint32) for index in (matrix.indptr, matrix.indices))
    return None, (starts, columns, values)


def _integer_forms(
    matrix: Any, dtype: np.dtype[Any], largest_code: float | None
) -> tuple[Any, PackedLevels | SparseLevels | None, Any]:
    if not isinstance(matrix, np.ndarray):
        _, sparse = _parts(matrix, dtype)
        return None, SparseLevels.of(matrix, largest_code), sparse
    if PackedLevels.serves(matrix, largest_code):
        return None, PackedLevels.of(matrix), None
    plain, _ = _parts(matrix, dtype)
    return plain, None, None


def _row_statistics(matrix: Any, field: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the largest magnitude, the typical row norm in units of it, the largest row sum."""
    values = _values(matrix)
    ends = (f(v, initial=0.0) for f in (np.max, np.min) for v in (values, field))
    peak = max(abs(float(end)) for end in ends) or 1.0
    squares, largest_sum = (field / peak) ** 2, 0.0
    for some in _chunks(len(field)):
        scaled = abs(matrix[some].astype(np.float64)) / peak  # squares unscaled could overflow
        squares[some] += np.asarray((scaled * scaled).sum(axis=1)).ravel()
        largest_sum = max(largest_sum, float(scaled.sum(axis=1).max()))
    norms = np.sqrt(squares[squares > 0])
    if not norms.size:
        return peak, 1.0, 0.0
    typical = max(np.quantile(norms, TYPICAL_QUANTILE), LEAST_TYPICAL_NORM * norms.max())
    return peak, float(typical), largest_sum * peak
