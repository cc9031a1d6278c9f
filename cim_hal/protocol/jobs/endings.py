"""How a job ends, and what is written of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cim_hal.errors import CimError, DeviceRestartedError, JobCancelledError
from cim_hal.protocol.jobs.records import Ended
from cim_hal.protocol.jobs.state import JobEvent, JobState, after
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.results import Result

if TYPE_CHECKING:
    from cim_hal.protocol.jobs.job import JobEntry

__all__ = ["cancelled", "ended", "restarted"]


def ended(job: JobEntry, outcome: Result | CimError, now: float) -> Ended:
    """Return the end of a job that had the machine, which made `outcome` of it.

    Of one that is not done nothing is kept, unless runs were delivered before.
    """
    state = after(job.state, _event(outcome))
    result, error = (outcome, None) if isinstance(outcome, Result) else (None, outcome)
    if state is JobState.CANCELLED and result is not None:
        error = cancelled(job)
    if job.reason is not None:  # whatever the machine made of it
        error = job.reason
    delivered = job.result
    if error is not None and delivered is None:
        result = None
    return Ended(job.id, state, error and to_wire(error), result or delivered, now)


def restarted(job: JobEntry, now: float) -> Ended:
    """Return the end of a job that was running when its server ended."""
    error = DeviceRestartedError(
        "the server was restarted while the job ran",
        hint="it is not run again by itself: submit it with a new key",
        job=job.id,
    )
    return Ended(job.id, JobState.FAILED, to_wire(error), None, now)


def cancelled(job: JobEntry) -> JobCancelledError:
    """Return the reason of a job that its user ended."""
    return JobCancelledError("the job was cancelled", job=job.id)


def _event(outcome: Result | CimError) -> JobEvent:
    if isinstance(outcome, Result):
        return JobEvent.MEASURE
    return JobEvent.STOPPED if isinstance(outcome, JobCancelledError) else JobEvent.FAULT
