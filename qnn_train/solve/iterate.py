"""What every solver yields: the same fields, whatever the method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from qnn_train.arrays import BitArray

__all__ = ["Iterate"]

StateT = TypeVar("StateT")


@dataclass(frozen=True, eq=False)
class Iterate(Generic[StateT]):
    """One step of a solver, as the caller sees it.

    Attributes
    ----------
    step : int
        From 1.
    calls : int
        Jobs of the machine paid so far, those of this step among them.
    bits : int8 array, shape (samples, n)
        Everything this step found, parameter bits first; what follows them may be missing.
    atom : int8 array
        The point the step moved to: bits of the program, of every part one after the other where
        it is decomposed.
    objective : float
        In the program's own units; of the averaged W for conditional gradients, else of `atom`.
    infeasibility : float
        Norm of the violated constraints, each constraint having norm 1.
    gap : float
        Surrogate duality gap, in units of the scaled objective; an inexact oracle may make it too
        small, even negative. NaN where the method has none.
    bound : float
        The optimum of the program is not below this if the oracle was exact; NaN where the method
        has none.
    state
        All that the next step depends on; given back, a solver goes on from here.
    """

    step: int
    calls: int
    bits: BitArray
    atom: BitArray
    objective: float
    infeasibility: float
    gap: float
    bound: float
    state: StateT
