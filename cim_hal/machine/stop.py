"""The link between a running driver call and the server: stop requests, progress, results."""

from __future__ import annotations

import operator
import threading
from collections import deque
from copy import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cim_hal.machine.telemetry import Telemetry

__all__ = ["StopToken"]


class StopToken:
    """Tells a driver to stop; the driver polls it between round trips.

    A driver may also report its progress, as often as it likes, telemetry, and runs that have
    finished, which clients can fetch before the job ends.

    Parameters
    ----------
    report : callable, optional
        Receives the telemetry that the driver reports.
    take : callable, optional
        Receives the runs that the driver delivers.
    """

    def __init__(
        self,
        report: Callable[[Telemetry], None] | None = None,
        take: Callable[[NDArray[Any]], None] | None = None,
    ) -> None:
        self._event = threading.Event()
        self._report = report
        self._take = take
        self._progress: deque[tuple[int, int, str]] = deque(maxlen=1)

    @property
    def last_progress(self) -> tuple[int, int, str] | None:
        """The latest progress: done, total, unit; None before the first report."""
        return self._progress[0] if self._progress else None

    def progress(self, done: int, total: int, unit: str = "round trips") -> None:
        """Report that `done` of `total` runs or round trips are finished; this is cheap."""
        told = max(operator.index(done), 0), max(operator.index(total), 0), unit
        self._progress.append(told)

    def deliver(self, values: NDArray[Any]) -> None:
        """Deliver finished runs early, in order, after those delivered before.

        `run` still returns all runs at its end, these first and with the same values.

        Parameters
        ----------
        values : array, shape (some runs, n)
            As in a `Readout`; it is copied.

        Raises
        ------
        DriverFaultError
            More runs than the program has, or values that a readout may not have.
        """
        if self._take is not None:
            self._take(values)

    def without_deliveries(self) -> StopToken:
        """Return the same token, without delivery of runs."""
        token = copy(self)
        token._take = None  # noqa: SLF001  ours
        return token

    def set(self) -> None:
        """Request that the call ends."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether the call is to end."""
        return self._event.is_set()

    def report(self, telemetry: Telemetry) -> None:
        """Report telemetry during a run; once a second is often enough."""
        if self._report is not None:
            self._report(telemetry)
