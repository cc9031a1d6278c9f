"""How many different samples there are among runs, and whether runs may be copies of each other.

Runs of a machine are independent samples only if something differs between them: noise, or their
start. A machine without either answers the same to every run, and a user who asked for 64 runs
has one. What is counted here takes any machine's spins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cim_hal.model.record import Diversity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.model.ising import IsingModel

__all__ = ["MANY", "copies_warning", "diversity_of"]

MANY = 8  # fewer runs with one answer are no reason for a warning
FEW_SPINS = 16  # models that are solved by exhaustion
ROWS = 4096  # configurations whose energies are computed at a time


def diversity_of(
    spins: NDArray[np.int8], energies: NDArray[np.float64], tolerance: float, *, is_symmetric: bool
) -> Diversity:
    """Count different spins (runs, n) and their energies, sorted, which differ by `tolerance`.

    Where the model `is_symmetric`, spins and their negatives are one configuration.
    """
    if len(spins) == 1:  # as in short jobs, of which this takes a tenth of the client's time
        return Diversity(configurations=1, energies=1, effective_runs=1.0)
    is_up = spins > 0
    if is_symmetric:
        is_up = is_up ^ is_up[:, :1]
    packed = np.packbits(is_up, axis=1)
    rows = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1]))).ravel()
    counts = np.unique(rows, return_counts=True)[1]
    return Diversity(
        configurations=len(counts),
        energies=1 + int(np.count_nonzero(np.diff(energies) > tolerance)),
        effective_runs=float(len(spins) ** 2 / np.square(counts, dtype=np.float64).sum()),
    )


def copies_warning(found: Diversity, n_runs: int, energy: float, model: IsingModel) -> str:
    """Return a warning if many runs gave one configuration that is not proven optimal, or ""."""
    if n_runs < MANY or found.configurations > 1 or _is_proven(model, energy):
        return ""
    return f"{n_runs} runs gave 1 configuration: they may be copies of each other"


def _is_proven(model: IsingModel, energy: float) -> bool:
    """Return whether no configuration is lower: no bond is frustrated, or all were tried."""
    bound = model.offset - model.magnitude
    if energy <= bound + model.energy_tolerance:
        return True
    return model.n_spins <= FEW_SPINS and energy <= _lowest(model) + model.energy_tolerance


def _lowest(model: IsingModel) -> float:
    n_spins = model.n_spins
    numbers = np.arange(2**n_spins, dtype=np.uint32)
    bits = (numbers[:, None] >> np.arange(n_spins, dtype=np.uint32)) & 1
    starts = range(0, len(bits), ROWS)
    return min(float(model.energy(2.0 * bits[at : at + ROWS] - 1).min()) for at in starts)
