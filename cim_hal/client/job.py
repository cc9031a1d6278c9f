"""A submission, from the caller's side."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from cim_hal.client.batches import ResultBatches
from cim_hal.client.updates import JobUpdates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cim_hal.client.session import Session
    from cim_hal.client.steps import Steps
    from cim_hal.client.submission import Submission
    from cim_hal.model.sampleset import SampleSet
    from cim_hal.protocol.jobs.state import JobState
    from cim_hal.protocol.wire.messages import JobStatus, Progress

__all__ = ["Job"]

T = TypeVar("T")


class Job:
    """One submission; made by `Session.submit`, found again by `Session.job`.

    Attributes
    ----------
    id : str
        Identifier on the server.
    """

    def __init__(self, session: Session, submission: Submission) -> None:
        self.id = submission.id
        self._session = session
        self._submission = submission

    @property
    def state(self) -> JobState:
        """Where the job is now; asks the server unless it has ended."""
        return self._session.run(self._submission.state())

    @property
    def progress(self) -> Progress | None:
        """How far the job is, ``done`` of ``total``, where the machine tells; asks the server."""
        return self._session.run(self._submission.progress())

    def changes(self, timeout_s: float | None = None) -> Iterator[JobStatus]:
        """Yield where the job is, now and at each change, as the server tells it; last the end.

        A change of its state, of its progress or of the runs that are ready. JobUpdates that follow
        each other faster than they are looked at are left out, but never the last.

        Raises
        ------
        JobTimeoutError
            The job has not ended after `timeout_s`; it goes on.
        """
        changes = JobUpdates(self._submission, timeout_s)
        with closing(changes):
            while (status := self._session.run(changes.next())) is not None:
                yield status

    def batches(self, *, first: int = 0, timeout_s: float | None = None) -> Iterator[SampleSet]:
        """Yield the runs of the job as they are finished, each once, in the order of the job.

        Each set is ranked by itself; all of them joined by `concat` are the result, where sums of
        couplings are exact. Machines that deliver nothing before the end have one set. An interrupt
        (Ctrl-C) cancels the job.

        Parameters
        ----------
        first : int
            Number of the first run that is wanted, to go on where another process left off.
        timeout_s : float, optional
            How long to wait for the last run; without end where it is None.

        Raises
        ------
        JobTimeoutError, JobCancelledError, DeviceError, TransportError
            As of `result`, after all runs that were finished before have been yielded.
        """
        batches = ResultBatches(self._submission, first, timeout_s)
        with closing(batches):
            while (samples := self._or_cancel(batches.next())) is not None:
                yield samples

    def wait(self, timeout_s: float | None = None) -> JobState:
        """Wait for the end of the job, or for `timeout_s`, and return where it is then."""
        return self._session.run(self._submission.wait(timeout_s))

    def acknowledge(self, *, timeout_s: float | None = None) -> JobState:
        """Let the server drop the result, now that it is safe; twice is no mistake.

        The key of the job is remembered: submitting it again does not run it again.
        """
        return self._session.run(self._submission.acknowledge(timeout_s))

    def result(self, timeout_s: float | None = None) -> SampleSet:
        """Wait for the samples and return them. An interrupt (Ctrl-C) cancels the job.

        Parameters
        ----------
        timeout_s : float, optional
            How long to wait; without end, as long as the server answers, where it is None.

        Raises
        ------
        JobTimeoutError
            The job was not done in time; it goes on.
        JobCancelledError
            It was cancelled.
        DeviceError
            The machine could not do it.
        TransportError
            The server went away.
        """
        return self._result(timeout_s, cancels=False)

    def result_or_cancel(self, timeout_s: float | None) -> SampleSet:
        """Do as `result` does, and cancel a job that is not done in time."""
        return self._result(timeout_s, cancels=True)

    def cancel(self, *, timeout_s: float | None = None) -> JobState:
        """Ask for an early end and return the state; too late is no mistake."""
        return self._session.run(self._submission.cancel(timeout_s))

    def _result(self, timeout_s: float | None, *, cancels: bool) -> SampleSet:
        return self._or_cancel(self._submission.result(timeout_s, cancels=cancels))

    def _or_cancel(self, steps: Steps[T]) -> T:
        try:
            return self._session.run(steps)
        except KeyboardInterrupt:
            self.cancel()
            raise
