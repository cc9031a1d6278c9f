"""What is known of a server at one moment, and how its numbers went before."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cim_hal.machine.telemetry import Telemetry
    from cim_hal.protocol.wire.messages.status import MetricsReport, StatusReport

__all__ = ["History", "Snapshot"]

LENGTH = 300


@dataclass(frozen=True)
class Snapshot:
    """What a server said last.

    Attributes
    ----------
    target : str
        Where it is.
    status : StatusReport or None
        None as long as it said nothing.
    metrics : MetricsReport or None
        None where it does not count.
    past : tuple of Telemetry
        What was reported before, the oldest first; at the first sight only.
    trouble : str
        Why there is nothing newer; empty where all is well.
    note : str
        What a reader should know besides.
    """

    target: str
    status: StatusReport | None = None
    metrics: MetricsReport | None = None
    past: tuple[Telemetry, ...] = ()
    trouble: str = ""
    note: str = ""

    def after(self, before: Snapshot | None) -> Snapshot:
        """Return this, with what was known `before` where nothing new is."""
        if self.status is not None or before is None:
            return self
        return replace(self, status=before.status, metrics=before.metrics)

    def as_json(self) -> dict[str, Any]:
        """Return it in the types of JSON."""
        return {
            "target": self.target,
            "trouble": self.trouble,
            "note": self.note,
            "status": self.status and self.status.model_dump(mode="json"),
            "metrics": self.metrics and self.metrics.model_dump(mode="json"),
        }


class History:
    """The last numbers of each reading, oldest first, as ``(seconds since 1970, value)``."""

    def __init__(self, *, length: int = LENGTH) -> None:
        self._length = length
        self._last_at = float("-inf")
        self.series: dict[str, deque[tuple[float, float]]] = {}
        self.units: dict[str, str] = {}

    def add(self, snapshot: Snapshot) -> None:
        """Take the telemetry of a snapshot, if it is new."""
        machine = snapshot.status and snapshot.status.machine
        current = [machine.telemetry] if machine and machine.telemetry else []
        self._take([*snapshot.past, *current])

    def values(self, name: str) -> list[float]:
        """Return the values of a reading."""
        return [value for _, value in self.series.get(name, ())]

    def as_json(self) -> dict[str, Any]:
        """Return it in the types of JSON."""
        return {
            name: {"unit": self.units[name], "points": list(points)}
            for name, points in self.series.items()
        }

    def _take(self, telemetry: Iterable[Telemetry]) -> None:
        for moment in telemetry:
            if moment.taken_at <= self._last_at:
                continue
            self._last_at = moment.taken_at
            for reading in moment.readings:
                if isinstance(reading.value, bool | str):
                    continue
                points = self.series.setdefault(reading.name, deque(maxlen=self._length))
                points.append((moment.taken_at, float(reading.value)))
                self.units[reading.name] = reading.unit
