r"""The best configuration a run has passed through, instead of its last.

Algorithms that leave local minima on their own account are scored by what they have seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from emulator.avx512 import prefer_wide_vectors
from emulator.coupling import (
    BLOCK_ROWS,
    multiply_signs,
    padded_runs,
    read_spins,
    take_signs,
)
from emulator.dynamics.base import Block, Dynamics, Precision, Wiring
from emulator.memory import aligned_zeros

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.coupling import CouplingMatrix, Form

__all__ = ["BestSeen", "BestSeenBlock", "read_spins"]


class Seen(NamedTuple):
    """Energies of this look and of the best one, float64 (runs,), and its amplitudes (n, runs)."""

    latest: NDArray[np.float64]
    lowest: NDArray[np.float64]
    best: NDArray[Any]


@njit(cache=True, nogil=True)
def add_energies(
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
def keep_better(x: NDArray[Any], seen: Seen) -> None:
    """Copy the columns of `x` whose energy is the lowest so far, and their energies."""
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
    is_better = seen.latest < seen.lowest
    if is_better.any():
        for i in range(len(x)):
            amplitude, best = x[i], seen.best[i]
            for r in range(len(is_better)):
                best[r] = amplitude[r] if is_better[r] else best[r]
        for r in range(len(is_better)):
            seen.lowest[r] = min(seen.latest[r], seen.lowest[r])


@njit(cache=True, nogil=True)
def look(  # noqa: PLR0917  a kernel
    form: Form,
    x: NDArray[Any],
    room: Any,
    product: NDArray[Any],
    field: NDArray[Any],
    seen: Seen,
) -> None:
    """Compute the energies of the signs of `x` (n, runs), and keep what is better.

    `product` has room for `BLOCK_ROWS` rows.
    """
    take_signs(form, x, room)
    seen.latest[:] = 0
    for first in range(0, len(x), BLOCK_ROWS):
        end = min(first + BLOCK_ROWS, len(x))
        rows = product[: end - first]
        multiply_signs(form, room, first, rows)
        add_energies(x[first:end], rows, field[first:end], seen.latest)
    keep_better(x, seen)


@dataclass(frozen=True, kw_only=True)
class BestSeen(Dynamics):
    r"""Another dynamics, read out at the lowest energy that a run has passed through.

    Every `every` round trips, and at the end, the energy of the signs is computed,

    .. math:: E = -\tfrac12 \sigma\cdot J\sigma - h\cdot\sigma, \qquad \sigma_i = \mathrm{sgn}\,x_i

    exactly where couplings are integers, and amplitudes are kept if it is the lowest so far. The
    price is a product 1 / `every` times as often as the dynamics needs one, and the couplings
    once more in memory where the dynamics does not feed back integers.

    Parameters
    ----------
    dynamics : Dynamics
    every : int
        Round trips between two looks.
    precision : {"single", "double"}
        That of the dynamics.

    Raises
    ------
    ValueError
        `every` is less than 1.
    """

    dynamics: Dynamics
    every: int = 10
    precision: Precision = field(init=False)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every = {self.every} is out of range")
        object.__setattr__(self, "precision", self.dynamics.precision)

    @property
    def largest_code(self) -> float | None:
        """That of the dynamics."""
        return self.dynamics.largest_code

    @property
    def has_field(self) -> bool:
        """Whether the dynamics has one."""
        return self.dynamics.has_field

    @property
    def follows_energy(self) -> bool:
        """Always."""
        return True

    def perturb(self, coupling: CouplingMatrix) -> CouplingMatrix:
        """Return the couplings that the dynamics really applies."""
        return self.dynamics.perturb(coupling)

    def start(self, wiring: Wiring, *, first_run: int, n_runs: int) -> BestSeenBlock:
        """Return a block of the dynamics under observation."""
        block = self.dynamics.start(wiring, first_run=first_run, n_runs=n_runs)
        return BestSeenBlock(block, wiring, n_runs=n_runs, every=self.every)


class BestSeenBlock(Block):
    """Any block, under observation.

    Attributes
    ----------
    block : Block
    energies : float64 array, shape (runs,)
        Lowest so far, in units of `Wiring.energy_coupling`.
    """

    def __init__(self, block: Block, wiring: Wiring, *, n_runs: int, every: int) -> None:
        self.block = block
        coupling, x = wiring.energy_coupling, block.amplitudes()
        self.energies = np.full(n_runs, np.inf)
        self._seen = Seen(np.empty(n_runs), self.energies, aligned_zeros(x.shape, x.dtype))
        self._form, self._field = coupling.form, coupling.field
        self._room = coupling.room_for_signs(n_runs)
        self._product = aligned_zeros((BLOCK_ROWS, padded_runs(n_runs)), coupling.dtype)
        self._every, self._since_look = every, 0

    def advance(self, pump: float) -> None:
        """Make one round trip, and look where it is time."""
        self.block.advance(pump)
        self._since_look += 1
        if self._since_look == self._every:
            self._look()

    def amplitudes(self) -> NDArray[Any]:
        """Return each run's amplitudes at its lowest energy, after one more look."""
        self._look()
        return self._seen.best

    def _look(self) -> None:
        x = np.ascontiguousarray(self.block.amplitudes())
        look(self._form, x, self._room, self._product, self._field, self._seen)
        self._since_look = 0
