r"""The product of couplings and codes: what the FPGA computes between measurement and injection.

.. math:: f_{ir} = \sum_j J_{ij}\,c_{jr}

Integer levels times integer codes are summed exactly: in bytes where the processor and the bounds
allow (`integer_product`, `sparse_product`); else in float32 where every partial sum stays below
2^24 (550 spins of 8-bit couplings and 8-bit codes do: 550 * 127 * 127 < 2^24); else in float64, up
to 2^53. Exact sums depend neither on their order nor on how runs are grouped, nor on which of
these is taken.

A kernel packs codes or signs into a workspace and multiplies a block of rows at a time, without
knowing which product it calls: numba compiles it for the type of its operand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import scipy  # not scipy.sparse: it takes 0.4 s, and dense models do not need it
from numba import njit
from numba.extending import overload

from cim_hal import Triangle
from cim_hal.model.conversion import is_sparse
from emulator.products.dense import (
    DenseFloats,
    DenseLevels,
    multiply_dense_floats,
    multiply_dense_levels,
    rows_of,
    shape_of,
)
from emulator.products.llvm import LANES
from emulator.products.packing import (
    BLOCK_ROWS,
    LARGEST_CODE,
    aligned_zeros,
    pack_bytes,
    pack_sign_words,
    pack_words,
    padded_runs,
    read_spins,
)
from emulator.products.sparse import (
    SparseFloats,
    SparseLevels,
    multiply_sparse_floats,
    multiply_sparse_levels,
)
from emulator.products.ternary import TernaryLevels, multiply_ternary_levels

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["CouplingMatrix", "CouplingOperand", "multiply_rows", "pack_codes", "pack_signs"]


class CouplingOperand(Protocol):
    """Couplings in the layout of one product; a named tuple, so that kernels take it as it is."""

    @property
    def code_dtype(self) -> np.dtype[Any]:
        """Dtype that codes should have before they are packed."""
        ...

    @property
    def depends_on_grouping(self) -> bool:
        """Whether the number of runs in a batch can change the last bits of a product."""
        ...

    def workspace(self, n_runs: int) -> Any:
        """Return what `pack_codes` and `pack_signs` write to, for `n_runs` runs."""
        ...

    def multiply(self, codes: NDArray[Any], out: NDArray[Any]) -> bool:
        """Write the product with `codes` (n, runs), runs in sixteens, to `out` (n, runs).

        Return False, and leave `out` as it was, where codes are out of this product's range.
        """
        ...


class _Kernels(NamedTuple):
    pack_codes: Any
    pack_signs: Any
    multiply_rows: Any


@njit(cache=True, nogil=True)
def _copy(codes: NDArray[Any], workspace: NDArray[Any]) -> None:
    # not `workspace[...] = codes`: its error message alone takes 4 s to compile
    for i in range(len(codes)):
        for r in range(codes.shape[1]):
            workspace[i, r] = codes[i, r]


_KERNELS: dict[type[Any], _Kernels] = {
    DenseLevels: _Kernels(pack_words, pack_sign_words, multiply_dense_levels),
    TernaryLevels: _Kernels(pack_words, pack_sign_words, multiply_ternary_levels),
    SparseLevels: _Kernels(pack_bytes, read_spins, multiply_sparse_levels),
    DenseFloats: _Kernels(_copy, read_spins, multiply_dense_floats),
    SparseFloats: _Kernels(_copy, read_spins, multiply_sparse_floats),
}


def pack_codes(operand: CouplingOperand, codes: NDArray[Any], workspace: Any) -> None:
    """Write `codes` (n, runs) to `workspace`; for levels, codes must be integers of a byte."""
    _KERNELS[type(operand)].pack_codes(codes, workspace)


def pack_signs(operand: CouplingOperand, x: NDArray[Any], workspace: Any) -> None:
    """Write the signs of `x` (n, runs) to `workspace`; an exact zero counts as +1."""
    _KERNELS[type(operand)].pack_signs(x, workspace)


def multiply_rows(operand: CouplingOperand, workspace: Any, first: int, out: NDArray[Any]) -> None:
    """Write rows of the product with packed codes, from row `first` on, to `out` (rows, runs).

    Runs come in sixteens, and `first` is a multiple of `BLOCK_ROWS`. Where the operand holds
    floats, codes (n, runs) of the same dtype may be passed in place of a workspace.
    """
    _KERNELS[type(operand)].multiply_rows(operand, workspace, first, out)


@overload(pack_codes, inline="always")
def _(operand, codes, workspace) -> Callable[..., Any]:  # noqa: ARG001
    pack = _KERNELS[operand.instance_class].pack_codes
    return lambda operand, codes, workspace: pack(codes, workspace)  # noqa: ARG005


@overload(pack_signs, inline="always")
def _(operand, x, workspace) -> Callable[..., Any]:  # noqa: ARG001
    pack = _KERNELS[operand.instance_class].pack_signs
    return lambda operand, x, workspace: pack(x, workspace)  # noqa: ARG005


@overload(multiply_rows, inline="always")
def _(operand, workspace, first, out) -> Callable[..., Any]:  # noqa: ARG001
    multiply = _KERNELS[operand.instance_class].multiply_rows
    return lambda operand, workspace, first, out: multiply(operand, workspace, first, out)  # noqa: PLW0108


# The row norm that this share of rows falls short of sets the natural coupling strength.
TYPICAL_QUANTILE = 0.1
# ... unless it is this much weaker than the strongest row, which keeps all within float32.
LEAST_TYPICAL_NORM = 1e-4
CHUNK_ROWS = 10 * BLOCK_ROWS
LARGE = 2**12  # spins; more are never unpacked to a whole matrix for what needs some rows at a time


@dataclass(frozen=True, eq=False)
class CouplingMatrix:
    r"""Couplings in the form the product wants, and the field beside them.

    Make one with `of`. The natural unit of couplings is the norm
    :math:`|J| = (\sum_j J_{ij}^2)^{1/2}` of a weakly coupled row: nine in ten have more.
    A machine that is to solve models of spins with very different couplings, as constraints make
    them, must serve the weak ones; the root mean square would follow the strong. A field, or the
    spin that stands for it, does not count unless there is nothing else: it would weaken the
    couplings between spins that it holds.

    Attributes
    ----------
    operand : CouplingOperand
        What codes are multiplied with.
    stored : DenseFloats, SparseFloats, DenseLevels or TernaryLevels
        The same as numbers of `dtype`; dense levels are stored only once, as levels.
    field : float64 array, shape (n,)
        In the same unit as the values.
    unit : float
        One of the values in natural units: 1 / \|J\| for integers, 1 for reals, which are scaled.
    dtype : numpy dtype
        Of the product: float32 or float64.
    is_exact : bool
        Whether no sum is ever rounded.
    step : float
        One of the values in units of the couplings given.
    gain_factor : float
        By which natural units are stronger than norms of a row, `unit` included.
    """

    operand: CouplingOperand
    stored: Stored
    field: NDArray[np.float64]
    unit: float
    dtype: np.dtype[Any]
    is_exact: bool
    step: float = 1.0
    gain_factor: float = 1.0

    @classmethod
    def of(
        cls,
        J: Any,
        h: NDArray[Any],
        *,
        largest_code: float | None,
        dtype: DTypeLike,
        field_spin: bool = False,
    ) -> CouplingMatrix:
        """Prepare couplings `J` (n, n), an array, a `Triangle` or CSR, and a field `h` (n,).

        Parameters
        ----------
        largest_code : float or None
            Bound of the integer codes to come; None where they are real.
        dtype : dtype
            Of the product where it cannot be exact.
        field_spin : bool
            Whether the last spin stands for the field.
        """
        matrix = _stored(J)
        field = np.array(h, dtype=np.float64)
        n_coupled = len(field) - field_spin
        peak, relative_norm, largest_row_sum = _row_statistics(matrix, field, n_coupled)
        bound = np.inf if largest_code is None else largest_code * largest_row_sum
        if bound < 2.0**53 and _are_integers(matrix):
            dtype = np.dtype(np.float32 if bound < 2.0**24 else np.float64)
            operands = _exact_operands(matrix, dtype, largest_code)
            return cls(*operands, field, 1.0 / (peak * relative_norm), dtype, is_exact=True)
        floats = _floats(matrix, np.dtype(dtype), peak, relative_norm)
        unit_field = field / peak / relative_norm
        step = peak * relative_norm
        return cls(floats, floats, unit_field, 1.0, np.dtype(dtype), is_exact=False, step=step)

    @cached_property
    def norm(self) -> float:
        r"""Norm :math:`(\sum_{ij} J_{ij}^2)^{1/2}` in units of the stored values."""
        if self._is_large:
            squares = (np.square(rows, dtype=np.float64).sum() for rows in self._level_rows())
            return float(np.sqrt(sum(squares)))
        return float(np.linalg.norm(np.ravel(self.as_floats(self.dtype).values)))

    @property
    def _is_large(self) -> bool:
        """Whether these are levels that would take far more memory as numbers."""
        levels = self.stored
        return isinstance(levels, (DenseLevels, TernaryLevels)) and levels.n_spins > LARGE

    def _level_rows(self) -> Iterator[NDArray[Any]]:
        levels: Any = self.stored
        for some in _chunks(levels.n_spins):
            yield levels.rows(some.start, some.stop, self.dtype)

    def operator(self) -> Callable[[NDArray[Any]], NDArray[Any]]:
        """Return what multiplies a real vector (n,), in units of the stored values."""
        return self._multiply_digits if self._is_large else self.matrix.__matmul__

    def _multiply_digits(self, vector: NDArray[Any]) -> NDArray[Any]:
        """Multiply a vector as three digits of a signed byte, which the product of levels takes."""
        codes = aligned_zeros((len(vector), LANES), self.operand.code_dtype)
        out = aligned_zeros(codes.shape, self.dtype)
        scale = float(np.abs(vector).max()) or 1.0
        rest = vector.astype(np.float64) * (LARGEST_CODE / scale)
        for digit in range(3):
            codes[:, digit] = np.rint(rest)
            rest = (rest - codes[:, digit]) * (2 * LARGEST_CODE)
        self.operand.multiply(codes, out)
        weights = (2 * LARGEST_CODE) ** -np.arange(3.0) * (scale / LARGEST_CODE)
        return (out[:, :3] @ weights).astype(self.dtype)

    @property
    def depends_on_grouping(self) -> bool:
        """Whether the number of runs in a batch can change the last bits of a product."""
        return not self.is_exact and self.operand.depends_on_grouping

    @property
    def matrix(self) -> Any:
        """Couplings (n, n) of `dtype`: an array, or a CSR array where they are sparse."""
        return self.as_floats(self.dtype).matrix()

    def as_floats(self, dtype: DTypeLike, *, copy: bool = False) -> DenseFloats | SparseFloats:
        """Return the couplings as numbers of `dtype`, in new arrays unless they are so already."""
        if isinstance(self.stored, (DenseLevels, TernaryLevels)):
            return DenseFloats(self.stored.unpack(dtype))
        return self.stored.astype(dtype, copy=copy)

    def with_floats(self, floats: DenseFloats | SparseFloats) -> CouplingMatrix:
        """Return other couplings in the same unit, as reals."""
        changes = {"operand": floats, "stored": floats, "dtype": floats.values.dtype}
        return replace(self, **changes, is_exact=False)

    def strengthened(self, factor: float) -> CouplingMatrix:
        """Return the same couplings in units that are stronger by a factor."""
        return replace(self, unit=self.unit * factor, gain_factor=self.gain_factor * factor)

    def multiply(self, codes: NDArray[Any], out: NDArray[Any]) -> None:
        """Write the product with `codes` (n, runs) to `out` (n, runs).

        Codes are of the operand's `code_dtype`, the product is of `dtype`. Where integers were
        announced, real numbers are multiplied as well, but slowly: couplings may have to be
        unpacked first. Both arrays are best aligned (`aligned_zeros`), of runs in sixteens.
        """
        n_runs = codes.shape[1]
        if n_runs % LANES or not (codes.flags.c_contiguous and out.flags.c_contiguous):
            padded = aligned_zeros((len(codes), padded_runs(n_runs)), codes.dtype)
            padded[:, :n_runs] = codes
            product = aligned_zeros(padded.shape, out.dtype)
            self.multiply(padded, product)
            out[...] = product[:, :n_runs]
        elif not self.operand.multiply(codes, out):
            self.as_floats(out.dtype).multiply(codes, out)


Stored: TypeAlias = DenseFloats | SparseFloats | DenseLevels | TernaryLevels


def _exact_operands(
    matrix: Any, dtype: np.dtype[Any], largest_code: float | None
) -> tuple[CouplingOperand, Stored]:
    """Choose the product of integers: in bytes where the processor and the bounds allow."""
    if not is_sparse(matrix):
        levels = TernaryLevels.of(matrix, largest_code) or DenseLevels.of(matrix, largest_code)
        if levels is not None:
            return levels, levels
        floats = _floats(matrix, dtype)
        return floats, floats
    floats = _floats(matrix, dtype)
    return SparseLevels.of(matrix, largest_code) or floats, floats


def _floats(matrix: Any, dtype: np.dtype[Any], *divisors: float) -> DenseFloats | SparseFloats:
    sparse = is_sparse(matrix)
    values = np.empty(matrix.data.shape if sparse else shape_of(matrix), dtype)
    for some in _chunks(len(values)):
        source = matrix.data[some] if sparse else _rows(matrix, some)
        chunk = source.astype(np.float64)
        for divisor in divisors:
            chunk /= divisor
        values[some] = chunk
    return SparseFloats.of(matrix, values) if sparse else DenseFloats(values)


def _stored(J: Any) -> Any:
    """Return an array or a `Triangle`, or a CSR array whose stored values all differ from zero."""
    if isinstance(J, Triangle):
        return J
    if not is_sparse(J):
        return np.asarray(J)
    matrix = scipy.sparse.csr_array(J)
    if not matrix.data.all():  # weak couplings that were quantized to zero
        matrix = matrix.copy()
        matrix.eliminate_zeros()
    return matrix


def _rows(matrix: Any, some: slice) -> Any:
    """Return some rows of an array, a `Triangle` or a CSR array."""
    if is_sparse(matrix):
        return matrix[some]
    n_rows, _ = shape_of(matrix)
    return rows_of(matrix, some.start, min(some.stop, n_rows))


def _values(matrix: Any) -> Any:
    if isinstance(matrix, np.ndarray):
        return matrix
    return matrix.values if isinstance(matrix, Triangle) else matrix.data


def _chunks(length: int) -> Iterator[slice]:
    """Slices of rows, so that no copy of all of J is made on the way."""
    return (slice(first, first + CHUNK_ROWS) for first in range(0, length, CHUNK_ROWS))


def _are_integers(matrix: Any) -> bool:
    values = _values(matrix)
    if values.dtype.kind == "i":
        return True
    return all((values[some] == np.rint(values[some])).all() for some in _chunks(len(values)))


def _row_statistics(
    matrix: Any, field: NDArray[np.float64], n_coupled: int
) -> tuple[float, float, float]:
    """Return the largest magnitude, the typical row norm in units of it, the largest row sum."""
    peak = max(_peak(_values(matrix)), _peak(field)) or 1.0
    if isinstance(matrix, Triangle):
        squares, sums = _triangle_sums(matrix, peak)
    else:
        squares, sums = np.zeros((2, len(field)))
        for some in _chunks(len(field)):
            scaled = abs(_rows(matrix, some).astype(np.float64)) / peak  # squares could overflow
            squares[some] = np.asarray((scaled * scaled).sum(axis=1)).ravel()
            sums[some] = np.asarray(scaled.sum(axis=1)).ravel()
    coupled, everything = squares.copy(), (field / peak) ** 2 + squares
    if n_coupled < len(field):
        last = _rows(matrix, slice(n_coupled, len(field)))
        last = last.toarray() if is_sparse(last) else last
        coupled -= (last[0].astype(np.float64) / peak) ** 2
        coupled[n_coupled:] = 0
    squares = coupled if (coupled > 0).any() else everything
    norms = np.sqrt(squares[squares > 0])
    if not norms.size:
        return peak, 1.0, 0.0
    least = LEAST_TYPICAL_NORM * float(np.sqrt(everything.max()))
    typical = max(float(np.quantile(norms, TYPICAL_QUANTILE)), least)
    return peak, typical, float(sums.max()) * peak


def _peak(values: Any) -> float:
    if isinstance(values, np.ndarray):
        return max(float(np.max(values, initial=0.0)), -float(np.min(values, initial=0.0)))
    return 1.0  # packed ones


def _triangle_sums(triangle: Triangle, peak: float) -> tuple[NDArray[np.float64], ...]:
    """Return the sums of squares and of magnitudes of each row, in units of `peak`."""
    squares, sums = np.zeros((2, triangle.n_spins))
    is_ternary = triangle.dtype.kind == "i" and peak == 1  # each magnitude is its square
    for row, part in enumerate(triangle.rows()):
        scaled = np.abs(part, dtype=np.float64)
        scaled /= peak
        sums[row] += scaled.sum()
        sums[row + 1 :] += scaled
        if is_ternary:
            continue
        scaled *= scaled
        squares[row] += scaled.sum()
        squares[row + 1 :] += scaled
    return sums if is_ternary else squares, sums
