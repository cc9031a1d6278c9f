"""Couplings as kernels take them: one interface to every product, and its compiled functions.

A kernel packs codes or signs into a workspace and multiplies a block of rows at a time, without
knowing which product it calls: numba compiles it for the type of its operand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from numba import njit
from numba.extending import overload

from emulator.products.dense_float import DenseFloats, multiply_dense_floats
from emulator.products.dense_int import DenseLevels, multiply_dense_levels
from emulator.products.packing import pack_bytes, pack_sign_words, pack_words, read_spins
from emulator.products.sparse import (
    SparseFloats,
    SparseLevels,
    multiply_sparse_floats,
    multiply_sparse_levels,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CouplingOperand", "multiply_rows", "pack_codes", "pack_signs"]


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


_KERNELS = {
    DenseLevels: _Kernels(pack_words, pack_sign_words, multiply_dense_levels),
    SparseLevels: _Kernels(pack_bytes, read_spins, multiply_sparse_levels),
    DenseFloats: _Kernels(_copy, read_spins, multiply_dense_floats),
    SparseFloats: _Kernels(_copy, read_spins, multiply_sparse_floats),
}


def _pack_codes(operand: Any, codes: Any, workspace: Any) -> None: ...
def _pack_signs(operand: Any, x: Any, workspace: Any) -> None: ...
def _multiply_rows(operand: Any, workspace: Any, first: Any, out: Any) -> None: ...


@overload(_pack_codes)
def _(operand, codes, workspace) -> Callable[..., Any]:  # noqa: ARG001
    pack = _KERNELS[operand.instance_class].pack_codes
    return lambda operand, codes, workspace: pack(codes, workspace)  # noqa: ARG005


@overload(_pack_signs)
def _(operand, x, workspace) -> Callable[..., Any]:  # noqa: ARG001
    pack = _KERNELS[operand.instance_class].pack_signs
    return lambda operand, x, workspace: pack(x, workspace)  # noqa: ARG005


@overload(_multiply_rows)
def _(operand, workspace, first, out) -> Callable[..., Any]:  # noqa: ARG001
    multiply = _KERNELS[operand.instance_class].multiply_rows
    return lambda operand, workspace, first, out: multiply(operand, workspace, first, out)  # noqa: PLW0108


@njit(cache=True, nogil=True)
def pack_codes(operand: CouplingOperand, codes: NDArray[Any], workspace: Any) -> None:
    """Write `codes` (n, runs) to `workspace`; for levels, codes must be integers of a byte."""
    _pack_codes(operand, codes, workspace)


@njit(cache=True, nogil=True)
def pack_signs(operand: CouplingOperand, x: NDArray[Any], workspace: Any) -> None:
    """Write the signs of `x` (n, runs) to `workspace`; an exact zero counts as +1."""
    _pack_signs(operand, x, workspace)


@njit(cache=True, nogil=True)
def multiply_rows(operand: CouplingOperand, workspace: Any, first: int, out: NDArray[Any]) -> None:
    """Write rows of the product with packed codes, from row `first` on, to `out` (rows, runs).

    Runs come in sixteens, and `first` is a multiple of `BLOCK_ROWS`. Where the operand holds
    floats, codes (n, runs) of the same dtype may be passed in place of a workspace.
    """
    _multiply_rows(operand, workspace, first, out)
