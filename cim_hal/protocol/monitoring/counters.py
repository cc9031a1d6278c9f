"""What a server counts: a closed table of names, and the numbers that stand under them."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from cim_hal.protocol.wire.messages.status import MetricReading

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["METRICS", "Counters", "Metric"]

# A little below the fastest request, to half an hour.
SECONDS = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1800.0)


@dataclass(frozen=True)
class Metric:
    """One quantity; labels have few values, and never names of users."""

    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()

    @property
    def bounds(self) -> tuple[float, ...]:
        """Upper bounds of the buckets of a histogram; all of them are of seconds."""
        return SECONDS if self.kind == "histogram" else ()


# The names and meanings stand in docs/reference/metrics.md too; a test compares.
METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "requests_total": Metric(
            "counter",
            "Requests answered, by type and by outcome: ok or the code of the error.",
            ("type", "outcome"),
        ),
        "request_seconds": Metric(
            "histogram", "From a request to its reply; job.wait waits on purpose.", ("type",)
        ),
        "refused_frames_total": Metric("counter", "Messages that are none of the protocol."),
        "dropped_replies_total": Metric("counter", "Replies to peers that were gone or full."),
        "cut_connections_total": Metric("counter", "Peers cut off in a message that went too far."),
        "bytes_total": Metric(
            "counter", "Bytes of frames, received (in) and sent (out).", ("direction",)
        ),
        "upload_bytes_total": Metric("counter", "Bytes of couplings in chunks."),
        "upload_seconds": Metric("histogram", "From the opening of an upload to loaded couplings."),
        "sessions": Metric("gauge", "SessionTable that are open."),
        "queue_depth": Metric("gauge", "Jobs that wait."),
        "jobs_running": Metric("gauge", "Jobs on the machine: 0 or 1."),
        "jobs_total": Metric("counter", "Jobs that ended: done, failed or cancelled.", ("end",)),
        "runs_total": Metric("counter", "Runs of jobs that are done."),
        "queue_wait_seconds": Metric("histogram", "From the acceptance of a job to its start."),
        "run_seconds": Metric("histogram", "From the start of a job to its end."),
        "device_busy_seconds_total": Metric("counter", "Time in which a job was on the machine."),
        "driver_restarts_total": Metric("counter", "Starts of the driver after the first one."),
        "memory_bytes": Metric("gauge", "Resident memory, by process.", ("process",)),
        "open_files": Metric("gauge", "Open file descriptors, by process.", ("process",)),
    }
)


class Counters:
    """The numbers, from the start of a server on. Not thread-safe."""

    def __init__(self) -> None:
        self._values: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in METRICS}
        self._counts: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        for name, meter in METRICS.items():
            if not meter.labels:
                self._values[name][()] = 0.0

    def count(self, name: str, *labels: str, by: float = 1.0) -> None:
        """Add to a counter."""
        series = self._values[name]
        series[labels] = series.get(labels, 0.0) + by

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        self._values[name][labels] = value

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """Put a duration into a histogram."""
        self.count(name, *labels, by=seconds)
        counts = self._counts.get((name, labels))
        if counts is None:
            counts = self._counts[name, labels] = _empty(METRICS[name])
        counts[bisect_left(METRICS[name].bounds, seconds)] += 1

    def readings(self) -> tuple[MetricReading, ...]:
        """Return all that was counted, as messages carry it."""
        return tuple(self._reading(name, meter) for name, meter in METRICS.items())

    def _reading(self, name: str, meter: Metric) -> MetricReading:
        series = tuple(
            (labels, value, self._counts_of(name, labels, meter))
            for labels, value in self._values[name].items()
        )
        return MetricReading(
            name=name, kind=meter.kind, labels=meter.labels, bounds=meter.bounds, series=series
        )

    def _counts_of(self, name: str, labels: tuple[str, ...], meter: Metric) -> tuple[int, ...]:
        return tuple(self._counts.get((name, labels), _empty(meter)))


def _empty(meter: Metric) -> list[int]:
    return [0] * (len(meter.bounds) + 1) if meter.bounds else []
