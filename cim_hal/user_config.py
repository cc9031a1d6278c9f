"""The user's file of defaults, ``config.toml``: names for targets with their keys, and a device.

It lies beside the user's keys and holds paths of key files, never a key.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from cim_hal.addresses import check_endpoint_form, is_endpoint, is_machine_file
from cim_hal.errors import TargetError
from cim_hal.extras import offered
from cim_hal.key_files import config_folder
from cim_hal.toml_files import FileTable, read_file

__all__ = ["NamedTarget", "UserConfig", "named_target", "read_user_config", "required_device"]

DRIVERS = "cim_hal.drivers"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
KEY_TEXT = re.compile(r"[0-9a-zA-Z.:+=^!*?&<>()\[\]{}@%$#-]{40}")  # of a key, not of its file

# `cim_hal.model.record.ONE_LINE`, with a character at least: models are no layer below this one.
LINE = r"^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+$"

Text = Annotated[str, Field(max_length=1000, pattern=LINE)]


class _Target(FileTable):
    """What a name stands for."""

    target: Text
    key: Text | None = None
    server_key: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _names_files(cls, table: Any) -> Any:
        for name in ("key", "server_key") if isinstance(table, dict) else ():
            if KEY_TEXT.fullmatch(str(table.get(name, ""))):  # which is not repeated here
                raise ValueError(f"{name} is a key: name its file, keys stay out of this one")
        return table

    @model_validator(mode="after")
    def _is_a_target(self) -> _Target:
        if is_endpoint(self.target):
            check_endpoint_form(self.target)
        elif "://" in self.target:
            raise ValueError(f"{self.target!r} is no target: write tcp://host:port or ipc://path")
        elif (self.key or self.server_key) and not is_machine_file(self.target):
            raise ValueError(f"{self.target!r} is a driver, which asks for no keys")
        return self


class _ConfigFile(FileTable):
    """The keys of the file; the page *your defaults* of the manual explains them."""

    device: Text | None = None
    targets: Annotated[dict[str, _Target], Field(default_factory=dict, max_length=256)]

    @field_validator("targets", mode="before")
    @classmethod
    def _have_names(cls, table: Any) -> Any:
        if not isinstance(table, dict):
            return table
        for name in table:
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r:.100} is no name: letters, digits, - and _, at most 64")
        return {n: {"target": each} if isinstance(each, str) else each for n, each in table.items()}


@dataclass(frozen=True)
class NamedTarget:
    """What a name of the user's file stands for."""

    target: str
    key: Path | None = None
    server_key: Path | None = None


@dataclass(frozen=True)
class UserConfig:
    """What the user's file says; empty where there is none."""

    path: Path
    exists: bool = False
    device: str | None = None
    targets: Mapping[str, NamedTarget] = field(default_factory=dict)


def read_user_config() -> UserConfig:
    """Read ``$XDG_CONFIG_HOME/cim-hal/config.toml``, or below ``~/.config``.

    `TargetError` if it is not right, or if anybody may write it.
    """
    path = config_folder() / "config.toml"
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return UserConfig(path)
    except OSError as error:
        raise TargetError(f"cannot read {path}: {error.strerror}") from None
    if os.name == "posix" and mode & stat.S_IWOTH:
        raise TargetError(f"anybody may write {path}", hint=f"chmod o-w {path}")
    found = read_file(path, _ConfigFile, "defaults of targets and keys", TargetError)
    targets = {name: _named(each, path.parent) for name, each in found.targets.items()}
    device = found.device and _path_or_name(found.device, path.parent)
    return UserConfig(path, exists=True, device=device, targets=targets)


def named_target(name: str) -> NamedTarget | None:
    """Return what a name stands for; None if the user's file does not have it.

    `TargetError` if it is the name of an installed driver too.
    """
    if not NAME.fullmatch(name):
        return None
    config = read_user_config()
    found = config.targets.get(name)
    if found is not None and offered(DRIVERS).select(name=name):
        raise TargetError(
            f"{name} is an installed driver, and {found.target} in {config.path}",
            hint="give it another name there",
        )
    return found


def required_device() -> str:
    """Return the default device of the user's file; `TargetError` if it names none."""
    config = read_user_config()
    if config.device is None:
        raise TargetError("no target was given", hint=f"name one, or a device in {config.path}")
    return config.device


def _named(table: _Target, folder: Path) -> NamedTarget:
    """Return a target with absolute paths: they begin in the folder of the file."""
    key, server_key = (_absolute(each, folder) for each in (table.key, table.server_key))
    return NamedTarget(_path_or_name(table.target, folder), key, server_key)


def _path_or_name(target: str, folder: Path) -> str:
    return str(_absolute(target, folder)) if is_machine_file(target) else target


def _absolute(text: str | None, folder: Path) -> Path | None:
    return (folder / Path(text).expanduser()).absolute() if text else None
