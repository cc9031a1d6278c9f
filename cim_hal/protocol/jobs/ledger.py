"""Keys of jobs whose results are gone: how they ended, remembered so that none runs again."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cim_hal.errors import KeyLimitError
from cim_hal.protocol.wire.messages import JobStatus

if TYPE_CHECKING:
    from cim_hal.protocol.jobs.idempotency import IdempotencyRules
    from cim_hal.protocol.jobs.state import JobState
    from cim_hal.protocol.wire.messages import ErrorMessage

__all__ = ["Closed", "Ledger"]


@dataclass(frozen=True, eq=False, slots=True)
class Closed:
    """What is left of a job."""

    user: str
    digest: bytes
    state: JobState
    error: ErrorMessage | None
    ended_at: float

    def status(self, job: str) -> JobStatus:
        """Return the message that says how the job ended."""
        return JobStatus(job=job, state=self.state, error=self.error, gone=True)


class Ledger:
    """Closed jobs by id, the first closed first."""

    def __init__(self, rules: IdempotencyRules) -> None:
        self._rules = rules
        self._closed: OrderedDict[str, Closed] = OrderedDict()

    def __len__(self) -> int:
        return len(self._closed)

    def get(self, job: str) -> Closed | None:
        """Return what is left of a job, if anything."""
        return self._closed.get(job)

    def close(self, job: str, closed: Closed) -> None:
        """Remember how a job ended."""
        self._closed[job] = closed

    def expired(self, now: float) -> tuple[str, ...]:
        """Return the jobs that may be forgotten."""
        due: list[str] = []
        for job, closed in self._closed.items():
            if closed.ended_at + self._rules.kept_s > now:
                break
            due.append(job)
        return tuple(due)

    def forget(self, jobs: tuple[str, ...]) -> None:
        """Forget jobs."""
        for job in jobs:
            self._closed.pop(job, None)

    def check_room(self, n_open: int, now: float) -> None:
        """Refuse another key where as many are remembered as may be.

        Raises
        ------
        KeyLimitError
            So it is; it says when the oldest key goes.
        """
        n_keys = n_open + len(self._closed)
        if n_keys < self._rules.max_keys:
            return
        oldest = next(iter(self._closed.values()), None)
        wait_s = (
            self._rules.kept_s if oldest is None else oldest.ended_at + self._rules.kept_s - now
        )
        raise KeyLimitError(
            f"the server remembers the keys of {n_keys} jobs, which is the most it may",
            hint=f"the oldest is forgotten in {max(wait_s, 0.0):.0f} s",
            max_keys=self._rules.max_keys,
            retry_after_s=max(wait_s, 0.0),
        )
