"""What changes in a job, as its server tells it unasked. Steps, no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cim_hal.client.requests import checked
from cim_hal.client.steps import Receive, Sleep, Subscribe
from cim_hal.client.submission import LONGEST_POLL_S, SHORTEST_POLL_S, TICK_S
from cim_hal.errors import CimError, JobTimeoutError, TransportError
from cim_hal.protocol.jobs.state import TERMINAL
from cim_hal.protocol.wire.messages import JobStatus, WaitJob
from cim_hal.protocol.wire.packet import Kind

if TYPE_CHECKING:
    from cim_hal.client.steps import Steps
    from cim_hal.client.submission import Submission

__all__ = ["CHANGES_SINCE", "JobUpdates"]

CHANGES_SINCE = (1, 0)


class JobUpdates:
    """The changes of one job: first where it is, last how it ended.

    They are heard while a wait for the end is under way, and nothing depends on them: its answer
    says where the job is, and so does the server when it is asked after a line broke.

    Parameters
    ----------
    submission : Submission
    timeout_s : float or None
        How long to watch; without end where it is None.
    """

    def __init__(self, submission: Submission, timeout_s: float | None) -> None:
        dialogue = submission.dialogue
        self._submission = submission
        self._dialogue = dialogue
        self._timeout_s = timeout_s
        self._began, self._until = dialogue.clock(), dialogue.until(timeout_s)
        self._line: Any = None
        self._poll_s = 0.0
        self._seen = -1
        self._is_over = False

    def next(self) -> Steps[JobStatus | None]:
        """Wait for the next change; None where the end was told.

        Raises
        ------
        JobTimeoutError
            The time is up, and the job goes on.
        """
        while not self._is_over:
            try:
                status = self._submission.status = yield from self._told()
            except TransportError:
                self._check_time(self._dialogue.retries.base_s)
                raise
            self._is_over = status.state in TERMINAL
            if self._is_over or status.seq > self._seen:
                self._seen = status.seq
                return status
            self._check_time(0.0)
        return None

    def close(self) -> None:
        """Receive no more."""
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def _check_time(self, least_s: float) -> None:
        if self._dialogue.left(self._until) <= least_s:
            raise JobTimeoutError(
                f"the job is still {self._submission.status.state} after {self._timeout_s:g} s",
                hint="wait again, or cancel it",
                job=self._submission.id,
            )

    def _told(self) -> Steps[JobStatus]:
        dialogue, until = self._dialogue, self._until + TICK_S
        yield from dialogue.need(CHANGES_SINCE, "watching a job", until)
        try:
            if self._line is None:
                self._line = yield from self._subscribe(until)
            packet = yield Receive(
                self._line, self._poll_s + TICK_S + dialogue.retries.retry_after_s
            )
            if packet.kind is Kind.REPLY:
                self.close()
            return checked(packet, (JobStatus,))
        except CimError:
            self.close()
            yield Sleep(dialogue.retries.base_s)
            return (yield from dialogue.ask(self._wait(0.0), JobStatus, until=until))

    def _subscribe(self, until: float) -> Steps[Any]:
        """Wait for the end of the job, for as long again as it was watched already."""
        dialogue = self._dialogue
        longest_s = min(dialogue.left(self._until), LONGEST_POLL_S)
        self._poll_s = min(max(dialogue.clock() - self._began, SHORTEST_POLL_S), longest_s)
        welcome = yield from dialogue.hello(until)
        wait = self._wait(self._poll_s, events=True)
        return (yield Subscribe(dialogue.packet(wait, welcome), dialogue.retries.retry_after_s))

    def _wait(self, timeout_s: float, *, events: bool = False) -> WaitJob:
        since = max(self._seen, 0) if events else 0  # without: an answer at once
        return WaitJob(job=self._submission.id, timeout_s=timeout_s, since=since, events=events)
