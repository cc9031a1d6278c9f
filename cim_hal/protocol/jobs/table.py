"""All jobs a server knows: open ones, ended ones with their results, and the keys of the others.

What is kept after the end of a job is ordered by that end, whatever the order in which it came
here: so results expire and are evicted in the same order before and after a restart.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from cim_hal.errors import ConflictError, KeyLimitError, UnknownReferenceError
from cim_hal.protocol.wire.messages.jobs import JobStatus

if TYPE_CHECKING:
    from cim_hal.protocol.jobs.entry import JobEntry
    from cim_hal.protocol.jobs.state import JobState
    from cim_hal.protocol.wire.base import ErrorMessage
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.wire.messages.jobs import Sample
    from cim_hal.protocol.wire.roles import User

__all__ = ["ClosedJob", "IdempotencyRules", "JobTable", "body_digest", "job_id"]

DIGEST_BYTES = 16


@dataclass(frozen=True)
class IdempotencyRules:
    """How long keys are remembered, and how many.

    A key is remembered as long as its job, and `kept_s` after the end of it. Where `max_keys`
    of them are remembered no new job is taken: a young key is never forgotten for it.
    """

    kept_s: float = 86_400.0
    max_keys: int = 1_000_000  # each about 300 bytes of memory, and 200 on disk


def job_id(user: str, key: str) -> str:
    """Return the id of the job that `key` makes for `user`: 32 hexadecimal digits.

    It follows from the two alone, so one table finds jobs by key and by id, and a key means the
    same job before and after a restart.
    """
    text = f"cim-hal job\n{user}\n{key}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def body_digest(request: Sample) -> bytes:
    """Return 16 bytes that tell requests with other fields apart; the key is not among them.

    Fields at their defaults do not count: a later version may add some.
    """
    fields = request.model_dump(exclude_defaults=True, exclude={"key"})
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).digest()[:DIGEST_BYTES]


@dataclass(frozen=True, eq=False, slots=True)
class ClosedJob:
    """What is remembered of a job whose result is gone, so that its key never runs again."""

    id: str
    owner: str
    digest: bytes
    state: JobState
    error: ErrorMessage | None
    ended_at: float

    def status(self) -> JobStatus:
        """Return the message that says how the job ended."""
        return JobStatus(job=self.id, state=self.state, error=self.error, gone=True)


class JobTable:
    """Jobs by id, bounded in age, number and bytes of what is kept after their end."""

    def __init__(self, limits: Limits, rules: IdempotencyRules | None = None) -> None:
        self._limits = limits
        self._rules = rules or IdempotencyRules()
        self._jobs: dict[str, JobEntry] = {}
        self._closed: dict[str, ClosedJob] = {}
        # Both sorted by the end of the job: those with a result, and those without.
        self._kept: list[JobEntry] = []
        self._keys: list[ClosedJob] = []
        self._n_bytes = 0

    # ---- what is known ----------------------------------------------------------------------

    def get(self, user: User, job: str, *, of_others: bool = False) -> JobEntry | ClosedJob:
        """Return a job of a user, or with `of_others` of anybody; else `UnknownReferenceError`."""
        known = self._jobs.get(job) or self._closed.get(job)
        if known is None or (known.owner != user.name and not of_others):
            raise UnknownReferenceError(
                "the server does not know that job",
                hint="its key was forgotten, or it is of another user",
                kind="job",
                job=job,
            )
        return known

    def find(self, user: User, request: Sample) -> JobEntry | ClosedJob | None:
        """Return the job that this very request made before, if it did.

        `ConflictError` if its key was used before for another request.
        """
        job = job_id(user.name, request.key)
        known = self._jobs.get(job) or self._closed.get(job)
        if known is not None and known.digest != body_digest(request):
            raise ConflictError(
                "the idempotency key was used before, for another request",
                hint="make a new key for each submission",
                job=job,
            )
        return known

    def listed(self, user: User | None, after: str | None = None) -> list[JobEntry]:
        """Return the jobs of a user, or of all, that are not closed, the first accepted first.

        Only those whose cursor follows `after`, which need not be that of a job.
        """
        jobs = [
            job
            for job in self._jobs.values()
            if (user is None or job.owner == user.name) and (after is None or job.cursor > after)
        ]
        return sorted(jobs, key=lambda job: job.cursor)

    def of_session(self, session: str) -> list[JobEntry]:
        """Return the jobs that end with a session."""
        return [job for job in self._jobs.values() if job.session == session]

    # ---- changes ----------------------------------------------------------------------------

    def add(self, job: JobEntry) -> None:
        """Add a job; one that has ended already is kept from now on."""
        self._jobs[job.id] = job
        if job.has_ended:
            self.keep(job)

    def keep(self, job: JobEntry) -> None:
        """Keep a job that has ended, in its place by its end."""
        insort(self._kept, job, key=_by_end)
        self._n_bytes += job.n_bytes

    def close(self, jobs: Iterable[JobEntry]) -> None:
        """Drop the results of jobs that have ended; their keys stay."""
        for job in jobs:
            at = bisect_left(self._kept, _by_end(job), key=_by_end)
            if self._jobs.get(job.id) is job and self._kept[at : at + 1] == [job]:
                del self._kept[at], self._jobs[job.id]
                self._n_bytes -= job.n_bytes
                self.add_closed(
                    ClosedJob(job.id, job.owner, job.digest, job.state, job.error, job.ended_at)
                )

    def add_closed(self, closed: ClosedJob) -> None:
        """Remember the key of a job without a result."""
        self._closed[closed.id] = closed
        insort(self._keys, closed, key=_by_end_and_id)

    def forget(self, jobs: Iterable[str]) -> None:
        """Forget the keys of closed jobs."""
        gone = {job for job in jobs if self._closed.pop(job, None) is not None}
        n = len(gone)
        if {closed.id for closed in self._keys[:n]} == gone:  # as it is unless one came late
            del self._keys[:n]
        else:
            self._keys = [closed for closed in self._keys if closed.id not in gone]

    # ---- bounds -----------------------------------------------------------------------------

    def due(self, now: float) -> list[JobEntry]:
        """Return the results to drop: the too old, and from the oldest on the too many.

        The newest, of all and of each user, stays however large it is.
        """
        limits, due = self._limits, []
        n_bytes, n_jobs = self._n_bytes, len(self._kept)
        for job in self._kept:
            is_old = job.ended_at + limits.result_s <= now
            is_much = n_jobs > 1 and (n_bytes > limits.kept_bytes or n_jobs > limits.kept_jobs)
            if not (is_old or is_much):
                break
            due.append(job)
            n_bytes, n_jobs = n_bytes - job.n_bytes, n_jobs - 1
        return due + self._beyond_quota(len(due))

    def expired(self, now: float) -> tuple[str, ...]:
        """Return the closed jobs whose keys may be forgotten."""
        kept_s = self._rules.kept_s
        old = takewhile(lambda closed: closed.ended_at + kept_s <= now, self._keys)
        return tuple(closed.id for closed in old)

    def check_room(self, now: float, n_coming: int = 0) -> None:
        """Refuse another job where as many keys are remembered, or coming, as may be."""
        n_keys = len(self._jobs) + len(self._closed) + n_coming
        if n_keys < self._rules.max_keys:
            return
        kept_s = self._rules.kept_s
        wait_s = max(self._keys[0].ended_at + kept_s - now, 0.0) if self._keys else kept_s
        raise KeyLimitError(
            f"the server remembers the keys of {n_keys} jobs, which is the most it may",
            hint=f"the oldest is forgotten in {wait_s:.0f} s",
            max_keys=self._rules.max_keys,
            retry_after_s=wait_s,
        )

    def _beyond_quota(self, n_due: int) -> list[JobEntry]:
        """Return what users keep beyond their quota, past the first `n_due` jobs."""
        most = self._limits.user_kept_bytes
        if most is None:
            return []
        kept: Counter[str] = Counter()
        beyond: list[JobEntry] = []
        for job in reversed(self._kept[n_due:]):  # the newest first
            is_newest = job.owner not in kept
            kept[job.owner] += job.n_bytes
            if kept[job.owner] > most and not is_newest:
                beyond.append(job)
        return beyond[::-1]


def _by_end(job: JobEntry) -> tuple[float, float, str]:
    return job.ended_at, job.accepted.at, job.id


def _by_end_and_id(closed: ClosedJob) -> tuple[float, str]:
    return closed.ended_at, closed.id
