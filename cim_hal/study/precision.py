"""How many bits of a coupling a model needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cim_hal.machine.capabilities import Capabilities
from cim_hal.machine.lowering import lower
from cim_hal.model.enumeration import MAX_SPINS, all_energies, dense
from cim_hal.study.exhaustion import survival

if TYPE_CHECKING:
    from cim_hal.model.ising import IsingModel
    from cim_hal.study.exhaustion import Survival

__all__ = ["BITS", "Precision", "dynamic_range", "enough_bits", "precision"]

BITS = tuple(range(2, 17))


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
        here = Capabilities(
            name="levels",
            max_spins=model.n_spins + 1,
            coupling_bits=n_bits,
            has_field=has_field,
            field_bits=n_bits if has_field else None,
        )
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


def dynamic_range(model: IsingModel) -> float:
    """Return the largest coupling or field over the smallest that is not zero, perhaps infinite."""
    values = np.abs(np.concatenate([dense(model.J).ravel(), np.asarray(model.h, float)]))
    values = values[values > 0]
    if not len(values):
        return 1.0
    with np.errstate(over="ignore"):
        return float(values.max() / values.min())
