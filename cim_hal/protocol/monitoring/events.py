"""Log of events and live view of a server, derived from the requests and effects of its core.

Nothing is asked of sessions, jobs or couplings, so they need not know that they are watched;
what happens to them they say in an `Audit`, for the log and for this.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from cim_hal.protocol.effects import Audit, Effect, Reply, Run, Stop
from cim_hal.protocol.monitoring.counters import Counters, ThroughputCounter
from cim_hal.protocol.wire.messages import (
    CommitCouplings,
    CouplingChunk,
    CouplingsLoaded,
    ErrorMessage,
    UploadOpened,
)
from cim_hal.protocol.wire.packet import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cim_hal.errors import Detail
    from cim_hal.protocol.wire.packet import Packet

__all__ = ["MAX_SHOWN", "EventLog", "JobView", "LoggedEvent", "SessionView"]

MAX_SHOWN = 16  # jobs and events that are remembered for those who look
MAX_PENDING = 4096

Key = TypeVar("Key")
Value = TypeVar("Value")


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
        self._advance(now)
        _put(self._pending, (peer, request.id), (request.body, now))
        if isinstance(request.body, CouplingChunk):
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
        self._advance(now)
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

    def _advance(self, now: float) -> None:
        if self.began is None:
            self.began = now
        busy_s = self.throughput.advance(now, is_busy=self.running is not None)
        if busy_s:
            self.counters.count("device_busy_seconds_total", by=busy_s)

    def _replied(self, reply: Reply, now: float) -> None:
        body: Any = reply.packet.body
        if isinstance(body, UploadOpened):
            _put(self._uploads, body.upload, now)
        asked, at = self._pending.pop((reply.peer, reply.packet.id), (None, now))
        if asked is None:  # a reply to one of those that were sent again
            return
        outcome = body.code if isinstance(body, ErrorMessage) else "ok"
        self.counters.count("requests_total", asked.t, outcome)
        self.counters.observe("request_seconds", now - at, asked.t)
        if isinstance(asked, CommitCouplings) and isinstance(body, CouplingsLoaded):
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
