"""What waits: jobs for their record, requests for that of a job, and peers for news of jobs.

What open jobs need is counted here too: couplings, and sessions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any

from cim_hal.protocol.sharing.sessions import check_quota

if TYPE_CHECKING:
    from cim_hal.protocol.effects import Effect, Then
    from cim_hal.protocol.jobs.entry import JobEntry, Waiter
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.wire.messages.couplings import CouplingRef

__all__ = ["JobNeeds", "JobWaits", "PendingJobs"]

STALE = 64  # deadlines of waits that are over, kept whatever the number of the others


class PendingJobs:
    """Jobs that nobody knows of before their record is written, and what is to be done then."""

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[JobEntry, list[Then]]] = {}

    def __iter__(self) -> Iterator[JobEntry]:
        return iter([job for job, _ in self._jobs.values()])

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job: object) -> bool:
        return job in self._jobs

    def add(self, job: JobEntry) -> None:
        """Add a job whose record is asked for."""
        self._jobs[job.id] = job, []

    def after(self, job: str, then: Then) -> bool:
        """Go on with `then` once it is known whether a job is accepted; False if none is written.

        What has the same idempotency key can be answered only then.
        """
        if job not in self._jobs:
            return False
        self._jobs[job][1].append(then)
        return True

    def remove(self, job: JobEntry) -> Then:
        """Remove a job whose record has its outcome; return what does all that waited for it."""
        _, waiting = self._jobs.pop(job.id)

        def go_on(now: float) -> list[Effect]:
            return [effect for then in waiting for effect in then(now)]

        return go_on


class JobNeeds:
    """Counts jobs that wait or run, by couplings of a digest, one lowering of them, and session."""

    def __init__(self) -> None:
        self._counts: Counter[str | CouplingRef] = Counter()
        self.sessions: Counter[str] = Counter()  # with whose end jobs would be cancelled

    def __contains__(self, coupling: object) -> bool:
        return coupling in self._counts

    def add(self, job: JobEntry) -> None:
        """Count a job."""
        coupling = job.request.coupling
        self._counts.update((coupling.digest, coupling))
        if job.session:
            self.sessions[job.session] += 1

    def remove(self, job: JobEntry) -> None:
        """Count a job no more."""
        coupling = job.request.coupling
        for key in (coupling.digest, coupling):
            _count_down(self._counts, key)
        if job.session:
            _count_down(self.sessions, job.session)


def _count_down(counts: Counter[Any], key: object) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


class JobWaits:
    """Peers that wait for jobs, so many of each user; a job keeps its own: `JobEntry.waiters`.

    No change of a job looks at all of them.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._counts: Counter[str] = Counter()
        self._n_waits = 0
        self._deadlines: list[tuple[float, int, JobEntry, Waiter]] = []
        self._number = 0

    def add(self, job: JobEntry, waiter: Waiter, now: float) -> list[Effect]:
        """Answer a peer now, or let it wait; asking twice replaces the first.

        `QuotaError` where as many of its user wait as may.
        """
        user, again = waiter.asked.user.name, job.waiters.get(waiter.key)
        if again is not None:
            self._remove(job, again)
        if waiter.is_due(job, now):
            return waiter.answer(job)
        hint, most = "let some of them end, or wait for events of one", self._limits.user_waits
        used = self._counts[user] + 1
        check_quota(user, "user_waits", used=used, available=most, hint=hint)
        self._counts[user] = used
        self._n_waits += 1
        job.waiters[waiter.key] = waiter
        self._number += 1
        heappush(self._deadlines, (waiter.deadline, self._number, job, waiter))
        if not waiter.hears_news:
            return []
        job.listeners[waiter.key] = None
        return self._tell(job, waiter, now)

    def tell(self, job: JobEntry, now: float) -> list[Effect]:
        """Tell of a change of a job those who are to hear of it: at its end, all."""
        keys = list(job.waiters if job.has_ended else job.listeners)
        return [effect for key in keys for effect in self._tell(job, job.waiters[key], now)]

    def tick(self, now: float) -> list[Effect]:
        """Answer those whose time is over."""
        told: list[Effect] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, job, waiter = heappop(self._deadlines)
            current = job.waiters.get(waiter.key)
            if current is not None and current.deadline <= now:
                self._remove(job, current)
                told += current.answer(job)
        return told

    def _tell(self, job: JobEntry, waiter: Waiter, now: float) -> list[Effect]:
        if waiter.is_due(job, now):
            self._remove(job, waiter)
            return waiter.answer(job)
        if waiter.since < job.seq:
            job.waiters[waiter.key] = replace(waiter, since=job.seq)
            return [waiter.asked.event(job.status())]
        return []

    def _remove(self, job: JobEntry, waiter: Waiter) -> None:
        del job.waiters[waiter.key]
        job.listeners.pop(waiter.key, None)
        self._n_waits -= 1
        user = waiter.asked.user.name
        self._counts[user] -= 1
        if not self._counts[user]:
            del self._counts[user]
        if len(self._deadlines) > 2 * self._n_waits + STALE:
            self._deadlines = [entry for entry in self._deadlines if _is_open(*entry[2:])]
            heapify(self._deadlines)


def _is_open(job: JobEntry, waiter: Waiter) -> bool:
    current = job.waiters.get(waiter.key)
    return current is not None and current.deadline == waiter.deadline
