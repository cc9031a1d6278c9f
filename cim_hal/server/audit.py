"""The audit log: who did what, as events on the logger ``cim_hal.audit``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cim_hal.server.logs import JsonFormatter, event

if TYPE_CHECKING:
    from pathlib import Path

    from cim_hal.errors import Detail
    from cim_hal.protocol.wire.roles import User

__all__ = ["NAME", "keep_in", "write"]

NAME = "cim_hal.audit"

log = logging.getLogger(NAME)


def write(what: str, user: User | None = None, /, **facts: Detail) -> None:
    """Log an event at level INFO; `user` is None for unknown peers and for the server itself."""
    who = {} if user is None else {"user": user.name, "as": user.role.label}
    event(log, what, who | facts)


def keep_in(path: Path) -> None:
    """Append the events to a file, as JSON, whatever the level of the log.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(JsonFormatter())
    log.setLevel(logging.INFO)
    log.addHandler(handler)
