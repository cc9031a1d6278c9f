"""Who did what, one line of JSON for each event, to the logger ``cim_hal.audit``."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cim_hal.errors import Detail
    from cim_hal.protocol.roles import User

__all__ = ["NAME", "write"]

NAME = "cim_hal.audit"

log = logging.getLogger(NAME)


def write(event: str, user: User | None = None, **facts: Detail) -> None:
    """Log an event at the level INFO; `user` is None for strangers and for the server itself."""
    if not log.isEnabledFor(logging.INFO):
        return
    line: dict[str, Detail] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "event": event,
    }
    if user is not None:
        line |= {"user": user.name, "as": user.role.label}
    log.info("%s", json.dumps(line | facts))
