"""What is dropped of jobs after their end: results, then keys, each once a record says so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cim_hal.protocol.effects import Effect, Persist
from cim_hal.protocol.jobs.records import Dropped, Fetched, Forgotten

if TYPE_CHECKING:
    from cim_hal.errors import CimError
    from cim_hal.protocol.effects import Otherwise, Then
    from cim_hal.protocol.jobs.entry import JobEntry
    from cim_hal.protocol.jobs.table import JobTable

__all__ = ["Retention"]


class Retention:
    """Drops what is acknowledged, too old or too much; one record of it is written at a time.

    What cannot be written stays, and `put_off` is called.
    """

    def __init__(self, table: JobTable, put_off: Otherwise) -> None:
        self._table = table
        self._put_off = put_off
        self._is_expiring = False
        self._fetched: list[JobEntry] = []  # since the last tick

    def fetched(self, job: JobEntry) -> None:
        """Take note that the rows of a result, or of its trace, were fetched up to the last."""
        if job.has_ended and job.is_fetched:
            self._table.results.update(job)
            self._fetched.append(job)

    def acknowledge(
        self, jobs: Iterable[JobEntry], then: Then, otherwise: Otherwise
    ) -> list[Effect]:
        """Drop the results of jobs that have ended, and go on with `then`; their keys stay."""
        dropped = tuple(jobs)

        def close(now: float) -> list[Effect]:
            self._table.close(dropped)
            return then(now)

        return [Persist(Dropped(tuple(job.id for job in dropped)), close, otherwise)]

    def tick(self, now: float) -> list[Effect]:
        """Write down what was fetched, so that it makes room after a restart too; then expire."""
        jobs, self._fetched = self._fetched, []
        kept = tuple(job.id for job in jobs if self._table.holds(job))
        if not kept:
            return self.expire(now)

        def again(error: CimError, now: float) -> list[Effect]:
            self._fetched += jobs
            return self._put_off(error, now)

        return [Persist(Fetched(kept), lambda _now: [], again), *self.expire(now)]

    def expire(self, now: float) -> list[Effect]:
        """Drop results that are too old or too many, then forget old keys."""
        due, keys = self._table.due(now), self._table.expired(now)
        if self._is_expiring or not (due or keys):
            return []
        self._is_expiring = True

        def go_on(now: float) -> list[Effect]:
            self._is_expiring = False
            if not due:
                self._table.forget(keys)
            return self.expire(now)

        def put_off(error: CimError, now: float) -> list[Effect]:
            self._is_expiring = False
            return self._put_off(error, now)

        if due:
            return self.acknowledge(due, go_on, put_off)
        return [Persist(Forgotten(keys), go_on, put_off)]
