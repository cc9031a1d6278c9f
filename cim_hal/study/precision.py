"""How many bits of a coupling a model needs, and how it is lowered to fewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cim_hal.errors import CapabilityError, CimError
from cim_hal.machine.capabilities import Capabilities
from cim_hal.machine.lowering import lower
from cim_hal.machine.policies import POLICIES, lower_by
from cim_hal.model.enumeration import MAX_SPINS, all_energies, dense
from cim_hal.study.exhaustion import of_levels, survival

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.model.ising import IsingModel
    from cim_hal.study.exhaustion import Survival

__all__ = [
    "BITS",
    "PolicyOutcome",
    "Precision",
    "cheapest",
    "dynamic_range",
    "enough_bits",
    "policies_at",
    "precision",
]

BITS = tuple(range(2, 17))
MAX_AUXILIARY = 100_000


@dataclass(frozen=True)
class Precision:
    """A model in levels of so many bits.

    Attributes
    ----------
    bits : int
    levels_used : int
        Different levels, zero included.
    max_error, rms_error : float
        Of a coupling or field, in the units of the model.
    energy_error_bound : float
        No energy is off by more.
    survival : Survival or None
        What is left of the optimum; None for a model that is too large to be enumerated.
    """

    bits: int
    levels_used: int
    max_error: float
    rms_error: float
    energy_error_bound: float
    survival: Survival | None


def precision(
    model: IsingModel, bits: Sequence[int] = BITS, *, has_field: bool = False
) -> list[Precision]:
    """Return what rounding to each number of bits does to a model.

    Parameters
    ----------
    model : IsingModel
    bits : sequence of int
        From 2 to 16.
    has_field : bool
        Whether the machine has fields of its own; else they are couplings to one more spin.
    """
    energies = all_energies(model) if model.n_spins <= MAX_SPINS else None
    found = []
    for n_bits in bits:
        here = _levels(model.n_spins + 1, n_bits, has_field=has_field)
        report = lower(model, here).report
        left = None if energies is None else survival(model, here, energies=energies)
        used = report.levels_used or 0
        error = report.max_error, report.rms_error, report.energy_error_bound
        found.append(Precision(n_bits, used, *error, left))
    return found


def enough_bits(found: Sequence[Precision]) -> int | None:
    """Return the fewest bits from which on nothing is lost; None where there are none.

    Of a model that was enumerated it is where each ground state of the rounded model is an optimum,
    of others where rounding changes no number.
    """
    enough: int | None = None
    for each in reversed(found):
        is_kept = each.survival.all if each.survival is not None else each.max_error == 0
        if not is_kept:
            break
        enough = each.bits
    return enough


def _levels(n_spins: int, bits: int, *, has_field: bool) -> Capabilities:
    return Capabilities(
        name="levels",
        max_spins=n_spins,
        coupling_bits=bits,
        has_field=has_field,
        field_bits=bits if has_field else None,
    )


@dataclass(frozen=True)
class PolicyOutcome:
    """A model as a policy brings it to the levels of a machine.

    Attributes
    ----------
    policy : str
    auxiliary_spins : int
        Spins that it takes more.
    max_error : float
        Of a coupling or field, in the units of the model.
    energy_error : float
        Root mean square over all configurations.
    dynamic_range : float
        Of the levels that are sent.
    survival : Survival or None
        What is left of the optimum; None for a model that is too large to be enumerated.
    keeps_optimum : bool or None
        Whether each ground state of the levels is an optimum; None where nobody knows.
    refused : str
        Why the policy does not lower the model, or "".
    """

    policy: str
    auxiliary_spins: int = 0
    max_error: float = 0.0
    energy_error: float = 0.0
    dynamic_range: float = 1.0
    survival: Survival | None = None
    keeps_optimum: bool | None = None
    refused: str = ""


def policies_at(
    model: IsingModel,
    bits: int,
    *,
    policies: Sequence[str] = POLICIES,
    has_field: bool = False,
    max_spins: int | None = None,
    seed: int = 0,
) -> list[PolicyOutcome]:
    """Return what each policy makes of a model at a number of bits.

    Parameters
    ----------
    model : IsingModel
    bits : int
        From 2 to 16.
    policies : sequence of str
        See `lower_by`.
    has_field : bool
        Whether the machine has fields of its own.
    max_spins : int, optional
        Spins of the machine, where auxiliary ones have to fit.
    seed : int
        Of stochastic rounding.

    Raises
    ------
    CapabilityError
        The model is larger than the machine, before any policy adds spins.
    """
    needed = model.n_spins + int(not has_field and bool(np.any(model.h)))
    if max_spins is not None and max_spins < needed:
        raise CapabilityError("max_spins", required=needed, available=max_spins)
    here = _levels(max_spins or model.n_spins + MAX_AUXILIARY, bits, has_field=has_field)
    energies = all_energies(model) if model.n_spins <= MAX_SPINS else None
    return [_outcome(model, here, policy, energies, seed) for policy in policies]


def _outcome(
    model: IsingModel,
    here: Capabilities,
    policy: str,
    energies: NDArray[np.float64] | None,
    seed: int,
) -> PolicyOutcome:
    try:
        lowered = lower_by(policy, model, here, seed=seed)
    except CimError as error:
        return PolicyOutcome(policy, refused=error.message)
    left = None
    if energies is not None:
        left = of_levels(model, energies, all_energies(lowered.rounded))
        keeps: bool | None = left.all
    else:
        is_proven = policy == "mutation" or lowered.max_error == 0
        keeps = True if is_proven else None
    levels = lowered.rounded if lowered.split is None else lowered.model
    errors = lowered.max_error, lowered.energy_error, dynamic_range(levels)
    return PolicyOutcome(policy, lowered.auxiliary_spins, *errors, left, keeps)


def cheapest(found: Sequence[PolicyOutcome]) -> str | None:
    """Return the policy that keeps the optimum with the fewest auxiliary spins, None without one.

    Of equal ones it is the first. Stochastic rounding is left out: another seed is another model.
    """
    kept = [each for each in found if each.keeps_optimum and each.policy != "stochastic"]
    return min(kept, key=lambda each: each.auxiliary_spins).policy if kept else None


def dynamic_range(model: IsingModel) -> float:
    """Return the largest coupling or field over the smallest that is not zero, perhaps infinite."""
    values = np.abs(np.concatenate([dense(model.J).ravel(), np.asarray(model.h, float)]))
    values = values[values > 0]
    if not len(values):
        return 1.0
    with np.errstate(over="ignore"):
        return float(values.max() / values.min())
