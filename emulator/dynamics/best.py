r"""The best configuration a run has passed through, instead of its last.

Algorithms that leave local minima on their own account are scored by what they have seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from emulator.dynamics.base import Block, Dynamics, Precision, Wiring

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.coupling import CouplingMatrix

__all__ = ["BestSeen", "BestSeenBlock"]


@njit(cache=True, nogil=True)
def read_spins(x: NDArray[Any], spins: NDArray[Any]) -> None:
    """Write the signs of `x` (n, runs) to `spins`; an exact zero counts as +1."""
    for i in range(len(x)):
        for r in range(x.shape[1]):
            spins[i, r] = -1 if x[i, r] < 0 else 1


@njit(cache=True, nogil=True)
def ising_energies(
    spins: NDArray[Any], product: NDArray[Any], field: NDArray[Any], energies: NDArray[Any]
) -> None:
    r"""Write :math:`-\frac12\sum_i\sigma_i(J\sigma)_i - \sum_i h_i\sigma_i` to `energies` (runs,).

    Sums are float64: exact for integers.
    """
    energies[:] = 0
    for i in range(len(spins)):
        for r in range(len(energies)):
            local_field = np.float64(0.5) * product[i, r] + field[i]
            energies[r] -= np.float64(spins[i, r]) * local_field


@njit(cache=True, nogil=True)
def keep_better(
    x: NDArray[Any], energies: NDArray[Any], best: NDArray[Any], best_energies: NDArray[Any]
) -> None:
    """Copy the columns of `x` whose energy is below that of `best`, and their energies."""
    for r in range(len(energies)):
        if energies[r] < best_energies[r]:
            best_energies[r] = energies[r]
            best[:, r] = x[:, r]


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
        self.energies = np.full(n_runs, np.inf)
        self._coupling, self._every = wiring.energy_coupling, every
        shape = (wiring.n_spins, n_runs)
        self._best = np.zeros(shape, block.amplitudes().dtype)
        self._spins, self._product = (np.empty(shape, self._coupling.dtype) for _ in range(2))
        self._latest = np.empty(n_runs)
        self._since_look = 0

    def advance(self, pump: float) -> None:
        """Make one round trip, and look where it is time."""
        self.block.advance(pump)
        self._since_look += 1
        if self._since_look == self._every:
            self._look()

    def amplitudes(self) -> NDArray[Any]:
        """Return each run's amplitudes at its lowest energy, after one more look."""
        self._look()
        return self._best

    def _look(self) -> None:
        x = self.block.amplitudes()
        read_spins(x, self._spins)
        self._coupling.multiply(self._spins, self._product)
        ising_energies(self._spins, self._product, self._coupling.field, self._latest)
        keep_better(x, self._latest, self._best, self.energies)
        self._since_look = 0
