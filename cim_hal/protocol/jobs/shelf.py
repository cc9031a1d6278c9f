"""Jobs that have ended and whose results are kept: which go first, and when."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cim_hal.protocol.jobs.job import JobEntry
    from cim_hal.protocol.wire.limits import Limits

__all__ = ["Shelf"]


class Shelf:
    """Ended jobs in the order of their end, bounded in age, number and bytes."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._jobs: OrderedDict[str, JobEntry] = OrderedDict()
        self._n_bytes = 0

    def put(self, job: JobEntry) -> None:
        """Keep a job that has just ended."""
        self._jobs[job.id] = job
        self._n_bytes += job.n_bytes

    def take(self, job: JobEntry) -> bool:
        """Let go of a job; return whether it was here."""
        if self._jobs.pop(job.id, None) is None:
            return False
        self._n_bytes -= job.n_bytes
        return True

    def due(self, now: float) -> list[JobEntry]:
        """Return the jobs to let go of: the too old, and from the oldest on the too many.

        The newest, of all and of each user, stays however large it is.
        """
        limits, due = self._limits, []
        n_bytes, n_jobs = self._n_bytes, len(self._jobs)
        for job in self._jobs.values():
            is_old = job.ended_at + limits.result_s <= now
            is_much = n_jobs > 1 and (n_bytes > limits.kept_bytes or n_jobs > limits.kept_jobs)
            if not (is_old or is_much):
                break
            due.append(job)
            n_bytes, n_jobs = n_bytes - job.n_bytes, n_jobs - 1
        return due + self._beyond_quota(len(due))

    def _beyond_quota(self, n_due: int) -> list[JobEntry]:
        """Return what users keep beyond their quota, past the first `n_due` jobs."""
        most = self._limits.user_kept_bytes
        if most is None:
            return []
        kept: Counter[str] = Counter()
        beyond: list[JobEntry] = []
        for job in reversed(list(self._jobs.values())[n_due:]):  # the newest first
            user, is_newest = job.user.name, job.user.name not in kept
            kept[user] += job.n_bytes
            if kept[user] > most and not is_newest:
                beyond.append(job)
        return beyond[::-1]
