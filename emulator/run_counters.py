"""What an emulated machine has done so far: the telemetry that is true of it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cim_hal import Reading, Telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cim_hal import Program

__all__ = ["RunCounters"]


class RunCounters:
    """Counts jobs that ran to their end, and how fast the last one was.

    Examples
    --------
    >>> RunCounters().telemetry()["jobs"].value
    0
    """

    def __init__(self) -> None:
        self._jobs = self._runs = 0
        self._busy_s = 0.0
        self._round_trips_per_s: float | None = None

    @contextmanager
    def counted(self, program: Program) -> Iterator[None]:
        """Count a job if it comes to its end."""
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self._jobs += 1
        self._runs += program.n_runs
        self._busy_s += seconds
        self._round_trips_per_s = program.n_runs * program.schedule.round_trips / seconds

    def telemetry(self) -> Telemetry:
        """Return the counts; round trips of all runs together, per second of the last job."""
        readings = [
            Reading(name="jobs", value=self._jobs),
            Reading(name="runs", value=self._runs),
            Reading(name="busy", value=self._busy_s, unit="s"),
        ]
        if self._round_trips_per_s is not None:
            rate = Reading(name="round_trip_rate", value=self._round_trips_per_s, unit="1/s")
            readings.append(rate)
        return Telemetry(readings=tuple(readings))
