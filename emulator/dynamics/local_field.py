r"""What a spin feels: couplings times amplitudes, and a field times a mean amplitude.

.. math:: f_i = \sum_j J_{ij} x_j + h_i\,\overline{|x|}

A field acts as one more spin would whose amplitude is the mean magnitude of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from emulator.products.avx512 import prefer_wide_vectors
from emulator.products.operand import multiply_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.products.coupling import CouplingMatrix
    from emulator.products.operand import CouplingOperand

__all__ = ["FieldTerm", "add_field_term", "field_term", "local_fields", "mean_magnitude"]


class FieldTerm(NamedTuple):
    """A field (n,), the amplitude it is multiplied with (runs,), and whether there is any."""

    field: NDArray[Any]
    amplitude: NDArray[Any]
    is_there: bool


def field_term(coupling: CouplingMatrix, n_runs: int, dtype: np.dtype[Any]) -> FieldTerm:
    """Return the field beside couplings, times 1 as yet."""
    field = coupling.field.astype(dtype)
    return FieldTerm(field, np.ones(n_runs, dtype), bool(field.any()))


@njit(cache=True, nogil=True)
def mean_magnitude(x: NDArray[Any], out: NDArray[Any]) -> None:
    """Write the mean of the magnitudes of `x` (n, runs) to `out` (runs,)."""
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
    out[:] = 0
    for i in range(len(x)):
        row = x[i]
        for r in range(len(out)):
            out[r] += abs(row[r])
    out /= out.dtype.type(len(x))


@njit(cache=True, nogil=True)
def add_field_term(field_term: FieldTerm, first: int, product: NDArray[Any]) -> None:
    """Add the field to rows of a product, those of the spins from `first` on."""
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
    for i in range(len(product)):
        row, h = product[i], field_term.field[first + i]
        for r in range(len(row)):
            row[r] += h * field_term.amplitude[r]


@njit(cache=True, nogil=True)
def local_fields(
    operand: CouplingOperand, field_term: FieldTerm, x: NDArray[Any], out: NDArray[Any]
) -> None:
    """Write the local fields of amplitudes `x` (n, runs) to `out`."""
    multiply_rows(operand, x, 0, out)
    if field_term.is_there:
        mean_magnitude(x, field_term.amplitude)
        add_field_term(field_term, 0, out)
