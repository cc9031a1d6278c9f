"""A look at the energies of a block on its way, and what is kept of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from emulator.products.avx512 import prefer_wide_vectors
from emulator.products.operand import BLOCK_ROWS, multiply_taken, padded_runs, take_signs
from emulator.products.packing import aligned_zeros

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from emulator.products.coupling import CouplingMatrix
    from emulator.products.operand import Form

__all__ = ["Watch", "look", "look_after", "start_watch"]


class Watch(NamedTuple):
    """What looks need and what they keep; make one with `start_watch`.

    Attributes
    ----------
    form, room, product, field
        Couplings, room for signs, rows of a product, and the field (n,).
    latest, lowest : float64 array, shape (runs,)
        Energies at this look, and the lowest so far.
    best : array, shape (n, runs)
        Amplitudes at the lowest.
    clock : int array, shape (1,)
        Round trips so far.
    every : int
        Round trips from one look to the next.
    """

    form: Form
    room: Any
    product: NDArray[Any]
    field: NDArray[np.float64]
    latest: NDArray[np.float64]
    lowest: NDArray[np.float64]
    best: NDArray[Any]
    clock: NDArray[np.int64]
    every: int


def start_watch(coupling: CouplingMatrix, n_runs: int, dtype: DTypeLike, every: int) -> Watch:
    """Return a watch that has seen nothing; `dtype` is that of amplitudes."""
    return Watch(
        form=coupling.form,
        room=coupling.room(n_runs),
        product=aligned_zeros((BLOCK_ROWS, padded_runs(n_runs)), coupling.dtype),
        field=coupling.field,
        latest=np.empty(n_runs),
        lowest=np.full(n_runs, np.inf),
        best=aligned_zeros((len(coupling.field), n_runs), dtype),
        clock=np.zeros(1, np.int64),
        every=every,
    )


@njit(cache=True, nogil=True)
def _add_energies(
    x: NDArray[Any], product: NDArray[Any], field: NDArray[Any], energies: NDArray[Any]
) -> None:
    r"""Add :math:`-\frac12\sum_i\sigma_i(J\sigma)_i - \sum_i h_i\sigma_i` to `energies` (runs,).

    :math:`\sigma` are the signs of `x`, `product` is :math:`J\sigma`. Sums are float64: exact for
    integers.
    """
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
    for i in range(len(x)):
        amplitude, row, h = x[i], product[i], field[i]
        for r in range(len(energies)):
            local_field = np.float64(0.5) * row[r] + h
            energies[r] += local_field if amplitude[r] < 0 else -local_field


@njit(cache=True, nogil=True)
def _keep_better(x: NDArray[Any], watch: Watch) -> None:
    """Copy the columns of `x` whose energy is the lowest so far, and their energies."""
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
    is_better = watch.latest < watch.lowest
    if is_better.any():
        for i in range(len(x)):
            amplitude, best = x[i], watch.best[i]
            for r in range(len(is_better)):
                best[r] = amplitude[r] if is_better[r] else best[r]
        for r in range(len(is_better)):
            watch.lowest[r] = min(watch.latest[r], watch.lowest[r])


@njit(cache=True, nogil=True)
def look(watch: Watch, x: NDArray[Any]) -> None:
    """Compute the energies of the signs of `x` (n, runs), and keep what is better."""
    take_signs(watch.form, x, watch.room)
    watch.latest[:] = 0
    for first in range(0, len(x), BLOCK_ROWS):
        end = min(first + BLOCK_ROWS, len(x))
        rows = watch.product[: end - first]
        multiply_taken(watch.form, watch.room, first, rows)
        _add_energies(x[first:end], rows, watch.field[first:end], watch.latest)
    _keep_better(x, watch)


@njit(cache=True, nogil=True)
def look_after(watch: Watch | None, x: NDArray[Any]) -> None:
    """Look if there is a watch and it is time, after a round trip."""
    if watch is not None:
        watch.clock[0] += 1
        if watch.clock[0] % watch.every == 0:
            look(watch, x)
