"""Energies of a block during a run, and the best configuration so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emulator.dynamics.kernel import kernel
from emulator.products.operand import multiply_rows, pack_signs
from emulator.products.packing import BLOCK_ROWS, aligned_zeros, padded_runs

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from emulator.products.coupling import CouplingMatrix
    from emulator.products.operand import CouplingOperand

__all__ = ["EnergyTracker", "start_tracking", "track", "track_after"]


class EnergyTracker(NamedTuple):
    """Workspace of energy tracking and its results; make one with `start_tracking`.

    Attributes
    ----------
    operand, workspace, product, field
        Couplings, workspace for signs, rows of a product, and the field (n,).
    latest, lowest : float64 array, shape (runs,)
        Latest energies, and the lowest so far.
    best : array, shape (n, runs)
        Amplitudes at the lowest energy.
    clock : int array, shape (1,)
        Round trips so far.
    every : int
        Round trips between two evaluations of the energy.
    """

    operand: CouplingOperand
    workspace: Any
    product: NDArray[Any]
    field: NDArray[np.float64]
    latest: NDArray[np.float64]
    lowest: NDArray[np.float64]
    best: NDArray[Any]
    clock: NDArray[np.int64]
    every: int


def start_tracking(
    coupling: CouplingMatrix, n_runs: int, dtype: DTypeLike, every: int
) -> EnergyTracker:
    """Return an empty tracker; `dtype` is that of the amplitudes."""
    return EnergyTracker(
        operand=coupling.operand,
        workspace=coupling.operand.workspace(n_runs),
        product=aligned_zeros((BLOCK_ROWS, padded_runs(n_runs)), coupling.dtype),
        field=coupling.field,
        latest=np.empty(n_runs),
        lowest=np.full(n_runs, np.inf),
        best=aligned_zeros((len(coupling.field), n_runs), dtype),
        clock=np.zeros(1, np.int64),
        every=every,
    )


@kernel
def _add_energies(
    x: NDArray[Any], product: NDArray[Any], field: NDArray[Any], energies: NDArray[Any]
) -> None:
    r"""Add :math:`-\frac12\sum_i\sigma_i(J\sigma)_i - \sum_i h_i\sigma_i` to `energies` (runs,).

    :math:`\sigma` are the signs of `x`, `product` is :math:`J\sigma`. Sums are float64: exact for
    integers.
    """
    for i in range(len(x)):
        amplitude, row, h = x[i], product[i], field[i]
        for r in range(len(energies)):
            local_field = np.float64(0.5) * row[r] + h
            energies[r] += local_field if amplitude[r] < 0 else -local_field


@kernel
def _keep_better(x: NDArray[Any], tracker: EnergyTracker) -> None:
    """Copy the columns of `x` whose energy is the lowest so far, and their energies."""
    is_better = tracker.latest < tracker.lowest
    if is_better.any():
        for i in range(len(x)):
            amplitude, best = x[i], tracker.best[i]
            for r in range(len(is_better)):
                best[r] = amplitude[r] if is_better[r] else best[r]
        for r in range(len(is_better)):
            tracker.lowest[r] = min(tracker.latest[r], tracker.lowest[r])


@kernel
def track(tracker: EnergyTracker, x: NDArray[Any]) -> None:
    """Compute the energies of the signs of `x` (n, runs), and keep improvements."""
    pack_signs(tracker.operand, x, tracker.workspace)
    tracker.latest[:] = 0
    for first in range(0, len(x), BLOCK_ROWS):
        end = min(first + BLOCK_ROWS, len(x))
        rows = tracker.product[: end - first]
        multiply_rows(tracker.operand, tracker.workspace, first, rows)
        _add_energies(x[first:end], rows, tracker.field[first:end], tracker.latest)
    _keep_better(x, tracker)


@kernel
def track_after(tracker: EnergyTracker | None, x: NDArray[Any]) -> None:
    """Count a round trip, and track if `tracker.every` of them have passed."""
    if tracker is not None:
        tracker.clock[0] += 1
        if tracker.clock[0] % tracker.every == 0:
            track(tracker, x)
