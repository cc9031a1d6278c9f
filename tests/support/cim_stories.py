"""What may become of jobs: told by the records of a journal, each checked as it comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cim_hal.protocol.jobs.records import Accepted, Dropped, Ended, Forgotten, Started
from cim_hal.protocol.jobs.state import TERMINAL, JobEvent, JobState, after

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cim_hal.protocol.jobs.records import Record
    from cim_hal.protocol.wire.results import Result

__all__ = ["Stories", "Story"]

S = JobState


@dataclass(eq=False)
class Story:
    """One job.

    Attributes
    ----------
    session : str
        The session it goes with; empty where it is kept for its user.
    event : JobEvent or None
        What its machine made of it; None before it spoke.
    measured, delivered : Result or None
        What the machine measured, and what it handed over before.
    kept : Result or None
        What was written of it.
    may_go : bool
        Whether its result may be dropped before it is old.
    told, seq : JobState, int
        What clients heard of it last.
    """

    user: str
    digest: bytes
    session: str
    state: JobState = S.QUEUED
    is_stopping: bool = False
    event: JobEvent | None = None
    result: Result | None = None
    delivered: Result | None = None
    kept: Result | None = None
    reason: str = ""
    ended_at: float = 0.0
    may_go: bool = False
    is_gone: bool = False
    was_run: bool = False
    told: JobState = S.QUEUED
    seq: int = 0

    @property
    def has_ended(self) -> bool:
        return self.state in TERMINAL

    @property
    def ready(self) -> Result | None:
        """What can be fetched of it, finished or not."""
        if self.has_ended:
            return None if self.is_gone else self.kept
        return self.delivered

    def end(self) -> tuple[JobState, str]:
        """How it ends, and why: by what the machine said and what was asked of it."""
        if self.event is None:
            return S.FAILED, "device.restarted"
        state = after(S.STOPPING if self.is_stopping else S.RUNNING, self.event)
        if state is S.DONE:
            return state, ""
        # A session that ended is the reason of its jobs, whatever the machine said.
        failed = self.event is JobEvent.FAULT and not self.may_go
        return state, "device.driver_fault" if failed else "job.cancelled"


class Stories:
    """All jobs by id, as the records tell of them; a record that cannot be is an error."""

    def __init__(self, *, result_s: float, key_s: float) -> None:
        self._result_s = result_s
        self._key_s = key_s
        self.jobs: dict[str, Story] = {}
        self.n_taken = 0

    def count(self, state: JobState) -> int:
        return sum(story.state is state for story in self.jobs.values())

    def of(self, user: str) -> dict[str, Story]:
        return {job: story for job, story in self.jobs.items() if story.user == user}

    def take(self, record: Record, now: float) -> None:
        """Take the next record."""
        self.n_taken += 1
        match record:
            case Accepted(job=job):
                assert job not in self.jobs, "a key that is known was taken again"
                session = "" if record.request.keep else "?"
                self.jobs[job] = Story(record.user.name, record.digest, session)
            case Started(job=job):
                self._start(job)
            case Ended(job=job, next=following):
                self._end(self.jobs[job], record, now)
                if following:
                    self._start(following)
            case Dropped(jobs=jobs):
                self._drop(jobs, now)
            case Forgotten(jobs=jobs):
                for job in jobs:
                    story = self.jobs.pop(job)
                    assert story.is_gone, "a key was forgotten before its result"
                    assert story.ended_at + self._key_s <= now, "a key was forgotten early"

    def _start(self, job: str) -> None:
        assert self.jobs[job].state is S.QUEUED, "a job was started that does not wait"
        assert self.count(S.RUNNING) == 0, "two jobs run"
        self.jobs[job].state = S.RUNNING

    def _end(self, story: Story, record: Ended, now: float) -> None:
        assert record.at <= now
        assert not story.has_ended, "a job ended twice"
        assert (record.error is None) == (record.state is S.DONE)
        reason = "" if record.error is None else record.error.code
        end = (S.CANCELLED, "job.cancelled") if story.state is S.QUEUED else story.end()
        assert (record.state, reason) == end
        is_kept = record.state is S.DONE or story.delivered is not None
        assert record.result is (story.result or story.delivered if is_kept else None)
        story.kept = record.result
        story.state, story.ended_at = record.state, record.at
        story.reason = reason

    def _drop(self, jobs: Iterable[str], now: float) -> None:
        for story in map(self.jobs.__getitem__, jobs):
            assert story.has_ended, "the result of a job that goes on was dropped"
            is_old = story.ended_at + self._result_s <= now
            assert story.may_go or is_old, "a result was dropped that nobody let go of"
            story.is_gone = True
