"""The energies of all configurations of a small model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cim_hal.text import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.model.conversion import CsrArray
    from cim_hal.model.ising import IsingModel

__all__ = ["MAX_SPINS", "all_energies", "dense"]

MAX_SPINS = 20


def dense(matrix: NDArray[np.float64] | CsrArray) -> NDArray[np.float64]:
    """Return couplings as a dense array."""
    found = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
    return np.asarray(found, np.float64)


def all_energies(model: IsingModel) -> NDArray[np.float64]:
    """Return the energies of all configurations, array (2^n,): bit i of the index is spin i up.

    `ValueError` for more than `MAX_SPINS` spins.
    """
    if model.n_spins > MAX_SPINS:
        raise ValueError(f"{counted(model.n_spins, 'spin')}: at most {MAX_SPINS} can be enumerated")
    J = dense(model.J)
    n_low = model.n_spins // 2
    low, high = _spins(n_low), _spins(model.n_spins - n_low)
    alone = [
        -0.5 * np.einsum("ki,ij,kj->k", half, J[part, part], half) - half @ model.h[part]
        for half, part in ((low, slice(n_low)), (high, slice(n_low, None)))
    ]
    between = high @ J[n_low:, :n_low] @ low.T
    return (alone[1][:, None] + alone[0][None, :] - between).ravel() + model.offset


def _spins(n: int) -> NDArray[np.float64]:
    bits = np.arange(2**n)[:, None] >> np.arange(n)[None, :] & 1
    return 2.0 * bits - 1
