"""What comes back to a user: spins ranked by the energies of their own model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.model.ising import IsingModel
    from cim_hal.model.record import RunRecord

__all__ = ["SampleSet"]


@dataclass(frozen=True, eq=False)
class SampleSet:
    """Samples of a model, lowest energy first.

    Attributes
    ----------
    spins : int8 array, shape (runs, n)
        Values -1 and +1.
    energies : float64 array, shape (runs,)
        Energies of the caller's model; machines never return energies.
    amplitudes : float32 array, shape (runs, n), or None
        Analog in-phase amplitudes, where the machine reports them.
    record : RunRecord
    """

    spins: NDArray[np.int8]
    energies: NDArray[np.float64]
    amplitudes: NDArray[np.float32] | None
    record: RunRecord

    @classmethod
    def rank(
        cls,
        model: IsingModel,
        spins: NDArray[np.int8],
        amplitudes: NDArray[np.float32] | None,
        record: RunRecord,
    ) -> Self:
        """Compute the energies of `spins` and sort by them; equal energies keep their order."""
        energies = model.energy(spins)
        order = np.argsort(energies, kind="stable")
        ranked = None if amplitudes is None else amplitudes[order]
        return cls(spins[order], energies[order], ranked, record)

    def __len__(self) -> int:
        return len(self.energies)

    @property
    def best(self) -> NDArray[np.int8]:
        """Spins of the lowest energy, int8, shape (n,)."""
        return self.spins[0]

    @property
    def best_energy(self) -> float:
        """Lowest energy."""
        return float(self.energies[0])

    def success_probability(self, energy: float, *, atol: float = 1e-9) -> float:
        """Return the share of runs at or below `energy`."""
        return float(np.mean(self.energies <= energy + atol))

    def as_bits(self) -> NDArray[np.int8]:
        """Return x = (1 + σ)/2, int8, shape (runs, n)."""
        return ((self.spins + 1) // 2).astype(np.int8)
