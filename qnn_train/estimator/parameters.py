"""Parameters of the estimators: which values each may have, and the types of some."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias, cast

from sklearn.utils import check_random_state

from cim_hal import DevicePool, Driver, MachineConfig, Session
from qnn_train.checks import BIAS_BITS, Check, flag, optional, real, tuple_of, whole
from qnn_train.data.features import MAX_LEVEL
from qnn_train.errors import AssemblyError
from qnn_train.model.file import MAX_NETWORKS
from qnn_train.model.integer import IntegerModel
from qnn_train.training.recipe import PROXIMAL_RECIPE

__all__ = ["PARAMETERS", "Device"]

Device: TypeAlias = str | os.PathLike[str] | MachineConfig | Driver | Session | DevicePool

# Parameters of recipes by the same name, which have the same range.
OF_RECIPES = (
    "hidden",
    "activation",
    "clip",
    "weights",
    "bias_bits",
    "bias_reach",
    "output_bias_reach",
    "oracle",
    "polish",
    "n_runs",
    "round_trips",
    "pretraining",
    "settings",
    "coupling_bits",
    "sweeps",
    "starts",
    "ladder",
    "block_spins",
    "block_reads",
    "patience",
    "tolerance",
)


CLASS_WEIGHT = real(0, 1e300, above=True)  # a class that counts nothing would not be learned


def _device(name: str, value: object) -> object:
    if isinstance(value, str | os.PathLike | MachineConfig | Driver | Session | DevicePool):
        return value
    right = "a target of open_device, or a Session or DevicePool that is open"
    raise AssemblyError(f"{name} = {value!r}", hint=right)


def _callback(name: str, value: object) -> object:
    if callable(value):
        return value
    raise AssemblyError(f"{name} = {value!r}", hint="something to call with a Progress")


def _file(name: str, value: object) -> Path:
    """Refuse a file that could not be written after the first sweep."""
    if isinstance(value, str | os.PathLike):
        path = Path(cast("str", value))
        if path.absolute().parent.is_dir() and not path.is_dir():
            return path
    raise AssemblyError(f"{name} = {value!r}", hint="a file in a folder that exists")


def _init(name: str, value: object) -> object:
    if isinstance(value, IntegerModel | str | os.PathLike):
        return value
    raise AssemblyError(f"{name} = {value!r:.100}", hint="a trained model, or the path of its file")


def _random_state(name: str, value: Any) -> object:
    with suppress(ValueError, TypeError):
        if not isinstance(value, bool):
            return check_random_state(value)
    right = "None, a whole number from 0 to 4294967295, or a RandomState"
    raise AssemblyError(f"{name} = {value!r:.100}", hint=right)


def _class_weight(name: str, value: Any) -> object:
    """Let scikit-learn check the classes, which are known with the samples only."""
    if isinstance(value, Mapping):
        return {each: CLASS_WEIGHT(f"{name}[{each!r}]", weight) for each, weight in value.items()}
    if value is None or (isinstance(value, str) and value == "balanced"):
        return value
    right = "None, 'balanced', or a weight for each class"
    raise AssemblyError(f"{name} = {value!r:.100}", hint=right)


PARAMETERS: Mapping[str, Check] = {
    **{name: PROXIMAL_RECIPE[name] for name in OF_RECIPES},
    "clip_gain": real(0, 1, below=True),
    "output_bias_bits": optional(BIAS_BITS),
    "levels": whole(1, MAX_LEVEL),
    "cut": whole(1, MAX_LEVEL),
    "device": _device,
    "vote": whole(1, MAX_NETWORKS),
    "early_stopping": flag,
    "validation_fraction": real(0, 1, above=True, below=True),
    "class_weight": _class_weight,
    "callbacks": optional(tuple_of(_callback, 0, 1000)),
    "checkpoint": optional(_file),
    "verbose": flag,
    "init": optional(_init),
    "random_state": _random_state,
}
