"""Log of events, live view and metrics of a server, derived from requests and effects of its core.

Nothing is asked of sessions, jobs or couplings, so they need not know that they are watched;
what happens to them they say in an `Audit`, for the log and for this.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from cim_hal.protocol.effects import Audit, Effect, Reply, Run, Stop
from cim_hal.protocol.wire import messages
from cim_hal.protocol.wire.limits import MAX_SHOWN
from cim_hal.protocol.wire.packet import Kind

if TYPE_CHECKING:
    from cim_hal.errors import Detail
    from cim_hal.protocol.wire.packet import Packet

__all__ = [
    "BUCKET_S",
    "METRICS",
    "N_BUCKETS",
    "Counters",
    "EventLog",
    "JobView",
    "LoggedEvent",
    "Metric",
    "SessionView",
    "ThroughputCounter",
]

MAX_PENDING = 4096
BUCKET_S = 5.0
N_BUCKETS = 60
# A little below the fastest request, to half an hour.
SECONDS = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1800.0)

Key = TypeVar("Key")
Value = TypeVar("Value")


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
        "sessions": Metric("gauge", "Sessions that are open."),
        "queue_depth": Metric("gauge", "Jobs that wait."),
        "jobs_running": Metric("gauge", "Jobs on the machine: 0 or 1."),
        "jobs_total": Metric("counter", "Jobs that ended: done, failed or cancelled.", ("end",)),
        "runs_total": Metric("counter", "Runs of jobs that are done."),
        "queue_wait_seconds": Metric("histogram", "From the acceptance of a job to its start."),
        "run_seconds": Metric("histogram", "From the start of a job to its end."),
        "device_busy_seconds_total": Metric("counter", "Time in which a job was on the machine."),
        "driver_restarts_total": Metric("counter", "Starts of the driver after the first one."),
        "driver_ready": Metric("gauge", "Whether the driver works, 0 or 1."),
        "telemetry_age_seconds": Metric("gauge", "Age of the newest telemetry."),
        "interlocks_open": Metric("gauge", "Open interlocks in the newest telemetry."),
        "reading": Metric("gauge", "Numbers in the newest telemetry.", ("reading", "unit")),
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

    def replace(self, name: str, series: Mapping[tuple[str, ...], float]) -> None:
        """Set all series of a gauge."""
        self._values[name] = dict(series)

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

    def readings(self) -> tuple[messages.MetricReading, ...]:
        """Return all that was counted, as messages carry it."""
        return tuple(self._reading(name, meter) for name, meter in METRICS.items())

    def _reading(self, name: str, meter: Metric) -> messages.MetricReading:
        series = tuple(
            (labels, value, self._counts_of(name, labels, meter))
            for labels, value in self._values[name].items()
        )
        return messages.MetricReading(
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
        busy_s = max(now - since, 0.0) if is_busy else 0.0
        current = self._buckets.get(last)
        if current is not None and since >= last * self._bucket_s:
            current.busy_s += busy_s  # as it is most often: this is called for every message
            return busy_s
        # After a long pause of the server all that is kept is of the pause.
        oldest = last - self._n_buckets + 1
        for index in range(max(int(since // self._bucket_s), oldest), last + 1):
            bucket = self._buckets.setdefault(index, _Bucket())
            begin, end = index * self._bucket_s, (index + 1) * self._bucket_s
            bucket.busy_s += max(min(now, end) - max(since, begin), 0.0) if is_busy else 0.0
        while next(iter(self._buckets)) < oldest:
            del self._buckets[next(iter(self._buckets))]
        return busy_s

    def job_ended(self, n_runs: int) -> None:
        """Count a job that ended, and the runs it did."""
        if self._buckets:
            bucket = self._buckets[next(reversed(self._buckets))]
            bucket.jobs += 1
            bucket.runs += n_runs

    def report(self) -> messages.Throughput:
        """Return the intervals, oldest first."""
        buckets = self._buckets.values()
        return messages.Throughput(
            bucket_s=self._bucket_s,
            jobs=tuple(bucket.jobs for bucket in buckets),
            runs=tuple(bucket.runs for bucket in buckets),
            busy_s=tuple(bucket.busy_s for bucket in buckets),
        )


@dataclass(eq=False)
class SessionView:
    """A session, from its hello to its end."""

    user: str
    client: str
    opened: float
    seen: float


@dataclass(eq=False)
class JobView:
    """A job, from its acceptance to its end."""

    id: str
    user: str
    facts: Mapping[str, Detail]
    accepted: float
    started: float | None = None
    expected_s: float | None = None
    progress: float | None = None
    is_stopping: bool = False
    ended: float | None = None
    end: Mapping[str, Detail] | None = None


@dataclass(frozen=True)
class LoggedEvent:
    """An event of the audit log, and when."""

    what: Audit
    at: float


class EventLog:
    """Views of sessions and jobs, recent events and counters; `now` only grows."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.throughput = ThroughputCounter()
        self.began: float | None = None
        self.sessions: dict[str, SessionView] = {}
        self.waiting: dict[str, JobView] = {}
        self.running: JobView | None = None
        self.recent: deque[JobView] = deque(maxlen=MAX_SHOWN)
        self.events: deque[LoggedEvent] = deque(maxlen=MAX_SHOWN)
        self.ended: Counter[str] = Counter()
        self._pending: OrderedDict[tuple[bytes, bytes], tuple[Any, float]] = OrderedDict()
        self._uploads: OrderedDict[str, float] = OrderedDict()

    def asked(self, peer: bytes, request: Packet, now: float) -> None:
        """Take note of a request before it is answered."""
        self.advance(now)
        _put(self._pending, (peer, request.id), (request.body, now))
        if isinstance(request.body, messages.CouplingChunk):
            self.counters.count("upload_bytes_total", by=sum(b.nbytes for b in request.buffers))
        session = self.sessions.get(_short(request.session))
        if session is not None:
            session.seen = now

    def progressed(self, job: str, done: int, total: int) -> None:
        """Take note of how far the running job is."""
        if self.running is not None and self.running.id == job and total > 0:
            self.running.progress = min(done / total, 1.0)

    def noted(self, effects: list[Effect], now: float) -> list[Effect]:
        """Take note of effects, and return them."""
        if effects:
            self.advance(now)
        for effect in effects:
            match effect:
                case Reply() if effect.packet.kind is Kind.REPLY:
                    self._replied(effect, now)
                case Run():
                    self._started(effect.job, now)
                case Stop() if self.running is not None and self.running.id == effect.job:
                    self.running.is_stopping = True
                case Audit():
                    self._happened(effect, now)
                case _:
                    pass
        return effects

    def advance(self, now: float) -> None:
        """Let time pass, which counts as busy while a job runs."""
        if self.began is None:
            self.began = now
        busy_s = self.throughput.advance(now, is_busy=self.running is not None)
        if busy_s:
            self.counters.count("device_busy_seconds_total", by=busy_s)

    def _replied(self, reply: Reply, now: float) -> None:
        body: Any = reply.packet.body
        if isinstance(body, messages.UploadOpened):
            _put(self._uploads, body.upload, now)
        asked, at = self._pending.pop((reply.peer, reply.packet.id), (None, now))
        if asked is None:  # a reply to one of those that were sent again
            return
        outcome = body.code if isinstance(body, messages.ErrorMessage) else "ok"
        self.counters.count("requests_total", asked.t, outcome)
        self.counters.observe("request_seconds", now - at, asked.t)
        if isinstance(asked, messages.CommitCouplings) and isinstance(
            body, messages.CouplingsLoaded
        ):
            opened = self._uploads.pop(asked.upload, None)
            if opened is not None:
                self.counters.observe("upload_seconds", now - opened)

    def _happened(self, what: Audit, now: float) -> None:
        self.events.appendleft(LoggedEvent(what, now))
        facts = what.facts
        match what.event:
            case "session":
                client = str(facts.get("client", ""))
                life = SessionView(what.user.name, client, now, now)
                self.sessions[str(facts.get("session"))] = life
            case "session ended":
                self.sessions.pop(str(facts.get("session")), None)
            case "job":
                job = str(facts.get("job"))
                self.waiting[job] = JobView(job, what.user.name, facts, now)
            case "job started" if self.running is not None:
                expected_s = facts.get("expected_s")
                self.running.expected_s = None if expected_s is None else float(expected_s)
            case "job ended":
                self._ended(str(facts.get("job")), facts, now)
            case _:
                pass

    def _started(self, job: str, now: float) -> None:
        life = self.waiting.pop(job, None)
        if life is None:
            return
        life.started, self.running = now, life
        self.counters.observe("queue_wait_seconds", now - life.accepted)

    def _ended(self, job: str, facts: Mapping[str, Detail], now: float) -> None:
        life = self.waiting.pop(job, None)
        if life is None and self.running is not None and self.running.id == job:
            life, self.running = self.running, None
        if life is None:
            return
        life.ended, life.end = now, facts
        state = str(facts.get("state"))
        n_runs = int(life.facts.get("n_runs") or 0) if state == "done" else 0
        self.recent.appendleft(life)
        self.ended[state] += 1
        self.throughput.job_ended(n_runs)
        self.counters.count("jobs_total", state)
        self.counters.count("runs_total", by=n_runs)
        if life.started is not None:
            self.counters.observe("run_seconds", now - life.started)


def _short(session: str) -> str:
    return session[-8:]


def _put(known: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    """Remember a value; beyond `MAX_PENDING` the oldest are forgotten."""
    known[key] = value
    if len(known) > MAX_PENDING:
        known.popitem(last=False)
