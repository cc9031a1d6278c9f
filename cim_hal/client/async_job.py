"""A submission, for an event loop."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from cim_hal.client.batches import ResultBatches
from cim_hal.client.updates import JobUpdates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cim_hal.client.async_session import AsyncSession
    from cim_hal.client.submission import Submission
    from cim_hal.model.sampleset import SampleSet
    from cim_hal.protocol.jobs.state import JobState
    from cim_hal.protocol.wire.messages import JobStatus, Progress

__all__ = ["AsyncJob"]


class AsyncJob:
    """One submission; made by `AsyncSession.submit`.

    A task that waits for it may be cancelled: the job goes on, and can be waited for again.

    Attributes
    ----------
    id : str
        Identifier on the server.
    """

    def __init__(self, session: AsyncSession, submission: Submission) -> None:
        self.id = submission.id
        self._session = session
        self._submission = submission

    async def state(self) -> JobState:
        """Ask where the job is now, unless it has ended."""
        return await self._session.run(self._submission.state())

    async def progress(self) -> Progress | None:
        """Ask how far the job is; see `Job.progress`."""
        return await self._session.run(self._submission.progress())

    async def changes(self, timeout_s: float | None = None) -> AsyncIterator[JobStatus]:
        """Yield where the job is, now and at each change; see `Job.changes`."""
        changes = JobUpdates(self._submission, timeout_s)
        with closing(changes):
            while (status := await self._session.run(changes.next())) is not None:
                yield status

    async def batches(
        self, *, first: int = 0, timeout_s: float | None = None
    ) -> AsyncIterator[SampleSet]:
        """Yield the runs of the job as they are finished; see `Job.batches`."""
        batches = ResultBatches(self._submission, first, timeout_s)
        with closing(batches):
            while (samples := await self._session.run(batches.next())) is not None:
                yield samples

    async def wait(self, timeout_s: float | None = None) -> JobState:
        """Wait for the end of the job; see `Job.wait`."""
        return await self._session.run(self._submission.wait(timeout_s))

    async def acknowledge(self, *, timeout_s: float | None = None) -> JobState:
        """Let the server drop the result; see `Job.acknowledge`."""
        return await self._session.run(self._submission.acknowledge(timeout_s))

    async def result(self, timeout_s: float | None = None) -> SampleSet:
        """Wait for the samples and return them; errors as of `Job.result`."""
        return await self._session.run(self._submission.result(timeout_s))

    async def result_or_cancel(self, timeout_s: float | None) -> SampleSet:
        """Do as `result` does, and cancel a job that is not done in time."""
        return await self._session.run(self._submission.result(timeout_s, cancels=True))

    async def cancel(self, *, timeout_s: float | None = None) -> JobState:
        """Ask for an early end and return the state; too late is no mistake."""
        return await self._session.run(self._submission.cancel(timeout_s))
