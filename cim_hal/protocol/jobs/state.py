"""States of a job, and the events that change them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

__all__ = ["JOB", "TERMINAL", "JobEvent", "JobState", "after"]


class JobState(StrEnum):
    """State of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    STOPPING = "stopping"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobEvent(StrEnum):
    """Events in the life of a job."""

    START = "start"
    MEASURE = "measure"
    FAULT = "fault"
    CANCEL = "cancel"
    STOPPED = "stopped"


S, E = JobState, JobEvent

JOB: Mapping[JobState, Mapping[JobEvent, JobState]] = MappingProxyType(
    {
        S.QUEUED: {E.START: S.RUNNING, E.CANCEL: S.CANCELLED},
        S.RUNNING: {
            E.MEASURE: S.DONE,
            E.FAULT: S.FAILED,
            E.STOPPED: S.CANCELLED,
            E.CANCEL: S.STOPPING,
        },
        # A machine may finish, or fail, before it sees that it should stop.
        S.STOPPING: {
            E.MEASURE: S.CANCELLED,
            E.FAULT: S.FAILED,
            E.STOPPED: S.CANCELLED,
            E.CANCEL: S.STOPPING,
        },
        # Cancelling twice, or after the end, changes nothing.
        S.DONE: {E.CANCEL: S.DONE},
        S.FAILED: {E.CANCEL: S.FAILED},
        S.CANCELLED: {E.CANCEL: S.CANCELLED},
    }
)

TERMINAL: frozenset[JobState] = frozenset({S.DONE, S.FAILED, S.CANCELLED})


def after(state: JobState, event: JobEvent) -> JobState:
    """Return the state that `event` leads to; a move that is not in the table is a `KeyError`."""
    return JOB[state][event]
