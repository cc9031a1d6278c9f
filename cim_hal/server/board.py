"""The latest report of a server, put up by its one thread for others to read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cim_hal.protocol.wire.messages.status import MetricsReport, StatusReport

__all__ = ["Board", "Posted"]

EVERY_S = 0.5


@dataclass(frozen=True)
class Posted:
    """What stood on the board; `at` is the monotonic clock of this process."""

    status: StatusReport
    metrics: MetricsReport
    at: float


class Board:
    """Holds what was posted last. One thread posts, any thread reads, nobody waits."""

    def __init__(self, *, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._latest: Posted | None = None

    @property
    def latest(self) -> Posted | None:
        """What was posted last; None before the server serves."""
        return self._latest

    @property
    def is_due(self) -> bool:
        """Whether the time has come to post again."""
        return self._latest is None or time.monotonic() >= self._latest.at + self._every_s

    def post(self, status: StatusReport, metrics: MetricsReport) -> None:
        """Replace what stands there."""
        self._latest = Posted(status, metrics, time.monotonic())
