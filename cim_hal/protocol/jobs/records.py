"""What a journal keeps of the life of a job: one record for each move that must outlast a crash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from cim_hal.model.record import LoweringReport
    from cim_hal.model.schedule import PumpSchedule
    from cim_hal.protocol.jobs.state import JobState
    from cim_hal.protocol.wire.base import ErrorMessage
    from cim_hal.protocol.wire.messages.jobs import Sample
    from cim_hal.protocol.wire.results import Result
    from cim_hal.protocol.wire.roles import User

__all__ = [
    "MAY_BE_UNDONE",
    "Accepted",
    "Dropped",
    "Ended",
    "EpochRecord",
    "Fetched",
    "Forgotten",
    "Record",
    "Returned",
    "Saved",
    "Started",
    "Stopped",
]


@dataclass(frozen=True, eq=False)
class Accepted:
    """A job was taken; written before its client is told.

    `digest` tells its request from others with the same key; see `body_digest`.
    """

    job: str
    user: User
    request: Sample
    digest: bytes
    schedule: PumpSchedule
    report: LoweringReport
    at: float


@dataclass(frozen=True, eq=False)
class Started:
    """A job is about to run; written before the machine is touched."""

    job: str


@dataclass(frozen=True, eq=False)
class Returned:
    """A job that was about to run waits again: its server ends, and no driver has begun it."""

    job: str


@dataclass(frozen=True, eq=False)
class Ended:
    """A job is over; written, with what was measured, before anybody is told.

    The job that has the machine `next` is about to start: that is the same record, so that between
    two jobs the machine waits for the disk once.
    """

    job: str
    state: JobState
    error: ErrorMessage | None
    result: Result | None
    at: float
    next: str = ""


@dataclass(frozen=True, eq=False)
class Fetched:
    """Results were fetched whole: from now on they make room for others of the same user."""

    jobs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Dropped:
    """Results were acknowledged or have expired; the keys of their jobs stay."""

    jobs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Forgotten:
    """Keys are old enough to be forgotten, jobs and all."""

    jobs: tuple[str, ...]


@dataclass(frozen=True)
class Stopped:
    """An emergency stop that holds."""

    number: int  # a reset names it, so that no late one undoes a stop it does not know of
    by: str
    reason: str
    since: float


@dataclass(frozen=True, eq=False)
class EpochRecord:
    """The last number of a lock or a stop, and the stop that holds; written before it is told."""

    number: int
    stopped: Stopped | None


Record: TypeAlias = (
    Accepted | Started | Returned | Ended | Fetched | Dropped | Forgotten | EpochRecord
)
# What a crash may undo without harm: results and keys are there again, and will be dropped again.
MAY_BE_UNDONE = (Fetched, Dropped, Forgotten)


@dataclass(frozen=True, eq=False)
class Saved:
    """A job as a journal knows it when a server starts.

    `accepted` is None once the result was dropped: what is left is the key and how it ended.
    `state` is `queued`, `running` where the server died in mid-run, or terminal; `is_fetched` says
    that the result was fetched whole.
    """

    job: str
    user: str
    digest: bytes
    state: JobState
    error: ErrorMessage | None
    accepted: Accepted | None
    result: Result | None
    ended_at: float
    is_fetched: bool = False
