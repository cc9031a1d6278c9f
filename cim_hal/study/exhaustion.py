r"""All configurations of small models: their optimum, and what rounding to levels leaves of it.

What is drawn from it is the success of an exact optimizer of the rounded model. It is no bound for
a sampler whose runs are ranked by the energies of the model itself: an excited state of the rounded
model may be the optimum.

Couplings may be disturbed as well, :math:`J_{ij}(1 + \epsilon_{ij})` in levels, ij and ji apart. A
product with a matrix that is not symmetric has no energy: that of its symmetric part is meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cim_hal.machine.lowering import lower
from cim_hal.machine.policies import lower_by
from cim_hal.model.enumeration import all_energies, dense
from cim_hal.model.ising import IsingModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.machine.capabilities import Capabilities

__all__ = ["Survival", "disturbed_survivals", "of_levels", "survival"]

STREAM = 0x6572726F72  # of errors, apart from those of machines
MACHINES = 8  # that are drawn for a model


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


def survival(
    model: IsingModel,
    capabilities: Capabilities,
    *,
    bits: int | None = None,
    energies: NDArray[np.float64] | None = None,
    lowering: str = "max",
    seed: int = 0,
) -> Survival:
    """Return what is left of the optimum of a model in the levels of a machine.

    `energies` are `all_energies` of the model, where they are known already; `lowering` is a policy
    of `lower_by`, with its seed.
    """
    if energies is None:
        energies = all_energies(model)
    if lowering == "max":
        rounded = _rounded_energies(model, capabilities, bits)
    else:
        lowered = lower_by(lowering, model, capabilities, bits=bits, seed=seed)
        rounded = all_energies(lowered.rounded)
    return of_levels(model, energies, rounded)


def disturbed_survivals(
    model: IsingModel,
    capabilities: Capabilities,
    *,
    bits: int | None = None,
    energies: NDArray[np.float64],
    lowering: str = "max",
    seed: int = 0,
    error: float,
) -> list[Survival]:
    """Return what is left of the optimum on several machines whose couplings are disturbed.

    `error` is the relative standard deviation of a coupling; other arguments are as of `survival`.
    The same machines are drawn for each error. There are none where a policy needs auxiliary spins:
    their couplings would be disturbed too.
    """
    lowered = lower_by(lowering, model, capabilities, bits=bits, seed=seed)
    if lowered.split is not None:
        return []
    rng, found = np.random.default_rng([STREAM, seed]), list[Survival]()
    for _ in range(MACHINES):
        n = model.n_spins + 1  # and the spin for the field
        errors = error * rng.standard_normal((n, n))
        rounded = _rounded_energies(lowered.model, capabilities, bits, (errors + errors.T) / 2)
        found.append(of_levels(model, energies, rounded))
    return found


def of_levels(
    model: IsingModel, energies: NDArray[np.float64], rounded: NDArray[np.float64]
) -> Survival:
    """Return what is left of the optimum of a model; `rounded` are the energies in levels."""
    lowest = energies.min()
    is_optimal = energies <= lowest + model.energy_tolerance
    is_ground = rounded <= rounded.min() + 1e-9 * max(1.0, np.abs(rounded).max())
    excess = float((energies[is_ground] - lowest).mean())
    rank = int(np.count_nonzero(rounded < rounded[is_optimal].min()))
    hits = is_optimal[is_ground]
    return Survival(float(hits.mean()), bool(hits.any()), bool(hits.all()), excess, rank)


def _rounded_energies(
    model: IsingModel,
    capabilities: Capabilities,
    bits: int | None,
    errors: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the energies of all configurations in levels, the spin for the field taken as up."""
    lowering = lower(model, capabilities, bits=bits)
    J = dense(lowering.coupling) * np.outer(lowering.gauge, lowering.gauge).astype(float)
    if errors is not None:
        J *= 1 + errors[: len(J), : len(J)]
    h = lowering.field * lowering.gauge
    if lowering.report.field_spin:
        J, h = J[:-1, :-1], J[:-1, -1]
    return all_energies(IsingModel.from_couplings(J, np.asarray(h, float)))
