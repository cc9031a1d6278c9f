"""Messages about jobs, their results and their traces."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cim_hal.machine.capabilities import MAX_SETTINGS
from cim_hal.model.record import FactName, RunRecord
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.base import ErrorMessage, Number, Reply, Request, Text, Token, Wire
from cim_hal.protocol.wire.messages.couplings import CouplingRef
from cim_hal.protocol.wire.roles import Role

__all__ = [
    "AckJob",
    "CancelJob",
    "FetchResult",
    "FetchTrace",
    "JobInfo",
    "JobList",
    "JobStatus",
    "ListJobs",
    "Progress",
    "ResultBatch",
    "Sample",
    "Schedule",
    "TraceBatch",
    "TraceSpec",
    "WaitJob",
]


class Schedule(Wire):
    """A pump schedule; thresholds and round trips."""

    pump: Annotated[tuple[float, ...], Field(min_length=1, max_length=1024)]
    round_trips: Number


class TraceSpec(Wire):
    """Which amplitudes to keep: of the first `runs` runs, every `every` round trips."""

    every: Annotated[int, Field(ge=1, lt=2**63)]
    runs: Annotated[int, Field(ge=1, lt=2**63)]


class Progress(Wire):
    """How far a job is: `done` of `total`, in a unit such as ``runs`` or ``round trips``."""

    done: Number
    total: Number
    unit: Annotated[str, Field(max_length=40)]


class Sample(Request, role=Role.USER):
    """Queue a job. The same key and body of a user is the same job, however often it arrives.

    A job that is not to be kept ends with its session; one that is belongs to its user alone.
    """

    t: Literal["sample"] = "sample"
    key: Token
    coupling: CouplingRef
    schedule: Schedule | None
    n_runs: Number
    seed: Number
    settings: Annotated[dict[FactName, float], Field(max_length=MAX_SETTINGS)] = {}
    trace: TraceSpec | None = None
    priority: Annotated[int, Field(ge=-9, le=9)] = 0
    keep: bool = False


class WaitJob(Request, role=Role.OBSERVER):
    """Answer once the job has ended, or has changed after `since`, or after `timeout_s`.

    With `events` a change is no answer: it is told by an event, and the wait goes on. With `fetch`
    the answer is the first rows of the result, where the job is done: that of ``job.result``.
    """

    t: Literal["job.wait"] = "job.wait"
    job: Token
    timeout_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    since: Number = 0
    events: bool = False
    fetch: bool = False


class CancelJob(Request, role=Role.USER, of_others=Role.OPERATOR, safety=True):
    """End the job early. After its end this changes nothing."""

    t: Literal["job.cancel"] = "job.cancel"
    job: Token


class FetchResult(Request, role=Role.OBSERVER):
    """Fetch the rows of a result from row `first` on, as many as fit.

    With `partial` also of a job that is not done: the rows that were delivered so far.
    """

    t: Literal["job.result"] = "job.result"
    job: Token
    first: Number = 0
    partial: bool = False


class FetchTrace(Request, role=Role.OBSERVER):
    """Fetch the rows of a trace from row `first` on, as many as fit."""

    t: Literal["job.trace"] = "job.trace"
    job: Token
    first: Number = 0


class AckJob(Request, role=Role.USER):
    """The result is safe with the caller: drop it. Its key is remembered."""

    t: Literal["job.ack"] = "job.ack"
    job: Token


class ListJobs(Request, role=Role.OBSERVER, of_others=Role.OPERATOR):
    """List the jobs of the user, the oldest first: those after the cursor of the page before."""

    t: Literal["job.list"] = "job.list"
    states: Annotated[
        tuple[Annotated[JobState, Field(strict=False)], ...], Field(max_length=16)
    ] = ()
    job: Token | None = None
    after: Token | None = None


class JobStatus(Reply):
    """State of a job; `error` if it failed or was cancelled.

    `seq` grows with each change of any job; `gone` says that the result was acknowledged or has
    expired; `ready` is the number of runs that can be fetched.
    """

    t: Literal["job.status"] = "job.status"
    job: Token
    state: Annotated[JobState, Field(strict=False)]
    error: ErrorMessage | None = None
    seq: Number = 0
    progress: Progress | None = None
    gone: bool = False
    ready: Number = 0

    @property
    def id(self) -> str:
        """The id of the job, as `Job.id`."""
        return self.job


class JobInfo(Wire):
    """One job of a list; what was asked for and where it is."""

    job: Token
    state: Annotated[JobState, Field(strict=False)]
    owner: Text
    coupling: CouplingRef
    n_runs: Number
    seed: Number
    has_trace: bool
    keep: bool
    age_s: float
    n_bytes: Number
    progress: Progress | None = None
    reason: Text = ""

    @property
    def id(self) -> str:
        """The id of the job, as `Job.id`."""
        return self.job


class JobList(Reply):
    """Jobs, the oldest first; where there are `more`, ``job.list`` with `after` = `cursor` goes on.

    The cursor is a place in the order of jobs: it holds whatever becomes of the jobs around it.
    """

    t: Literal["job.listed"] = "job.listed"
    jobs: Annotated[tuple[JobInfo, ...], Field(max_length=64)]
    more: bool
    cursor: Token | None = None


class ResultBatch(Reply):
    """Rows of a result.

    Buffers: spins ``|u1 (rows, ceil(n/8))``, least significant bit first, 1 is +1, padded with
    zeros; where the machine reports them, amplitudes ``<f4 (rows, n)``.
    """

    buffers: ClassVar = (1, 2)

    t: Literal["job.batch"] = "job.batch"
    job: Token
    n_spins: Annotated[int, Field(ge=1)]
    n_runs: Annotated[int, Field(ge=1)]
    first: Number
    record: RunRecord


class TraceBatch(Reply):
    """Rows of a trace: the amplitudes of one run at one frame, run after run, then frame by frame.

    Buffers: the round trip of each row ``<i8 (rows,)``, the pump rate of each row ``<f8 (rows,)``,
    amplitudes ``<f4 (rows, n)``.
    """

    buffers: ClassVar = (3, 3)

    t: Literal["job.frames"] = "job.frames"
    job: Token
    n_spins: Annotated[int, Field(ge=1)]
    n_runs: Annotated[int, Field(ge=1)]
    n_frames: Annotated[int, Field(ge=1)]
    first: Number
