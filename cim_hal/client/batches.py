"""The runs of a job as they are finished, each once. Steps, no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cim_hal.client.messages import as_integer
from cim_hal.client.results import check_model, fetch_rows, samples_of
from cim_hal.client.updates import CHANGES_SINCE, JobUpdates
from cim_hal.errors import ModelError
from cim_hal.protocol.jobs.state import TERMINAL
from cim_hal.protocol.wire.errors import as_error

if TYPE_CHECKING:
    from cim_hal.client.steps import Steps
    from cim_hal.client.submission import Submission
    from cim_hal.model.sampleset import SampleSet
    from cim_hal.protocol.wire.messages import JobStatus

__all__ = ["ResultBatches"]


class ResultBatches:
    """The runs of one job in their order; asked for by number, so none is lost or comes twice.

    Parameters
    ----------
    submission : Submission
    first : int
        Number of the first run that is wanted.
    timeout_s : float or None
        How long to wait for the last one; without end where it is None.

    Raises
    ------
    ModelError
        `first` is no number of a run, or the job was found without its model.
    """

    def __init__(self, submission: Submission, first: int, timeout_s: float | None) -> None:
        self._model = check_model(submission.model)
        self._first = as_integer("first", first)
        if self._first < 0:
            raise ModelError(f"first = {first}", hint="the first run has the number 0")
        self._submission = submission
        self._changes = JobUpdates(submission, timeout_s)
        self._until = submission.dialogue.until(timeout_s)
        self._n_runs: int | None = None

    def next(self) -> Steps[SampleSet | None]:
        """Wait for more runs, and return all there are; None where there will be no more.

        Raises
        ------
        CimError
            The job was not done, for that reason; what there was of it has been returned before.
        """
        dialogue, status = self._submission.dialogue, self._submission.status
        yield from dialogue.need(CHANGES_SINCE, "fetching runs one by one", self._until)
        while status.ready <= self._first:
            if status.state in TERMINAL:
                return (yield from self._end(status))
            status = (yield from self._changes.next()) or self._submission.status
        return (yield from self._fetch(status.ready))

    def close(self) -> None:
        """Receive no more of the job."""
        self._changes.close()

    def _fetch(self, ready: int) -> Steps[SampleSet]:
        submission, first = self._submission, self._first
        rows = yield from fetch_rows(
            submission.dialogue, submission.id, self._until, first=first, ready=ready
        )
        self._first += rows.n_runs
        self._n_runs = rows.batch.n_runs
        return (yield from samples_of(rows, self._model))

    def _end(self, status: JobStatus) -> Steps[SampleSet | None]:
        if status.error is not None:
            raise as_error(status.error)
        if status.gone and self._first != self._n_runs:
            return (yield from self._fetch(self._first + 1))  # the server says why it cannot be
        return None
