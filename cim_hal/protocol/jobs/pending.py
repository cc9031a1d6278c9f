"""Jobs whose acceptance is being written, and what jobs need until they end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cim_hal.protocol.effects import Effect, Then
    from cim_hal.protocol.jobs.entry import JobEntry
    from cim_hal.protocol.wire.messages.couplings import CouplingRef

__all__ = ["JobNeeds", "PendingJobs"]


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
