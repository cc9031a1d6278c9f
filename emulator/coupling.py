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
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numba import njit

from emulator.avx512 import prefer_wide_vectors
from emulator.float_product import HAS_TILES, dense_product
from emulator.integer_product import LARGEST_CODE, DenseRows, PackedLevels, multiply_words
from emulator.memory import aligned_zeros
from emulator.packed_codes import pack_codes, pack_signs, room_for_codes
from emulator.sparse_product import (
    SparseLevels,
    SparseRows,
    add_bytes,
    pack_bytes,
    sparse_product,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import DTypeLike, NDArray

__all__ = [
    "BLOCK_ROWS",
    "CouplingMatrix",
    "Form",
    "multiply_reals",
    "multiply_taken",
    "padded_runs",
    "read_spins",
    "take_codes",
    "take_signs",
]

# The row norm that this share of rows falls short of sets the natural coupling strength.
TYPICAL_QUANTILE = 0.1
# ... unless it is this much weaker than the strongest row, which keeps all within float32.
LEAST_TYPICAL_NORM = 1e-4
CHUNK_ROWS = 1024
LANES = 16
# Rows of a product that stay in the fastest cache until they are used: 24 KB for 64 runs, and
# whole tiles of 6 and of 16 rows.
BLOCK_ROWS = 96


class Form(NamedTuple):
    """Couplings as kernels take them; all fields but one are None, which numba compiles for.

    Attributes
    ----------
    plain : array (n, n)
    dense : DenseRows
    sparse : SparseRows
    numbers : tuple of array
        Row starts, columns and values.
    """

    plain: NDArray[Any] | None
    dense: DenseRows | None
    sparse: SparseRows | None
    numbers: tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None


def padded_runs(n_runs: int) -> int:
    """Return the runs of the arrays that kernels take: a multiple of 16."""
    return -(-n_runs // LANES) * LANES


@njit(cache=True, nogil=True)
def read_spins(x: NDArray[Any], spins: NDArray[Any]) -> None:
    """Write the signs of `x` (n, runs) to `spins`, perhaps wider; an exact zero counts as +1."""
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
    for i in range(len(x)):
        row, place = x[i], spins[i]
        for r in range(len(row)):
            place[r] = -1 if row[r] < 0 else 1


@njit(cache=True, nogil=True)
def _multiply_reals(plain: Any, numbers: Any, codes: NDArray[Any], out: NDArray[Any]) -> None:
    if plain is not None:
        dense_product(plain, codes, out)
    if numbers is not None:
        sparse_product(numbers[0], numbers[1], numbers[2], codes, out)


@njit(cache=True, nogil=True)
def multiply_reals(form: Form, codes: NDArray[Any], out: NDArray[Any]) -> None:
    """Write the product of `plain` or `numbers` with `codes` (n, runs), runs in sixteens."""
    _multiply_reals(form.plain, form.numbers, codes, out)


@njit(cache=True, nogil=True)
def _take_signs(  # noqa: PLR0917  a kernel
    dense: Any, sparse: Any, plain: Any, numbers: Any, x: NDArray[Any], room: Any
) -> None:
    # numba leaves out what tests an argument that is always None, and only that
    if dense is not None:
        pack_signs(x, room)
    if sparse is not None:
        read_spins(x, room)
    if plain is not None:
        read_spins(x, room)
    if numbers is not None:
        read_spins(x, room)


@njit(cache=True, nogil=True)
def _multiply_rows(  # noqa: PLR0917  a kernel
    dense: Any, sparse: Any, plain: Any, numbers: Any, room: Any, first: int, out: NDArray[Any]
) -> None:
    end = first + len(out)
    if dense is not None:
        multiply_words(dense, room, first, out)
    if sparse is not None:
        add_bytes(sparse, room, first, out)
    if plain is not None:
        dense_product(plain[first:end], room, out)
    if numbers is not None:
        sparse_product(numbers[0][first : end + 1], numbers[1], numbers[2], room, out)


@njit(cache=True, nogil=True)
def take_signs(form: Form, x: NDArray[Any], room: Any) -> None:
    """Put the signs of `x` (n, runs) into what `CouplingMatrix.room` returns."""
    _take_signs(form.dense, form.sparse, form.plain, form.numbers, x, room)


@njit(cache=True, nogil=True)
def _take_codes(  # noqa: PLR0917  a kernel
    dense: Any, sparse: Any, plain: Any, numbers: Any, codes: NDArray[Any], room: Any
) -> None:
    if dense is not None:
        pack_codes(codes, room)
    if sparse is not None:
        pack_bytes(codes, LARGEST_CODE, room)
    if plain is not None:
        room[...] = codes
    if numbers is not None:
        room[...] = codes


@njit(cache=True, nogil=True)
def take_codes(form: Form, codes: NDArray[Any], room: Any) -> None:
    """Put `codes` (n, runs), where `form` is in bytes integers of a byte, into `room`."""
    _take_codes(form.dense, form.sparse, form.plain, form.numbers, codes, room)


@njit(cache=True, nogil=True)
def multiply_taken(form: Form, room: Any, first: int, out: NDArray[Any]) -> None:
    """Write rows of the product with what is in `room`, from row `first` on, to `out`.

    Runs come in sixteens, and `first` is a multiple of `BLOCK_ROWS`.
    """
    _multiply_rows(form.dense, form.sparse, form.plain, form.numbers, room, first, out)


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
