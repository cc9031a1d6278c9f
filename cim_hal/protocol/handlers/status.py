"""Handlers of the requests for status and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from math import isinf
from typing import TYPE_CHECKING

from cim_hal.machine.telemetry import DriverPhase
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire import messages
from cim_hal.protocol.wire.limits import MAX_SHOWN

if TYPE_CHECKING:
    from cim_hal.errors import Detail
    from cim_hal.protocol.effects import Handlers
    from cim_hal.protocol.handlers.control import SafetyHandlers
    from cim_hal.protocol.handlers.instruments import InstrumentHandlers
    from cim_hal.protocol.jobs.records import Stopped
    from cim_hal.protocol.monitoring import Counters, JobView, LoggedEvent, SessionView
    from cim_hal.protocol.server_state import ServerState
    from cim_hal.protocol.sharing.locks import Lock

__all__ = ["StatusHandlers"]

MAX_SESSIONS = 32
MAX_NAME, MAX_FACTS, MAX_SENTENCE = 100, 16, 200


class StatusHandlers:
    """Puts reports together; changes nothing."""

    def __init__(
        self,
        state: ServerState,
        instruments: InstrumentHandlers,
        safety: SafetyHandlers,
        *,
        software: str,
        instance: str,
    ) -> None:
        self._events = state.events
        self._locks = state.locks
        self._instruments = instruments
        self._safety = safety
        self._device = state.capabilities.name
        self._software = software
        self._instance = instance
        self.handlers: Handlers = {
            messages.AskStatus: lambda _asked, _, now: self.status(now),
            messages.AskMetrics: lambda _asked, _, now: self.metrics(now),
        }

    def status(self, now: float) -> messages.StatusReport:
        """Return what goes on."""
        seen, machine = self._events, self._instruments.status(now)
        return messages.StatusReport(
            device=self._device,
            software=self._software,
            instance=self._instance,
            uptime_s=self._uptime(now),
            state=self._state(machine.driver.phase),
            machine=machine,
            lock=self._locks.lock and _lock(self._locks.lock, now),
            stop=self._safety.stopped and _stop(self._safety.stopped, now),
            running=seen.running and _job(seen.running, now),
            queued=len(seen.waiting),
            queue=tuple(_job(job, now) for job in islice(seen.waiting.values(), MAX_SHOWN)),
            ended=dict(seen.ended),
            recent=tuple(_job(job, now) for job in seen.recent),
            n_sessions=len(seen.sessions),
            sessions=tuple(
                _session(token, life, now)
                for token, life in islice(seen.sessions.items(), MAX_SESSIONS)
            ),
            events=tuple(_event(event, now) for event in seen.events),
            throughput=seen.throughput.report(),
        )

    def metrics(self, now: float) -> messages.MetricsReport:
        """Return what was counted."""
        seen = self._events
        seen.counters.set("sessions", len(seen.sessions))
        seen.counters.set("queue_depth", len(seen.waiting))
        seen.counters.set("jobs_running", int(seen.running is not None))
        _count_machine(seen.counters, self._instruments.status(now))
        return messages.MetricsReport(uptime_s=self._uptime(now), meters=seen.counters.readings())

    def _state(self, phase: DriverPhase) -> messages.MachineState:
        running = self._events.running
        if self._safety.stopped is not None:
            return "stopped"
        match phase:
            case DriverPhase.STARTING:
                return "starting"
            case DriverPhase.BROKEN:
                return "broken"
            case _ if running is None:
                return "idle"
            case _:
                return "stopping" if running.is_stopping else "running"

    def _uptime(self, now: float) -> float:
        return max(now - (now if self._events.began is None else self._events.began), 0.0)


def _count_machine(counters: Counters, machine: messages.DeviceStatus) -> None:
    telemetry = machine.telemetry
    readings = telemetry.readings if telemetry else ()
    counters.set("driver_restarts_total", machine.driver.restarts)
    counters.set("driver_ready", float(machine.driver.phase is DriverPhase.READY))
    counters.set("telemetry_age_seconds", machine.age_s)
    counters.set("interlocks_open", len(telemetry.open_interlocks) if telemetry else 0)
    numbers = {(r.name, r.unit): float(r.value) for r in readings if not isinstance(r.value, str)}
    counters.replace("reading", numbers)


def _lock(lock: Lock, now: float) -> messages.LockSummary:
    left = lock.ends_at - now
    return messages.LockSummary(
        holder=_cut(lock.user.name),
        note=_cut(lock.note, MAX_SENTENCE),
        epoch=lock.epoch,
        expires_in_s=None if isinf(left) else max(left, 0.0),
    )


def _stop(stopped: Stopped, now: float) -> messages.StopSummary:
    return messages.StopSummary(
        by=_cut(stopped.by),
        reason=_cut(stopped.reason, MAX_SENTENCE),
        for_s=max(now - stopped.since, 0.0),
    )


def _job(life: JobView, now: float) -> messages.JobSummary:
    end = life.end or {}
    started = life.started if life.started is not None else life.ended
    return messages.JobSummary(
        job=life.id,
        user=_cut(life.user),
        state=_job_state(life),
        n_spins=_number(life.facts, "n_spins"),
        n_runs=_number(life.facts, "n_runs"),
        round_trips=_number(life.facts, "round_trips"),
        waited_s=max((now if started is None else started) - life.accepted, 0.0),
        ran_s=0.0 if life.started is None else (life.ended or now) - life.started,
        expected_s=None if life.expected_s is None else max(life.expected_s, 0.0),
        progress=life.progress,
        ended_ago_s=None if life.ended is None else max(now - life.ended, 0.0),
        reason=_cut(str(end.get("reason") or "")),
        message=_cut(str(end.get("message") or ""), MAX_SENTENCE),
    )


def _job_state(life: JobView) -> JobState:
    if life.end is not None:
        return JobState(str(life.end.get("state")))
    if life.started is None:
        return JobState.QUEUED
    return JobState.STOPPING if life.is_stopping else JobState.RUNNING


def _session(token: str, life: SessionView, now: float) -> messages.SessionSummary:
    return messages.SessionSummary(
        session=token,
        user=_cut(life.user),
        client=_cut(life.client),
        age_s=max(now - life.opened, 0.0),
        idle_s=max(now - life.seen, 0.0),
    )


def _event(event: LoggedEvent, now: float) -> messages.EventSummary:
    facts = islice(event.what.facts.items(), MAX_FACTS)
    return messages.EventSummary(
        event=_cut(event.what.event),
        user=_cut(event.what.user.name),
        ago_s=max(now - event.at, 0.0),
        facts={_cut(name): _fitting(value) for name, value in facts},
    )


def _number(facts: Mapping[str, Detail], name: str) -> int:
    return int(facts.get(name) or 0)


def _fitting(value: Detail) -> Detail:
    return _cut(value) if isinstance(value, str) else value


def _cut(text: str, length: int = MAX_NAME) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
