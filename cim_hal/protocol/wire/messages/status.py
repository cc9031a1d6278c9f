"""What a server tells those who watch it: messages without effect on anything.

Times are ages and durations in seconds, never times of day: clocks of two machines differ.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, field_serializer

from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.base import Detail, Number, Reply, Request, Text, Token, Wire
from cim_hal.protocol.wire.messages.instruments import DeviceStatus
from cim_hal.protocol.wire.roles import Role

__all__ = [
    "AskMetrics",
    "AskStatus",
    "EventSummary",
    "JobSummary",
    "LockSummary",
    "MachineState",
    "MetricReading",
    "MetricsReport",
    "SessionSummary",
    "StatusReport",
    "StopSummary",
    "Throughput",
]

MachineState = Literal["idle", "running", "stopping", "starting", "broken", "stopped"]
Name = Annotated[str, Field(max_length=100)]
Sentence = Annotated[str, Field(max_length=200)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class JobSummary(Wire):
    """One job, as anybody may see it.

    Attributes
    ----------
    waited_s : float
        From its acceptance to its start; to now where it still waits.
    ran_s : float
        From its start to its end; to now where it runs.
    expected_s : float or None
        Of a job that was started: what it should take, from those before it; None where nobody
        knows.
    progress : float or None
        The share that is done, 0 to 1, as the machine says; None where it does not.
    ended_ago_s : float or None
        None where it has not ended.
    reason : str
        Why it failed or was cancelled: the code of its error; empty otherwise.
    """

    job: Token
    user: Name
    state: Annotated[JobState, Field(strict=False)]
    n_spins: Number
    n_runs: Number
    round_trips: Number
    waited_s: Seconds
    ran_s: Seconds = 0.0
    expected_s: Seconds | None = None
    progress: Annotated[float, Field(ge=0, le=1)] | None = None
    ended_ago_s: Seconds | None = None
    reason: Name = ""
    message: Sentence = ""

    @property
    def id(self) -> str:
        """The id of the job, as `Job.id`."""
        return self.job


class LockSummary(Wire):
    """Who has the machine alone; None is for ever, as long as the lease is renewed."""

    holder: Name
    note: Sentence = ""
    epoch: Number
    expires_in_s: Seconds | None = None


class StopSummary(Wire):
    """The emergency stop that holds."""

    by: Name
    reason: Sentence = ""
    for_s: Seconds = 0.0


class SessionSummary(Wire):
    """One open session; `session` is the end of its token, which alone is of no use."""

    session: Annotated[str, Field(max_length=8)]
    user: Name
    client: Name
    age_s: Seconds
    idle_s: Seconds


class EventSummary(Wire):
    """Something that happened, as the audit log has it."""

    event: Name
    user: Name
    ago_s: Seconds
    facts: Annotated[dict[Name, Detail], Field(max_length=16)] = {}


class Throughput(Wire):
    """Throughput in the latest intervals of `bucket_s` each; the last one is not over yet."""

    bucket_s: Seconds
    jobs: tuple[Number, ...] = ()
    runs: tuple[Number, ...] = ()
    busy_s: tuple[Seconds, ...] = ()


class MetricReading(Wire):
    """One quantity, in one or several series told apart by the values of its labels.

    Attributes
    ----------
    labels : tuple of str
        Names of the labels.
    bounds : tuple of float
        Upper bounds of the buckets of a histogram; a last one without bound follows.
    series : tuple
        ``(values of the labels, value, counts)``. A histogram has a count for each bucket, not
        summed up, and `value` is the sum of what was observed; others have no counts.
    """

    name: Name
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[Name, ...] = ()
    bounds: tuple[float, ...] = ()
    series: tuple[tuple[tuple[Name, ...], float, tuple[Number, ...]], ...]

    @field_serializer("series", when_used="json")
    def _in_json(
        self, series: tuple[tuple[tuple[str, ...], float, tuple[int, ...]], ...]
    ) -> list[tuple[tuple[str, ...], float | str, tuple[int, ...]]]:
        """Write a value that is not finite as text, as in a `Reading`."""
        return [
            (labels, value if math.isfinite(value) else str(value), counts)
            for labels, value, counts in series
        ]


class AskStatus(Request, role=Role.OBSERVER, safety=True):
    """Ask what goes on."""

    t: Literal["server.status"] = "server.status"


class AskMetrics(Request, role=Role.OBSERVER, safety=True):
    """Ask what was counted since the server started."""

    t: Literal["metrics"] = "metrics"


class StatusReport(Reply):
    """What goes on: of the queue those that came first, of ended jobs and events the newest first.

    Attributes
    ----------
    state : str
        ``starting`` and ``broken`` are those of the driver, see `DriverState`; ``stopped`` while an
        emergency stop holds.
    machine : DeviceStatus or None
        Its driver, telemetry, and calibration.
    """

    t: Literal["server.report"] = "server.report"
    device: Annotated[str, Field(max_length=200)]
    software: Text
    instance: Token
    uptime_s: Seconds
    state: MachineState
    machine: DeviceStatus | None = None
    lock: LockSummary | None = None
    stop: StopSummary | None = None
    running: JobSummary | None = None
    queued: Number
    queue: tuple[JobSummary, ...] = ()
    ended: Annotated[dict[Name, Number], Field(max_length=16)] = {}
    recent: tuple[JobSummary, ...] = ()
    n_sessions: Number
    sessions: tuple[SessionSummary, ...] = ()
    events: tuple[EventSummary, ...] = ()
    throughput: Throughput


class MetricsReport(Reply):
    """What was counted since the server started, as `meters` describes it."""

    t: Literal["metrics.report"] = "metrics.report"
    uptime_s: Seconds
    meters: tuple[MetricReading, ...]

    def value(self, name: str, **labels: str) -> float:
        """Return a counter, a gauge, or the sum of a histogram; 0 where nothing was counted.

        Labels that are not named are summed over.

        Examples
        --------
        >>> jobs = MetricReading(
        ...     name="jobs_total",
        ...     kind="counter",
        ...     labels=("end",),
        ...     series=((("done",), 3.0, ()), (("failed",), 1.0, ())),
        ... )
        >>> report = MetricsReport(uptime_s=60.0, meters=(jobs,))
        >>> report.value("jobs_total"), report.value("jobs_total", end="failed")
        (4.0, 1.0)
        """
        total = 0.0
        for meter in self.meters:
            if meter.name != name:
                continue
            for values, value, _ in meter.series:
                of = dict(zip(meter.labels, values, strict=True))
                total += value if labels.items() <= of.items() else 0.0
        return total
