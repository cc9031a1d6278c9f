"""A submission, from the caller's side."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cim_hal.client.session import Session
    from cim_hal.client.submission import Submission
    from cim_hal.model.sampleset import SampleSet
    from cim_hal.protocol.messages import Progress
    from cim_hal.protocol.state import JobState

__all__ = ["Job"]


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
        try:
            return self._session.run(self._submission.result(timeout_s, cancels=cancels))
        except KeyboardInterrupt:
            self.cancel()
            raise
