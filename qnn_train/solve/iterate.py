"""What every solver yields, whatever the method, and its state as the arrays of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from qnn_train.arrays import Array, Arrays, BitArray
from qnn_train.errors import CheckpointError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


__all__ = ["Iterate", "restored", "to_arrays"]


StateT_co = TypeVar("StateT_co", bound="DataclassInstance", covariant=True)


@dataclass(frozen=True, eq=False)
class Iterate(Generic[StateT_co]):
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
    state: StateT_co


SavedT = TypeVar("SavedT", bound="DataclassInstance")


def to_arrays(state: DataclassInstance) -> dict[str, Array]:
    """Return the fields of a state: numbers, arrays, and tuples of byte strings of one length."""
    found = {}
    for field in fields(state):
        value = getattr(state, field.name)
        rows = isinstance(value, tuple)
        found[field.name] = np.array([list(row) for row in value], np.uint8) if rows else value
    return {name: np.asarray(value) for name, value in found.items()}


def restored(start: SavedT, arrays: Arrays | None) -> SavedT:
    """Return the state of these arrays, or the one at the start where there are none.

    Parameters
    ----------
    start : dataclass
        The state before the first step, of the same problem: it says which fields there are, and
        of which types and shapes.
    arrays : mapping of str to array, optional
        See `to_arrays`.

    Raises
    ------
    CheckpointError
        Arrays that are not those of such a state.
    """
    if arrays is None:
        return start
    names = {field.name: getattr(start, field.name) for field in fields(start)}
    if set(names) != set(arrays):
        raise CheckpointError(f"a state of {sorted(arrays)}, not of {sorted(names)}")
    return type(start)(**{name: _like(value, arrays[name], name) for name, value in names.items()})


def _like(start: Any, array: Array, name: str) -> Any:
    """Return an array as what stood in its place at the start."""
    if isinstance(start, tuple):
        if array.dtype == np.uint8 and array.ndim == 2:
            return tuple(row.tobytes() for row in array)
        if array.size == 0:
            return ()
        raise CheckpointError(f"{name} of the state is no rows of bytes")
    expected = np.asarray(start)
    if array.shape != expected.shape or array.dtype != expected.dtype:
        raise CheckpointError(
            f"{name} of the state has shape {array.shape} and type {array.dtype}, "
            f"not {expected.shape} and {expected.dtype}"
        )
    if isinstance(start, np.ndarray):
        if not np.isfinite(array).all():
            raise CheckpointError(f"{name} of the state is not finite")
        return array
    if isinstance(start, int) and array < 0:
        raise CheckpointError(f"{name} of the state is {array}, below 0")
    return array.item()
