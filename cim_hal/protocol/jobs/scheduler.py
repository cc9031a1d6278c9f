"""The jobs that wait for a machine, and how long they will."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cim_hal.errors import QueueFullError
from cim_hal.protocol.jobs.pace import RunTimeEstimator
from cim_hal.protocol.jobs.queue import FairQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cim_hal.protocol.jobs.job import JobEntry
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.wire.messages import CouplingRef
    from cim_hal.protocol.wire.roles import User

__all__ = ["Scheduler"]


class Scheduler:
    """A fair queue of jobs, with what the machine holds and how fast it is."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._queue = FairQueue["JobEntry"](slice_s=limits.slice_s)
        self._pace = RunTimeEstimator()
        self._loaded: CouplingRef | None = None  # of the job that was started last

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[JobEntry]:
        return iter(self._queue)

    def push(self, job: JobEntry) -> None:
        """Let a job wait."""
        asked = job.request
        self._queue.push(job, user=job.user.name, priority=asked.priority, coupling=asked.coupling)

    def remove(self, job: JobEntry) -> None:
        """Let a job wait no longer."""
        self._queue.remove(job)

    def next(self, is_allowed: Callable[[JobEntry], bool]) -> JobEntry | None:
        """Take the job whose turn it is, of those that are allowed to run."""
        return self._queue.pop(loaded=self._loaded, is_allowed=is_allowed)

    def put_back(self) -> None:
        """Let the job that was taken last wait again, where it did."""
        self._queue.put_back()

    def begin(self, job: JobEntry, now: float) -> None:
        """Note that a job has the machine."""
        self._loaded, job.started_at = job.request.coupling, now

    def charge(self, job: JobEntry, now: float, *, is_whole: bool) -> None:
        """Put what a job took of the machine on the account of its user."""
        seconds = now - job.started_at
        self._queue.charge(job.user.name, seconds)
        if is_whole:  # of one that failed or was stopped nobody knows how much was done
            self._pace.learn(job.work, seconds)

    def expected_s(self, job: JobEntry) -> float | None:
        """Return the device seconds of a job; None before the first one ended."""
        return self._pace.estimate(job.work)

    def check_room(self, user: User, running: JobEntry | None, now: float) -> None:
        """Refuse another job where as many wait as may.

        Raises
        ------
        QueueFullError
            So it is, of all users or of this one.
        """
        limits, depth = self._limits, len(self._queue)
        own = self._queue.depth(user.name)
        if depth < limits.queue_length and own < limits.user_queue_length:
            return
        whose = f"of {user.name} " if own >= limits.user_queue_length else ""
        raise QueueFullError(
            f"{own if whose else depth} jobs {whose}wait for the machine, the most it takes",
            hint="fetch or cancel a job, or try again later",
            queue_length=limits.user_queue_length if whose else limits.queue_length,
            depth=depth,
            expected_wait_s=self.expected_wait_s(running, now),
        )

    def expected_wait_s(self, running: JobEntry | None, now: float) -> float | None:
        """Return the device seconds of all that runs and waits; None before the first job ended."""
        total = 0.0
        for job in (*self._queue, *([running] if running else [])):
            seconds = self.expected_s(job)
            if seconds is None:
                return None
            gone = now - job.started_at if job is running else 0.0
            total += max(seconds - gone, 0.0)
        return total
