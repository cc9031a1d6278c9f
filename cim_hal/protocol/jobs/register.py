"""Where a job is found: those that are known whole, and what is left of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cim_hal.errors import ConflictError, UnknownReferenceError
from cim_hal.protocol.jobs.idempotency import IdempotencyRules, body_digest, job_id
from cim_hal.protocol.jobs.job import JobEntry
from cim_hal.protocol.jobs.ledger import Closed, Ledger

if TYPE_CHECKING:
    from cim_hal.protocol.jobs.records import Saved
    from cim_hal.protocol.wire.messages import Sample
    from cim_hal.protocol.wire.roles import User

__all__ = ["Register"]


class Register:
    """Jobs by id.

    Attributes
    ----------
    ledger : Ledger
        What is left of jobs whose results are gone.
    """

    def __init__(self, rules: IdempotencyRules | None = None) -> None:
        self.ledger = Ledger(rules or IdempotencyRules())
        self._jobs: dict[str, JobEntry] = {}

    def add(self, job: JobEntry) -> None:
        """Take a job in."""
        self._jobs[job.id] = job

    def restore(self, known: Saved, now: float) -> JobEntry | None:
        """Take in what the journal of the server before knew; None where no job is left of it."""
        if known.accepted is None:
            ended_at = min(known.ended_at, now)
            closed = Closed(known.user, known.digest, known.state, known.error, ended_at)
            self.ledger.close(known.job, closed)
            return None
        job = JobEntry(known.accepted, "", None, state=known.state)
        self.add(job)
        return job

    def close(self, job: JobEntry) -> None:
        """Let go of a job that has ended, and remember how it did."""
        del self._jobs[job.id]
        user, digest = job.user.name, job.accepted.digest
        self.ledger.close(job.id, Closed(user, digest, job.state, job.error, job.ended_at))

    def check_room(self, now: float) -> None:
        """Refuse another job where as many keys are remembered as may be.

        Raises
        ------
        KeyLimitError
            So it is.
        """
        self.ledger.check_room(len(self._jobs), now)

    def find(self, user: User, request: Sample) -> JobEntry | Closed | None:
        """Return the job that this very request made before.

        Raises
        ------
        ConflictError
            Its key was used before for another request.
        """
        job = job_id(user.name, request.key)
        known = self._jobs.get(job) or self.ledger.get(job)
        if known is None:
            return None
        digest = known.accepted.digest if isinstance(known, JobEntry) else known.digest
        if digest != body_digest(request):
            raise ConflictError(
                "the idempotency key was used before, for another request",
                hint="make a new key for each submission",
                job=job,
            )
        return known

    def get(self, user: User, job: str, *, of_others: bool = False) -> JobEntry | Closed:
        """Return a job of a user, or with `of_others` of anybody.

        Raises
        ------
        UnknownReferenceError
            There is no such job, or not any more.
        """
        known = self._jobs.get(job) or self.ledger.get(job)
        owner = known.user.name if isinstance(known, JobEntry) else known and known.user
        if known is None or (owner != user.name and not of_others):
            raise UnknownReferenceError(
                "the server does not know that job",
                hint="its key was forgotten, or it is of another user",
                kind="job",
                job=job,
            )
        return known

    def of(self, user: User | None) -> list[JobEntry]:
        """Return the jobs of a user, or of all where it is None, that still have their request."""
        jobs = self._jobs.values()
        return [job for job in jobs if user is None or job.user.name == user.name]

    def of_session(self, session: str) -> list[JobEntry]:
        """Return the jobs that go with a session."""
        return [job for job in self._jobs.values() if job.session == session]
