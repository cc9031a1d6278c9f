"""States of solvers as named arrays, and back: what a checkpoint holds of a solver."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from qnn_train.errors import CheckpointError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from qnn_train.arrays import Array, Arrays


__all__ = ["restored", "to_arrays"]

StateT = TypeVar("StateT", bound="DataclassInstance")


def to_arrays(state: DataclassInstance) -> dict[str, Array]:
    """Return the fields of a state: numbers, arrays, and tuples of byte strings of one length."""
    found = {}
    for field in fields(state):
        value = getattr(state, field.name)
        rows = isinstance(value, tuple)
        found[field.name] = np.array([list(row) for row in value], np.uint8) if rows else value
    return {name: np.asarray(value) for name, value in found.items()}


def restored(start: StateT, arrays: Arrays | None) -> StateT:
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
