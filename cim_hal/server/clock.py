"""The time of a server: wall-clock time that only grows while it runs."""

from __future__ import annotations

import time

__all__ = ["Clock"]


class Clock:
    """Seconds since 1970 as they were at the start, and from there on by the monotonic clock.

    A wall clock that is set while the server runs moves nothing; what a journal keeps of it still
    means something to the next server.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self._offset + time.monotonic()
