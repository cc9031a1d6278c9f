"""What is kept of jobs that have ended: their results for a while, then their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cim_hal.protocol.jobs.records import Dropped, Forgotten
from cim_hal.protocol.jobs.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cim_hal.errors import CimError
    from cim_hal.protocol.effects import Effect
    from cim_hal.protocol.jobs.job import JobEntry
    from cim_hal.protocol.jobs.register import Register
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.write_ahead import Otherwise, Then, WriteAhead

__all__ = ["Archive"]


class Archive:
    """Ended jobs, bounded in age, number and bytes, and the age of keys.

    Parameters
    ----------
    register : Register
    limits : Limits
    saver : WriteAhead
    put_off : callable
        Called where nobody asked for a move that could not be written: it is tried again later.
    """

    def __init__(
        self, register: Register, limits: Limits, saver: WriteAhead, put_off: Otherwise
    ) -> None:
        self._register = register
        self._shelf = Shelf(limits)
        self._saver = saver
        self._put_off = put_off
        self._is_expiring = False  # the record of it is being written

    def put(self, job: JobEntry, now: float) -> list[Effect]:
        """Keep a job that has just ended; others may have to go for it."""
        self._shelf.put(job)
        return self.expire(now)

    def acknowledge(
        self, jobs: Iterable[JobEntry], then: Then, otherwise: Otherwise
    ) -> list[Effect]:
        """Drop the results of jobs that have ended; their keys stay."""
        dropped = tuple(jobs)

        def close(now: float) -> list[Effect]:
            for job in dropped:
                if self._shelf.take(job):
                    self._register.close(job)
            return then(now)

        return self._saver.ask(Dropped(tuple(job.id for job in dropped)), close, otherwise)

    def drop(self, jobs: Iterable[JobEntry]) -> list[Effect]:
        """Drop results that nobody will ask for any more, if there are any."""
        kept = [job for job in jobs if job.has_ended and job.result is not None]
        return self.acknowledge(kept, lambda _now: [], self._put_off) if kept else []

    def expire(self, now: float) -> list[Effect]:
        """Drop results that are too old or too many, and forget old keys."""
        ledger = self._register.ledger
        due, keys = self._shelf.due(now), ledger.expired(now)
        if self._is_expiring or not (due or keys):
            return []
        self._is_expiring = True

        def forget(_now: float) -> list[Effect]:
            self._is_expiring = False
            ledger.forget(keys)
            return []

        def drop(now: float) -> list[Effect]:
            self._is_expiring = False
            return self.expire(now)

        def put_off(error: CimError, now: float) -> list[Effect]:
            self._is_expiring = False
            return self._put_off(error, now)

        if due:
            return self.acknowledge(due, drop, put_off)
        return self._saver.ask(Forgotten(keys), forget, put_off)
