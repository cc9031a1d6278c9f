"""What is kept for users after the end of their jobs, and what they were promised to be kept.

A result that nobody has fetched is promised: it stays until somebody fetches or acknowledges it, or
until it is too old. Jobs that have not ended count with the result they may have. Where a user, or
all together, were promised as much as may be, the server takes no other job; so what one user does
never costs another one a result. What was fetched, and what has no result, makes room for results
of the same user, the oldest first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from cim_hal.errors import CapabilityError
from cim_hal.protocol.index import OrderedIndex
from cim_hal.protocol.sharing.sessions import check_quota

if TYPE_CHECKING:
    from cim_hal.protocol.jobs.entry import JobEntry
    from cim_hal.protocol.wire.limits import Limits

__all__ = ["KeptResults"]

HINT = "fetch or acknowledge those that are done (cim-hal jobs), or wait for jobs to end"


@dataclass(eq=False)
class _Kept:
    """What is kept of one user, or of all: number and bytes of what was promised, and the rest."""

    n_jobs: int = 0
    n_bytes: int = 0
    spare: OrderedIndex[JobEntry] = field(default_factory=OrderedIndex)
    spare_bytes: int = 0

    def add(self, job: JobEntry, n_bytes: int, *, is_spare: bool, sign: int = 1) -> None:
        """Count a job; with the sign -1, no more."""
        if not is_spare:
            self.n_jobs += sign
            self.n_bytes += sign * n_bytes
            return
        self.spare_bytes += sign * n_bytes
        if sign > 0:
            self.spare.add(job.by_end, job)
        else:
            self.spare.discard(job.by_end)

    def is_beyond(self, most_jobs: int, most_bytes: int) -> bool:
        """Whether something is to make room, and there is something that may."""
        is_many = self.n_jobs + len(self.spare) > most_jobs and len(self.spare) > 0
        return is_many or (self.n_bytes + self.spare_bytes > most_bytes and self.spare_bytes > 0)

    def beyond(self, most_jobs: int, most_bytes: int) -> Iterator[JobEntry]:
        """Yield what is to make room, the oldest first, until the rest is within the bounds."""
        n_jobs = self.n_jobs + len(self.spare) - most_jobs
        n_bytes, spare_bytes = self.n_bytes + self.spare_bytes - most_bytes, self.spare_bytes
        for job in self.spare.after():
            if n_jobs <= 0 and min(n_bytes, spare_bytes) <= 0:
                return
            yield job
            n_jobs, n_bytes = n_jobs - 1, n_bytes - job.n_bytes
            spare_bytes -= job.n_bytes


class KeptResults:
    """Results of a server by user."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._most_of_one = limits.share("kept_jobs"), limits.share("kept_bytes")
        self._all = _Kept()
        self._users: dict[str, _Kept] = {}
        self._counted: dict[str, tuple[int, bool]] = {}  # bytes, and whether it is spare, by job
        self._by_end: OrderedIndex[JobEntry] = OrderedIndex()
        self._too_many: set[str] = set()  # users who keep more than they may

    def check_room(self, user: str, n_bytes: int) -> None:
        """Refuse another job, of `n_bytes`, where so much is promised already.

        The first one of a user is always taken.
        """
        kept, limits = self._users.get(user), self._limits
        if kept is None or not kept.n_jobs:
            return
        jobs, size = kept.n_jobs + 1, kept.n_bytes + n_bytes
        most_jobs, most_bytes = self._most_of_one
        check_quota(user, "user_kept_jobs", used=jobs, available=most_jobs, hint=HINT)
        check_quota(user, "user_kept_bytes", used=size, available=most_bytes, hint=HINT)
        for what, needs in (
            ("kept_jobs", self._all.n_jobs + 1),
            ("kept_bytes", self._all.n_bytes + n_bytes),
        ):
            available = getattr(limits, what)
            if needs > available:
                raise CapabilityError(what, required=needs, available=available, hint=HINT)

    def update(self, job: JobEntry) -> None:
        """Count a job as what it is now."""
        has_ended = job.has_ended
        is_spare = has_ended and (job.result is None or job.is_fetched)
        counted = job.n_bytes if has_ended else job.expects, is_spare
        if not has_ended and self._counted.get(job.id) == counted:
            return
        self.remove(job)
        self._counted[job.id] = counted
        kept = self._users.setdefault(job.owner, _Kept())
        for each in (self._all, kept):
            each.add(job, counted[0], is_spare=is_spare)
        if has_ended:
            self._by_end.add(job.by_end, job)
        self._note(job.owner, kept)

    def remove(self, job: JobEntry) -> None:
        """Count a job no more."""
        counted = self._counted.pop(job.id, None)
        if counted is None:
            return
        kept = self._users[job.owner]
        for each in (self._all, kept):
            each.add(job, counted[0], is_spare=counted[1], sign=-1)
        self._by_end.discard(job.by_end)
        self._note(job.owner, kept)

    def due(self, now: float, most: int) -> list[JobEntry]:
        """Return results to drop, at most so many: the too old, and what is to make room."""
        due = {job.id: job for job in islice(self._old(now), most)}
        limits = self._limits
        for user in self._too_many:
            kept = self._users[user]
            beyond = kept.beyond(*self._most_of_one)
            due.update((job.id, job) for job in islice(beyond, max(most - len(due), 0)))
        if not due:  # otherwise ask again, when those are gone
            return list(islice(self._beyond_all(limits.kept_jobs, limits.kept_bytes), most))
        return list(due.values())

    def _old(self, now: float) -> Iterator[JobEntry]:
        for job in self._by_end.after():
            if job.ended_at + self._limits.result_s > now:
                return
            yield job

    def _beyond_all(self, most_jobs: int, most_bytes: int) -> Iterator[JobEntry]:
        """Yield what makes room for all, of the user who keeps most that may go."""
        every = self._all
        if not every.is_beyond(most_jobs, most_bytes):
            return iter(())
        n_jobs = max(every.n_jobs + len(every.spare) - most_jobs, 0)
        n_bytes = max(every.n_bytes + every.spare_bytes - most_bytes, 0)
        if n_jobs:
            kept = max(self._users.values(), key=lambda kept: len(kept.spare))
        else:
            kept = max(self._users.values(), key=lambda kept: kept.spare_bytes)
        total = kept.n_jobs + len(kept.spare), kept.n_bytes + kept.spare_bytes
        return kept.beyond(total[0] - n_jobs, total[1] - n_bytes)

    def _note(self, user: str, kept: _Kept) -> None:
        """Note whether a user keeps too much, or nothing any more."""
        if kept.is_beyond(*self._most_of_one):
            self._too_many.add(user)
        else:
            self._too_many.discard(user)
        if not kept.n_jobs and not len(kept.spare):
            del self._users[user]
