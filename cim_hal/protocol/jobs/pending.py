"""Jobs whose acceptance is being written, and the couplings that jobs need until they end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cim_hal.protocol.effects import Effect, Then
    from cim_hal.protocol.jobs.entry import JobEntry
    from cim_hal.protocol.wire.messages.couplings import CouplingRef

__all__ = ["CouplingNeeds", "PendingJobs"]


class PendingJobs:
    """Jobs that nobody knows of before their record is written, and what is to be done then."""

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[JobEntry, list[Then]]] = {}

    def __iter__(self) -> Iterator[JobEntry]:
        return iter([job for job, _ in self._jobs.values()])

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


class CouplingNeeds:
    """Counts the jobs that wait for, or run with, couplings of a digest, or one lowering."""

    def __init__(self) -> None:
        self._counts: Counter[str | CouplingRef] = Counter()

    def __contains__(self, key: object) -> bool:
        return key in self._counts

    def add(self, job: JobEntry) -> None:
        """Count a job."""
        coupling = job.request.coupling
        self._counts.update((coupling.digest, coupling))

    def remove(self, job: JobEntry) -> None:
        """Count a job no more."""
        coupling = job.request.coupling
        for key in (coupling.digest, coupling):
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]
