"""Machine files: a TOML that names a driver, its options, and defaults of settings and limits.

A `MachineConfig` is what such a file says, or what a target and its options say without one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, ValidationError, field_validator, model_validator

from cim_hal.addresses import is_endpoint, is_machine_file
from cim_hal.errors import TargetError
from cim_hal.machine.options import OptionValue  # noqa: TC001  of fields
from cim_hal.model.conversion import with_article
from cim_hal.model.record import ONE_LINE, Record
from cim_hal.toml_files import Dotted, FileTable, first_problem, read_file
from cim_hal.user_config import named_target

__all__ = ["MachineConfig"]

Line = Annotated[str, Field(max_length=200, pattern=ONE_LINE)]
MAX_ENTRIES = 256
MAX_TEXT = 4096
VALUES = "must be a short text, a finite number, true or false"


def _is_number(value: object) -> bool:
    return type(value) is int or (isinstance(value, float) and math.isfinite(value))


def _is_value(value: object) -> bool:
    is_text = isinstance(value, str) and len(value) <= MAX_TEXT
    return is_text or isinstance(value, bool) or _is_number(value)


def _plain(name: str, value: Any) -> Any:
    """Return the value of an option, a number of numpy as Python's."""
    if isinstance(value, np.generic):
        value = value.item()
    if not _is_value(value):
        raise TargetError(f"options.{name} = {value!r:.100}", hint=f"it {VALUES}")
    return value


class _MachineFile(FileTable):
    """The keys of a machine file; the page *machine files* of the manual explains them."""

    driver: Annotated[str, Field(min_length=1, max_length=200, pattern=ONE_LINE)]
    name: Line = ""
    description: Annotated[str, Field(max_length=1000)] = ""
    hardware: Line = ""
    options: Annotated[dict[str, OptionValue], Field(default_factory=dict, max_length=MAX_ENTRIES)]
    settings: Annotated[
        dict[str, float], Dotted, Field(default_factory=dict, max_length=MAX_ENTRIES)
    ]
    limits: Annotated[dict[str, int | float], Field(default_factory=dict, max_length=MAX_ENTRIES)]

    @field_validator("options", mode="before")
    @classmethod
    def _are_values(cls, table: Any) -> Any:
        for name, value in table.items() if isinstance(table, dict) else ():
            if not _is_value(value):
                raise ValueError(f"{name} {VALUES}")
        return table

    @field_validator("limits", mode="before")
    @classmethod
    def _are_numbers(cls, table: Any) -> Any:
        for name, value in table.items() if isinstance(table, dict) else ():
            if not _is_number(value):
                raise ValueError(f"{name} must be a finite number")
        return table


class MachineConfig(Record):
    """What a target stands for: a driver and how it is built, or the endpoint of a server.

    It may stand wherever a target is taken.

    Parameters
    ----------
    driver : str
        An installed name, ``module:factory``, or an endpoint.
    target : str
        What messages call it: the path of the file, or the driver where it is empty.
    name, description : str
        Instead of what the driver says of the machine, unless they are empty.
    hardware : str
        Whose lock the driver holds; empty for that of the driver's factory.
    options : dict of str to str, int, float or bool
        Keyword arguments of the driver's factory.
    texts : dict of str to str
        More of them, still to be read as the types that the factory declares.
    settings : dict of str to float
        Defaults of the settings of jobs.
    limits : dict of str to int or float
        Limits of a server, in a file.
    key, server_key : str
        Files of keys that the user's file of defaults names beside the target.
    """

    driver: str
    target: str = ""
    name: str = ""
    description: str = ""
    hardware: str = ""
    options: dict[str, OptionValue] = Field(default_factory=dict)
    texts: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, float] = Field(default_factory=dict)
    limits: dict[str, int | float] = Field(default_factory=dict)
    key: str = ""
    server_key: str = ""

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        if is_machine_file(self.driver):
            raise ValueError(f"driver = {self.driver!r}: it must be no other machine file")
        theirs = ("name", "description", "hardware", "options", "texts", "limits")
        given = [name for name in theirs if getattr(self, name)]
        if self.is_endpoint and given:
            raise ValueError(
                f"{self.driver} is a server that was started elsewhere: beside driver there can "
                f"only be settings, no {', '.join(given)}"
            )
        return self

    @classmethod
    def of(
        cls,
        target: str | os.PathLike[str] | MachineConfig,
        options: Mapping[str, OptionValue] | None = None,
        *,
        texts: Mapping[str, str] | None = None,
    ) -> MachineConfig:
        """Return what a target stands for; a machine file is read here, and only here.

        `options` and `texts` go before those of a file. `TargetError` if the file is not right, or
        if there are options for a server, which has its driver already.
        """
        found = target if isinstance(target, MachineConfig) else _config(target)
        for name, given in (("options", options), ("texts", texts)):
            if given is not None and not isinstance(given, Mapping):
                what = f"{name} is {with_article(type(given).__name__)}"
                raise TargetError(what, hint="pass values by name")
        plain = {name: _plain(name, value) for name, value in (options or {}).items()}
        more = {
            "options": {**found.options, **plain},
            "texts": {**found.texts, **(texts or {})},
        }
        if found.is_endpoint and any(more.values()):
            raise TargetError(
                f"{found.driver} is a server, whose driver was built when it was started: it takes "
                "no options",
                hint="its settings can be chosen for each job: cim-hal sample --setting NAME=VALUE",
            )
        return found.model_copy(update=more | {"target": found.target or found.driver})

    @property
    def is_endpoint(self) -> bool:
        """Whether the driver is behind a server in another process."""
        return is_endpoint(self.driver)

    @property
    def label(self) -> str:
        """A name for folders, a different one for each target."""
        if self.target == self.driver:
            return self.driver
        path = Path(self.target).absolute()
        return f"{path.stem}-{sha256(os.fsencode(path)).hexdigest()[:8]}"


def _config(target: str | os.PathLike[str]) -> MachineConfig:
    if isinstance(target, os.PathLike):
        return _read(os.fsdecode(target))
    if not isinstance(target, str):
        what = f"the target is {with_article(type(target).__name__)}"
        raise TargetError(what, hint="pass a name, module:factory, or the path of a machine file")
    named = named_target(target)
    if named is None:
        return _plain_config(target)
    keys = {"key": str(named.key or ""), "server_key": str(named.server_key or "")}
    return _plain_config(named.target).model_copy(update=keys)


def _plain_config(target: str) -> MachineConfig:
    return _read(target) if is_machine_file(target) else MachineConfig(driver=target, target=target)


def _read(path: str) -> MachineConfig:
    hint = "what has a separator or ends in .toml is a path"
    found = read_file(Path(path), _MachineFile, "a machine", TargetError, hint, title="the file")
    try:
        return MachineConfig(target=path, **dict(found))
    except ValidationError as error:
        raise TargetError(f"{path}: {first_problem(error)}") from None
