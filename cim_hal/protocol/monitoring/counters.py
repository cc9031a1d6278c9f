"""Metrics of a server: a closed table of names, and their values."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from cim_hal.protocol.wire.messages.status import MetricReading, Throughput

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BUCKET_S", "METRICS", "N_BUCKETS", "Counters", "Metric", "ThroughputCounter"]

BUCKET_S = 5.0
N_BUCKETS = 60
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


@dataclass
class _Bucket:
    jobs: int = 0
    runs: int = 0
    busy_s: float = 0.0


class ThroughputCounter:
    """The last `n_buckets` intervals of `bucket_s` seconds each, the running one included."""

    def __init__(self, *, bucket_s: float = BUCKET_S, n_buckets: int = N_BUCKETS) -> None:
        self._bucket_s = bucket_s
        self._n_buckets = n_buckets
        self._now: float | None = None
        self._buckets: dict[int, _Bucket] = {}

    def advance(self, now: float, *, is_busy: bool) -> float:
        """Let time pass, in which the machine was busy or not; return the busy seconds."""
        since, self._now = now if self._now is None else self._now, now
        last = int(now // self._bucket_s)
        if not is_busy and last in self._buckets:
            return 0.0  # as it is most often: this is called for every message
        # After a long pause of the server all that is kept is of the pause.
        oldest = last - self._n_buckets + 1
        for index in range(max(int(since // self._bucket_s), oldest), last + 1):
            bucket = self._buckets.setdefault(index, _Bucket())
            begin, end = index * self._bucket_s, (index + 1) * self._bucket_s
            bucket.busy_s += max(min(now, end) - max(since, begin), 0.0) if is_busy else 0.0
        while next(iter(self._buckets)) < oldest:
            del self._buckets[next(iter(self._buckets))]
        return max(now - since, 0.0) if is_busy else 0.0

    def job_ended(self, n_runs: int) -> None:
        """Count a job that ended, and the runs it did."""
        if self._buckets:
            bucket = self._buckets[next(reversed(self._buckets))]
            bucket.jobs += 1
            bucket.runs += n_runs

    def report(self) -> Throughput:
        """Return the intervals, oldest first."""
        buckets = self._buckets.values()
        return Throughput(
            bucket_s=self._bucket_s,
            jobs=tuple(bucket.jobs for bucket in buckets),
            runs=tuple(bucket.runs for bucket in buckets),
            busy_s=tuple(bucket.busy_s for bucket in buckets),
        )
