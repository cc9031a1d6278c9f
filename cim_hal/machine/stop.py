"""What a driver polls, and says, in the midst of a call."""

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
    """Set by the server when a call is to end early; a driver polls it between round trips.

    A driver that knows how far it is may say so, as often as it likes; clients see the latest. One
    that has finished some runs of a program may deliver them; clients fetch them meanwhile.

    Parameters
    ----------
    report : callable, optional
        Takes the telemetry that the driver hands in meanwhile.
    take : callable, optional
        Takes the runs that it delivers.
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
        """The latest word on how far the run is: done, total, unit; None before the first."""
        return self._progress[0] if self._progress else None

    def progress(self, done: int, total: int, unit: str = "round trips") -> None:
        """Say that `done` of `total` runs or round trips are over; costs next to nothing."""
        told = max(operator.index(done), 0), max(operator.index(total), 0), unit
        self._progress.append(told)

    def deliver(self, values: NDArray[Any]) -> None:
        """Hand in finished runs, those after the ones handed in before: an early look at them.

        `run` returns all runs at its end as ever, these first, with the same values.

        Parameters
        ----------
        values : array, shape (some runs, n)
            As in a `Readout`; it is copied.

        Raises
        ------
        DriverFaultError
            They are more than the program has, or values that a readout may not have.
        """
        if self._take is not None:
            self._take(values)

    def without_deliveries(self) -> StopToken:
        """Return the same token for a run whose results are not those of the job."""
        token = copy(self)
        token._take = None  # noqa: SLF001  ours
        return token

    def set(self) -> None:
        """Ask for the end."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether the end was asked for."""
        return self._event.is_set()

    def report(self, telemetry: Telemetry) -> None:
        """Say how the machine is, in the midst of a run; once a second is often enough."""
        if self._report is not None:
            self._report(telemetry)
