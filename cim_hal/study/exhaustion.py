"""All configurations of small models: their optimum, and what rounding to levels leaves of it.

What is drawn from it is the success of an exact optimizer of the rounded model. It is no bound for
a sampler whose runs are ranked by the energies of the model itself: an excited state of the rounded
model may be the optimum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.machine.lowering import lower
from cim_hal.model.ising import IsingModel

if TYPE_CHECKING:
    import scipy.sparse as sp
    from numpy.typing import NDArray

    from cim_hal.machine.capabilities import Capabilities

__all__ = ["MAX_SPINS", "Survival", "all_energies", "dense", "survival"]

MAX_SPINS = 20


@dataclass(frozen=True)
class Survival:
    """How much of the optimum of a model is left in a rounded one.

    Attributes
    ----------
    share : float
        Of the ground states of the rounded model those that are optima of the model: the expected
        success of an optimizer that breaks ties by chance.
    some, all : bool
        Whether any, and whether each of them is.
    excess_energy : float
        Their mean energy in the model above its optimum.
    rank : int
        States of the rounded model that are lower than the best-placed optimum of the model.
    """

    share: float
    some: bool
    all: bool
    excess_energy: float
    rank: int


def dense(matrix: NDArray[Any] | sp.csr_array) -> NDArray[np.float64]:
    """Return couplings as a dense array."""
    found = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
    return np.asarray(found, np.float64)


def all_energies(model: IsingModel) -> NDArray[np.float64]:
    """Return the energies of all configurations, array (2^n,): bit i of the index is spin i up.

    `ValueError` for more than `MAX_SPINS` spins.
    """
    if model.n_spins > MAX_SPINS:
        raise ValueError(f"{model.n_spins} spins: at most {MAX_SPINS} can be enumerated")
    J = dense(model.J)
    n_low = model.n_spins // 2
    low, high = _spins(n_low), _spins(model.n_spins - n_low)
    alone = [
        -0.5 * np.einsum("ki,ij,kj->k", half, J[part, part], half) - half @ model.h[part]
        for half, part in ((low, slice(n_low)), (high, slice(n_low, None)))
    ]
    between = high @ J[n_low:, :n_low] @ low.T
    return (alone[1][:, None] + alone[0][None, :] - between).ravel() + model.offset


def survival(
    model: IsingModel,
    capabilities: Capabilities,
    *,
    bits: int | None = None,
    energies: NDArray[np.float64] | None = None,
) -> Survival:
    """Return what is left of the optimum of a model in the levels of a machine.

    `energies` are `all_energies` of the model, where they are known already.
    """
    if energies is None:
        energies = all_energies(model)
    rounded = _rounded_energies(model, capabilities, bits)
    lowest = energies.min()
    is_optimal = energies <= lowest + model.energy_tolerance
    is_ground = rounded <= rounded.min() + 1e-9 * max(1.0, np.abs(rounded).max())
    excess = float((energies[is_ground] - lowest).mean())
    rank = int(np.count_nonzero(rounded < rounded[is_optimal].min()))
    hits = is_optimal[is_ground]
    return Survival(float(hits.mean()), bool(hits.any()), bool(hits.all()), excess, rank)


def _rounded_energies(
    model: IsingModel, capabilities: Capabilities, bits: int | None
) -> NDArray[np.float64]:
    """Return the energies of all configurations in levels, the spin for the field taken as up."""
    lowering = lower(model, capabilities, bits=bits)
    J = dense(lowering.coupling) * np.outer(lowering.gauge, lowering.gauge).astype(float)
    h = lowering.field * lowering.gauge
    if lowering.report.field_spin:
        J, h = J[:-1, :-1], J[:-1, -1]
    return all_energies(IsingModel.from_couplings(J, np.asarray(h, float)))


def _spins(n: int) -> NDArray[np.float64]:
    bits = np.arange(2**n)[:, None] >> np.arange(n)[None, :] & 1
    return 2.0 * bits - 1
