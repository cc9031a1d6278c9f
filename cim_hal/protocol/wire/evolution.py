"""What minor versions added to messages and parts that were there before.

A side that speaks an older version refuses fields it does not know. So a later field is left out
of the bytes where it stands at its default, and a server resets it for a session of an older
version. A default, once published, never changes.
"""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel

from cim_hal.machine.capabilities import Capabilities
from cim_hal.model.record import RunRecord
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.messages import (
    CouplingSpec,
    FetchResult,
    JobStatus,
    Sample,
    UploadOpened,
    WaitJob,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cim_hal.protocol.wire.version import Version

__all__ = ["ADDED", "as_of", "written"]

Part = TypeVar("Part", bound=BaseModel)

# Part -> field -> the version that added it.
ADDED: Mapping[type[BaseModel], Mapping[str, Version]] = MappingProxyType(
    {
        Capabilities: {
            "properties": (1, 1),
            "settings": (1, 1),
            "reports_trace": (1, 1),
            "needs_calibration": (1, 2),
            "max_run_s": (1, 2),
        },
        Sample: {"settings": (1, 1), "trace": (1, 1), "priority": (1, 2), "keep": (1, 2)},
        WaitJob: {"since": (1, 2), "events": (1, 2)},
        JobStatus: {"seq": (1, 2), "progress": (1, 2), "gone": (1, 2), "ready": (1, 2)},
        FetchResult: {"partial": (1, 2)},
        RunRecord: {
            "pump": (1, 1),
            "settings": (1, 1),
            "notes": (1, 1),
            "calibration": (1, 2),
        },
        Limits: {
            "lease_s": (1, 2),
            "user_sessions": (1, 2),
            "user_uploads": (1, 2),
            "user_cache_bytes": (1, 2),
            "user_kept_bytes": (1, 2),
            "user_messages_per_s": (1, 2),
            "user_queue_length": (1, 2),
            "slice_s": (1, 2),
            "unfinished_bytes": (1, 2),
        },
        CouplingSpec: {"keep": (1, 2), "base": (1, 2)},
        UploadOpened: {"received": (1, 2)},
    }
)


def as_of(part: Part, version: Version) -> Part:
    """Return `part` as a side that speaks `version` knows it."""
    fields = type(part).model_fields
    later = [name for name, added in ADDED[type(part)].items() if added > version]
    return part.model_copy(update={name: fields[name].get_default() for name in later})


def written(part: BaseModel) -> dict[str, Any]:
    """Return the fields of a message for the wire, without later ones at their defaults."""
    fields = part.model_dump()
    if _is_as_ever(type(part)):
        return fields
    for name, value in part:
        if type(value) in ADDED:
            fields[name] = written(value)
    known = type(part).model_fields
    for name in ADDED.get(type(part), ()):
        if getattr(part, name) == known[name].get_default():
            del fields[name]
    return fields


@cache
def _is_as_ever(cls: type[BaseModel]) -> bool:
    """Return whether nothing was added to a message, nor to what it holds."""
    return cls not in ADDED and not any(map(_has_news, _annotations(cls)))


def _annotations(cls: type[BaseModel]) -> list[Any]:
    return [field.annotation for field in cls.model_fields.values()]


def _has_news(annotation: Any) -> bool:
    return annotation in ADDED or any(map(_has_news, get_args(annotation)))
