r"""Feedback on a spin: couplings times amplitudes, and a field times a mean amplitude.

.. math:: f_i = \sum_j J_{ij} x_j + h_i\,\overline{|x|}

A field acts as one more spin would whose amplitude is the mean magnitude of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emulator.dynamics.kernel import kernel
from emulator.noise import fill_normals
from emulator.products.operand import multiply_rows
from emulator.products.packing import aligned_zeros

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.dynamics.base import JobInputs
    from emulator.dynamics.energy_tracking import EnergyTracker
    from emulator.products.coupling import CouplingMatrix
    from emulator.products.operand import CouplingOperand

__all__ = [
    "FeedbackConstants",
    "FieldTerm",
    "add_field_term",
    "field_term",
    "initial_normals",
    "local_fields",
    "mean_magnitude",
]


class FieldTerm(NamedTuple):
    """A field (n,), the amplitude it is multiplied with (runs,), and whether it is not zero."""

    field: NDArray[Any]
    amplitude: NDArray[Any]
    is_present: bool


class FeedbackConstants(NamedTuple):
    """What a block feeds back with: couplings, workspace for signs, field, energy tracker."""

    operand: CouplingOperand
    workspace: Any
    field_term: FieldTerm
    tracker: EnergyTracker | None


def field_term(coupling: CouplingMatrix, n_runs: int, dtype: np.dtype[Any]) -> FieldTerm:
    """Return the field beside couplings, with amplitudes of 1."""
    field = coupling.field.astype(dtype)
    return FieldTerm(field, np.ones(n_runs, dtype), bool(field.any()))


def initial_normals(
    inputs: JobInputs, *, first_run: int, n_runs: int, width: float, dtype: Any, stream: int = 0
) -> NDArray[Any]:
    """Return independent normals (n, runs) of standard deviation `width`, aligned."""
    x = aligned_zeros((inputs.n_spins + inputs.n_spins % 2, n_runs), dtype)
    fill_normals(inputs.key, stream, first_run, x)
    x *= x.dtype.type(width)
    return x[: inputs.n_spins]


@kernel
def mean_magnitude(x: NDArray[Any], out: NDArray[Any]) -> None:
    """Write the mean of the magnitudes of `x` (n, runs) to `out` (runs,)."""
    out[:] = 0
    for i in range(len(x)):
        row = x[i]
        for r in range(len(out)):
            out[r] += abs(row[r])
    out /= out.dtype.type(len(x))


@kernel
def add_field_term(term: FieldTerm, first: int, product: NDArray[Any]) -> None:
    """Add the field to rows of a product, those of the spins from `first` on."""
    for i in range(len(product)):
        row, h = product[i], term.field[first + i]
        for r in range(len(row)):
            row[r] += h * term.amplitude[r]


@kernel
def local_fields(loop: FeedbackConstants, x: NDArray[Any], out: NDArray[Any]) -> None:
    """Write the local fields of amplitudes `x` (n, runs) to `out`."""
    multiply_rows(loop.operand, x, 0, out)
    if loop.field_term.is_present:
        mean_magnitude(x, loop.field_term.amplitude)
        add_field_term(loop.field_term, 0, out)
