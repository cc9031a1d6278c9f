"""Checkpoints: a training goes on after its process was killed, as if it had not been stopped.

One format for all methods, ``.npz``: ``header`` is a JSON text, and every other array belongs to
the state of the method, see `Stepper.arrays`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from qnn_train.archive import read_arrays, reading, unpacked_size, write_arrays
from qnn_train.arrays import Arrays
from qnn_train.errors import CheckpointError
from qnn_train.training.recipe import PROXIMAL, ProximalRecipe, Recipe
from qnn_train.training.report import History

if TYPE_CHECKING:
    from cim_hal import Capabilities

__all__ = ["MAY_CHANGE", "Checkpoint", "canonical", "check_same", "fingerprint", "machine_of"]

FORMAT = "cim-hal/qnn-checkpoint/1"  # pydantic wants it spelled out below
MAX_BYTES = 256 * 2**20
# What a training that goes on may do differently: where it stops.
MAY_CHANGE = frozenset({"iterations", "sweeps", "patience"})
NAMES = ("dataset", "classes", "recipe", "digest", "machine", "seconds", "history")
MAX_TEXT = 256
Text = Annotated[str, Field(max_length=MAX_TEXT)]


class Header(BaseModel):
    """What a checkpoint says beside its arrays."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal["cim-hal/qnn-checkpoint/1"] = FORMAT
    method: Text
    dataset: Text
    classes: Annotated[tuple[int, ...], Field(max_length=4096)]
    recipe: dict[str, Any]
    digest: Annotated[str, Field(max_length=64)]
    machine: dict[Text, Text | int]
    seconds: Annotated[float, Field(ge=0)]
    history: History


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that a training needs to go on as if it had not been stopped."""

    dataset: str  # what is told apart; empty for a table
    classes: tuple[int, ...]
    recipe: Recipe | ProximalRecipe
    digest: str  # fingerprint of the data, see `Problem.digest`
    # name of the machine, and what else of it the method depends on
    machine: Mapping[str, str | int]
    seconds: float  # wall time so far
    history: History
    arrays: Arrays  # state of the method

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file to exactly `path`, whole or not at all.

        Raises
        ------
        CheckpointError
            It is larger than `load` accepts.
        """
        header = {name: getattr(self, name) for name in NAMES} | {"method": self.recipe.method}
        text = json.dumps(canonical(header))
        Header.model_validate_json(text)
        write_arrays(path, {"header": text, **self.arrays}, _check_size)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file.

        Raises
        ------
        CheckpointError
            Not such a file. What its arrays hold is checked where a training goes on from it.
        """
        arrays = read_arrays(path, CheckpointError, max_bytes=MAX_BYTES)
        with reading(path, CheckpointError, "is no checkpoint"):
            header = Header.model_validate_json(str(arrays["header"]))
            del arrays["header"]
            kind = ProximalRecipe if header.method == PROXIMAL else Recipe
            recipe = TypeAdapter(kind).validate_python(header.recipe)
            header.history.rows()  # refuses columns of different lengths
        fields: dict[str, Any] = {name: getattr(header, name) for name in NAMES}
        return cls(**fields | {"recipe": recipe, "arrays": arrays})


def canonical(value: Any) -> Any:
    """Return a value in the types of JSON, so that equal values are written alike.

    Numpy's numbers become Python's, tuples lists, dataclasses mappings of their fields, and
    mappings are sorted.

    Raises
    ------
    TypeError
        A value of another type.
    """
    return json.loads(json.dumps(value, default=_plain, sort_keys=True))


def _plain(value: Any) -> Any:
    """Return a value that `json` does not know as one that it does."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"no canonical form of {type(value).__name__}")


def fingerprint(*parts: Any) -> str:
    """Return a fingerprint of arrays and of values that have a `canonical` form."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            found.update(f"{part.dtype.str}{part.shape}".encode())
            found.update(np.ascontiguousarray(part).tobytes())
        else:
            found.update(json.dumps(canonical(part)).encode())
    return found.hexdigest()


def machine_of(capabilities: Capabilities) -> dict[str, str | int]:
    """Return what of a machine a training depends on: name, and settings of its machine file."""
    chosen = ", ".join(f"{name}={value!r}" for name, value in capabilities.completed({}).items())
    short = chosen if len(chosen) <= MAX_TEXT else fingerprint(chosen)
    return {"device": capabilities.name, "settings": short}


def check_same(then: Mapping[str, object], now: Mapping[str, object]) -> None:
    """Refuse to go on with other values than those that were saved, but for `MAY_CHANGE`.

    Raises
    ------
    CheckpointError
        Says what differs first.
    """
    before, here = canonical(then), canonical(now)
    for name in now:
        if name not in MAY_CHANGE and before.get(name) != here[name]:
            raise CheckpointError(
                f"the checkpoint is of other {name}: {before.get(name)}, not {here[name]}"
            )


def _check_size(path: Path) -> None:
    """Refuse to write what `Checkpoint.load` would not read."""
    if (size := unpacked_size(path)) > MAX_BYTES:
        raise CheckpointError(f"the checkpoint has {size} bytes, more than {MAX_BYTES}")
