"""Answers to those who watch: what goes on, and what was counted."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from cim_hal.protocol.activity import MAX_SHOWN
from cim_hal.protocol.monitoring import (
    EventSeen,
    JobSeen,
    MachineState,
    MetricsReport,
    SessionSeen,
    StatusReport,
)
from cim_hal.protocol.state import JobState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cim_hal.errors import Detail
    from cim_hal.protocol.activity import Activity, Happened, JobLife, SessionLife

__all__ = ["StatusDesk"]

MAX_SESSIONS = 32
MAX_NAME, MAX_FACTS, MAX_SENTENCE = 100, 16, 200


class StatusDesk:
    """Puts reports together; read-only.

    Parameters
    ----------
    activity : Activity
    device : str
        Name of the machine.
    software : str
        Name and version of the server.
    instance : str
        Token of this start of the server.
    """

    def __init__(self, activity: Activity, *, device: str, software: str, instance: str) -> None:
        self._activity = activity
        self._device = device
        self._software = software
        self._instance = instance

    def status(self, now: float) -> StatusReport:
        """Return what goes on."""
        seen = self._activity
        return StatusReport(
            device=self._device,
            software=self._software,
            instance=self._instance,
            uptime_s=self._uptime(now),
            state=self._state(),
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
            throughput=seen.tempo.report(),
        )

    def metrics(self, now: float) -> MetricsReport:
        """Return what was counted."""
        seen = self._activity
        seen.meters.set("sessions", len(seen.sessions))
        seen.meters.set("queue_depth", len(seen.waiting))
        seen.meters.set("jobs_running", int(seen.running is not None))
        return MetricsReport(uptime_s=self._uptime(now), meters=seen.meters.readings())

    def _state(self) -> MachineState:
        running = self._activity.running
        if running is None:
            return "idle"
        return "stopping" if running.is_stopping else "running"

    def _uptime(self, now: float) -> float:
        return max(now - (now if self._activity.began is None else self._activity.began), 0.0)


def _job(life: JobLife, now: float) -> JobSeen:
    end = life.end or {}
    started = life.started if life.started is not None else life.ended
    return JobSeen(
        job=life.id,
        user=_cut(life.user),
        state=_job_state(life),
        n_spins=_number(life.facts, "n_spins"),
        n_runs=_number(life.facts, "n_runs"),
        round_trips=_number(life.facts, "round_trips"),
        waited_s=max((now if started is None else started) - life.accepted, 0.0),
        ran_s=0.0 if life.started is None else (life.ended or now) - life.started,
        ended_ago_s=None if life.ended is None else max(now - life.ended, 0.0),
        reason=_cut(str(end.get("reason") or "")),
        message=_cut(str(end.get("message") or ""), MAX_SENTENCE),
    )


def _job_state(life: JobLife) -> JobState:
    if life.end is not None:
        return JobState(str(life.end.get("state")))
    if life.started is None:
        return JobState.QUEUED
    return JobState.STOPPING if life.is_stopping else JobState.RUNNING


def _session(token: str, life: SessionLife, now: float) -> SessionSeen:
    return SessionSeen(
        session=token,
        user=_cut(life.user),
        client=_cut(life.client),
        age_s=max(now - life.opened, 0.0),
        idle_s=max(now - life.seen, 0.0),
    )


def _event(event: Happened, now: float) -> EventSeen:
    facts = islice(event.what.facts.items(), MAX_FACTS)
    return EventSeen(
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
