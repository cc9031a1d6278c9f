"""Versions of the wire protocol, apart from the version of the package.

Both sides agree on one version when a session is opened. A side refuses fields that it does not
know, so a later minor version may only add fields with a default, and lists them in `ADDED`: they
are left out of the bytes where they stand at their default, and the server resets them in what it
sends to a session of an older version. A default, once published, never changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel

from cim_hal.errors import VersionError

__all__ = ["ADDED", "MAJOR", "NEWEST", "OLDEST", "Version", "agree", "as_of", "written"]

Version: TypeAlias = tuple[int, int]
Part = TypeVar("Part")

OLDEST: Version = (1, 0)
NEWEST: Version = (1, 0)
MAJOR = NEWEST[0]

# Message or part of one -> field -> the version that added it.
ADDED: Mapping[type[BaseModel], Mapping[str, Version]] = MappingProxyType({})


def agree(theirs: tuple[Version, Version], ours: tuple[Version, Version] | None = None) -> Version:
    """Return the newest version in both ranges, each (oldest, newest), or raise `VersionError`.

    >>> agree(((1, 0), (1, 7)), ours=((1, 2), (1, 4)))
    (1, 4)
    """
    ours = ours or (OLDEST, NEWEST)
    version = min(theirs[1], ours[1])
    if version < max(theirs[0], ours[0]):
        raise VersionError(
            f"the client speaks protocol {_span(theirs)}, the server {_span(ours)}",
            hint="install a version of cim-hal on either side that has one in common",
            client=_span(theirs),
            server=_span(ours),
        )
    return version


def as_of(part: Part, version: Version) -> Part:
    """Return a message as a side that speaks `version` knows it: later fields at their defaults."""
    if not ADDED:
        return part
    if isinstance(part, tuple):
        return tuple(as_of(item, version) for item in part)  # pyright: ignore[reportReturnType]
    if not isinstance(part, BaseModel):
        return part
    added, fields = ADDED.get(type(part), {}), type(part).model_fields
    known = {
        name: fields[name].get_default()
        if name in added and added[name] > version
        else as_of(value, version)
        for name, value in part
    }
    return part.model_copy(update=known)


def written(part: BaseModel) -> dict[str, Any]:
    """Return the fields of a message for the wire, without later ones at their defaults."""
    fields = part.model_dump()
    if ADDED:
        _leave_out(part, fields)
    return fields


def _leave_out(part: BaseModel, fields: dict[str, Any]) -> None:
    """Remove from `fields`, the dump of `part`, later fields at their defaults."""
    added, known = ADDED.get(type(part), {}), type(part).model_fields
    for name, value in part:
        if name in added and value == known[name].get_default():
            del fields[name]
        elif isinstance(value, BaseModel):
            _leave_out(value, fields[name])
        elif isinstance(value, tuple):
            for item, dumped in zip(value, fields[name], strict=True):
                if isinstance(item, BaseModel):
                    _leave_out(item, dumped)


def _span(versions: tuple[Version, Version]) -> str:
    return " to ".join(f"{major}.{minor}" for major, minor in dict.fromkeys(versions))
