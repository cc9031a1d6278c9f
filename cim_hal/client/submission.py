"""A submission: how to wait for it and to fetch what it measured. Steps, no I/O."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cim_hal.client.results import check_model, fetch_rows, samples_of
from cim_hal.client.trace import fetch_trace
from cim_hal.errors import (
    CimError,
    JobTimeoutError,
    TransportError,
)
from cim_hal.protocol.jobs.state import TERMINAL, JobState
from cim_hal.protocol.wire.errors import as_error
from cim_hal.protocol.wire.messages import (
    AckJob,
    CancelJob,
    JobStatus,
    WaitJob,
)

if TYPE_CHECKING:
    from cim_hal.client.requests import RequestClient
    from cim_hal.client.steps import Steps
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.sampleset import SampleSet
    from cim_hal.protocol.wire.messages import Progress

__all__ = ["Submission"]

# A long poll is as long as the wait before it: a lost answer costs no more than that again.
SHORTEST_POLL_S, LONGEST_POLL_S = 1.0, 10.0
TICK_S = 0.25  # a server ends a wait that much later, at most


class Submission:
    """One job on a server, shared by `Job` and `AsyncJob`.

    Attributes
    ----------
    id : str
        Identifier on the server.
    status : JobStatus
        The latest word of the server.
    dialogue : RequestClient
    model : IsingModel or None
    """

    def __init__(
        self,
        dialogue: RequestClient,
        model: IsingModel | None,
        status: JobStatus,
        *,
        has_trace: bool = False,
    ) -> None:
        self.id = status.job
        self.dialogue = dialogue
        self.model = model
        self.status = status
        self._has_trace = has_trace
        self._samples: SampleSet | None = None

    def state(self) -> Steps[JobState]:
        """Ask where the job is, unless it has ended."""
        return (yield from self._wait(0.0, math.inf)).state

    def progress(self) -> Steps[Progress | None]:
        """Ask how far the job is, where the machine tells."""
        return (yield from self._wait(0.0, math.inf)).progress

    def wait(self, timeout_s: float | None) -> Steps[JobState]:
        """Wait for the end, or for `timeout_s`, and return where the job is then."""
        yield from self._wait_until(self.dialogue.until(timeout_s))
        return self.status.state

    def acknowledge(self, timeout_s: float | None) -> Steps[JobState]:
        """Let the server drop the result."""
        acknowledge, until = AckJob(job=self.id), self.dialogue.until(timeout_s)
        self.status = yield from self.dialogue.ask(acknowledge, JobStatus, until=until)
        return self.status.state

    def cancel(self, timeout_s: float | None) -> Steps[JobState]:
        """Ask for an early end; too late is no mistake."""
        cancel, until = CancelJob(job=self.id), self.dialogue.until(timeout_s)
        self.status = yield from self.dialogue.ask(cancel, JobStatus, until=until)
        return self.status.state

    def result(self, timeout_s: float | None, *, cancels: bool = False) -> Steps[SampleSet]:
        """Wait for the samples and return them; the same object each time.

        With `cancels` a job that is not done in time is told to end.
        """
        if self._samples is None:
            try:
                self._samples = yield from self._awaited(timeout_s)
            except JobTimeoutError:
                if cancels:
                    yield from self._give_up()
                raise
        return self._samples

    def _awaited(self, timeout_s: float | None) -> Steps[SampleSet]:
        until = self.dialogue.until(timeout_s)
        try:
            yield from self._wait_for_end(until)
            if self.status.state in TERMINAL:
                return (yield from self._fetch(until))
        except TransportError as error:
            is_ours = self.dialogue.left(until) <= self.dialogue.retries.base_s
            if not (error.retryable and is_ours):
                raise
        raise JobTimeoutError(
            f"the job is still {self.status.state} after {timeout_s:g} s",
            hint="wait again, or cancel it",
            job=self.id,
        )

    def _give_up(self) -> Steps[None]:
        try:
            yield from self.cancel(TICK_S)
        except CimError:  # nobody is there to be told
            return

    def _wait_for_end(self, until: float) -> Steps[None]:
        yield from self._wait_until(until)
        if self.status.state in TERMINAL and self.status.error is not None:
            raise as_error(self.status.error)

    def _wait_until(self, until: float) -> Steps[None]:
        clock, began = self.dialogue.clock, self.dialogue.clock()
        while self.status.state not in TERMINAL:
            if clock() >= until and clock() > began:
                return
            poll_s = min(max(clock() - began, SHORTEST_POLL_S), LONGEST_POLL_S)
            yield from self._wait(max(min(poll_s, until - clock()), 0.0), until + TICK_S)

    def _wait(self, poll_s: float, until: float) -> Steps[JobStatus]:
        if self.status.state not in TERMINAL:
            wait = WaitJob(job=self.id, timeout_s=poll_s)
            asked = self.dialogue.ask(wait, JobStatus, poll_s=poll_s, until=until)
            self.status = yield from asked
        return self.status

    def _fetch(self, until: float) -> Steps[SampleSet]:
        model, trace = check_model(self.model), None
        rows = yield from fetch_rows(self.dialogue, self.id, until)
        if self._has_trace:
            trace = yield from fetch_trace(self.dialogue, self.id, model.n_spins, until)
        return (yield from samples_of(rows, model, trace))
