"""Loops that no peer can end: each step is guarded, and its failures are logged once a minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import logging

__all__ = ["GuardedSteps", "LogLimiter"]

EVERY_S = 60.0
PAUSE_S = 0.05  # after a step that waits has failed: it would fail at once again

T = TypeVar("T")


class LogLimiter:
    """Lets one line of each kind through a minute, so that no peer can fill the log."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._kinds: dict[str, tuple[float, int]] = {}  # kind -> when a line is due, lines since

    def due(self, kind: str) -> int:
        """Return how many lines of a kind there were since the last one; 0 if none is due."""
        now = time.monotonic()
        due_at, count = self._kinds.get(kind, (now, 0))
        is_due = now >= due_at
        self._kinds[kind] = (now + self._every_s, 0) if is_due else (due_at, count + 1)
        return count + 1 if is_due else 0


class GuardedSteps:
    """Runs the steps of a loop; one that raises is logged, and the loop goes on."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._limiter = LogLimiter()

    def run(self, what: str, step: Callable[..., T], *arguments: Any) -> T | None:
        """Return what a step returns; None where it raised. `what` says in the log what it does."""
        try:
            return step(*arguments)
        except Exception as error:  # noqa: BLE001  whatever it is
            count = self._limiter.due(f"{what}: {type(error).__name__}")
            if count:
                self._log.exception("%s failed, and the loop goes on (%d times)", what, count)
            return None

    def wait(self, step: Callable[..., T], *arguments: Any) -> T | None:
        """Run a step that waits: where it raises, pause instead."""
        result = self.run("waiting", step, *arguments)
        if result is None:
            time.sleep(PAUSE_S)
        return result
