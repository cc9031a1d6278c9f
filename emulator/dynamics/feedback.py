r"""The feedback loop of a block: couplings times amplitudes, a field, and energies on the way.

.. math:: f_i = \sum_j J_{ij} x_j + h_i\,\overline{|x|}

A field acts as one more spin would whose amplitude is the mean magnitude of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emulator.dynamics.base import ChunkedBlock
from emulator.kernel import kernel, kernel_part
from emulator.noise import Draw, fill_normals
from emulator.products.coupling import multiply_rows, pack_signs
from emulator.products.packing import BLOCK_ROWS, aligned_zeros, padded_runs

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from emulator.dynamics.base import JobInputs
    from emulator.products.coupling import CouplingMatrix, CouplingOperand

__all__ = [
    "EnergyTracker",
    "FeedbackLoop",
    "FieldTerm",
    "TrackedBlock",
    "add_field_term",
    "feedback_loop",
    "initial_normals",
    "local_fields",
    "mean_magnitude",
    "start_tracking",
    "track",
    "track_after",
]


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


@kernel_part
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


@kernel_part
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


class FieldTerm(NamedTuple):
    """A field (n,), the amplitude it is multiplied with (runs,), and whether it is not zero."""

    field: NDArray[Any]
    amplitude: NDArray[Any]
    is_present: bool


class FeedbackLoop(NamedTuple):
    """What a block feeds back with: couplings, workspace for signs, field, energy tracker."""

    operand: CouplingOperand
    workspace: Any
    field_term: FieldTerm
    tracker: EnergyTracker | None


def feedback_loop(
    coupling: CouplingMatrix, n_runs: int, dtype: np.dtype[Any], *, of_signs: bool = False
) -> FeedbackLoop:
    """Return the loop of amplitudes of `dtype`, or of their signs; n_runs in sixteens."""
    field = coupling.field.astype(dtype)
    term = FieldTerm(field, np.ones(n_runs, dtype), bool(field.any()))
    if of_signs:
        return FeedbackLoop(coupling.operand, coupling.operand.workspace(n_runs), term, None)
    return FeedbackLoop(coupling.as_floats(dtype), None, term, None)


def initial_normals(
    inputs: JobInputs, *, first_run: int, n_runs: int, width: float, dtype: Any, stream: int = 0
) -> NDArray[Any]:
    """Return independent normals (n or n + 1, runs) of deviation `width`, aligned; rows are even.

    Round trip 0 of the noise is the initial state.
    """
    x = aligned_zeros((inputs.n_spins + inputs.n_spins % 2, n_runs), dtype)
    fill_normals(Draw(inputs.key, stream, first_run), x)
    x *= x.dtype.type(width)
    return x


@kernel_part
def mean_magnitude(x: NDArray[Any], out: NDArray[Any]) -> None:
    """Write the mean of the magnitudes of `x` (n, runs) to `out` (runs,)."""
    out[:] = 0
    for i in range(len(x)):
        row = x[i]
        for r in range(len(out)):
            out[r] += abs(row[r])
    out /= out.dtype.type(len(x))


@kernel_part
def add_field_term(term: FieldTerm, first: int, product: NDArray[Any]) -> None:
    """Add the field to rows of a product, those of the spins from `first` on."""
    for i in range(len(product)):
        row, h = product[i], term.field[first + i]
        for r in range(len(row)):
            row[r] += h * term.amplitude[r]


@kernel
def local_fields(loop: FeedbackLoop, x: NDArray[Any], out: NDArray[Any]) -> None:
    """Write the local fields of amplitudes `x` (n, runs) to `out`."""
    multiply_rows(loop.operand, x, 0, out)
    if loop.field_term.is_present:
        mean_magnitude(x, loop.field_term.amplitude)
        add_field_term(loop.field_term, 0, out)


class TrackedBlock(ChunkedBlock):
    """A block whose kernel tracks its energies.

    Parameters
    ----------
    x : array, shape (n, at least runs)
        Amplitudes, changed by `_advance_through`, which calls `track_after` after each round trip.
    loop : FeedbackLoop
    n_runs : int
    """

    def __init__(self, x: NDArray[Any], loop: FeedbackLoop, n_runs: int) -> None:
        super().__init__(x.size)
        self._x, self._loop, self._n_runs = x, loop, n_runs

    def follow(self, tracker: EnergyTracker) -> None:
        """Track energies from now on."""
        self._loop = self._loop._replace(tracker=tracker)

    @property
    def x(self) -> NDArray[Any]:
        """Amplitudes (n, runs)."""
        return self._columns(self._x)

    def amplitudes(self) -> NDArray[Any]:
        """Return x."""
        return self.x

    def _columns(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array of the block after all round trips so far, without padding."""
        self.catch_up()
        return array[:, : self._n_runs]

    def track(self) -> None:
        """Track the current energies, if there is a tracker."""
        self.catch_up()
        if self._loop.tracker is not None:
            track(self._loop.tracker, self._x)
