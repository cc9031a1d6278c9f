"""What client and server say to each other; the wire schema, one class per message.

Messages are frozen and refuse unknown fields and values of another type. Arrays are no part of
a message: they travel beside it, in the buffers of a `Packet`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import Field, TypeAdapter, model_validator

from cim_hal.machine.capabilities import Capabilities
from cim_hal.machine.setting import MAX_SETTINGS
from cim_hal.model.record import FactName, LoweringReport, RunRecord
from cim_hal.protocol.jobs.state import JobState
from cim_hal.protocol.wire.base import Digest, ErrorMessage, Number, Text, Token, Wire, WireVersion
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.messages.control import (
    EmergencyStop,
    LockDevice,
    LockInfo,
    LockState,
    ResetDevice,
    SafetyInfo,
    SafetyState,
    UnlockDevice,
)
from cim_hal.protocol.wire.messages.instruments import (
    AskDevice,
    CalibrationList,
    CalibrationRecord,
    CalibrationState,
    CancelCalibration,
    DeviceStatus,
    FetchHistory,
    GetCalibration,
    History,
    ListCalibrations,
    RunCalibration,
)
from cim_hal.protocol.wire.messages.status import AskMetrics, AskStatus, MetricsReport, StatusReport

__all__ = [
    "EVENT",
    "REPLY",
    "REQUEST",
    "AckJob",
    "AskDevice",
    "AskMetrics",
    "AskStatus",
    "BeginCouplings",
    "Bye",
    "CalibrationList",
    "CalibrationRecord",
    "CalibrationState",
    "CancelCalibration",
    "CancelJob",
    "ChunkTaken",
    "CommitCouplings",
    "CouplingChunk",
    "CouplingListing",
    "CouplingRef",
    "CouplingSpec",
    "CouplingsDropped",
    "CouplingsLoaded",
    "Describe",
    "Description",
    "DeviceStatus",
    "DropCouplings",
    "EmergencyStop",
    "ErrorMessage",
    "Event",
    "Farewell",
    "FetchHistory",
    "FetchResult",
    "FetchTrace",
    "GetCalibration",
    "HeldCouplings",
    "Hello",
    "History",
    "JobInfo",
    "JobList",
    "JobStatus",
    "ListCalibrations",
    "ListCouplings",
    "ListJobs",
    "LockDevice",
    "LockInfo",
    "LockState",
    "Message",
    "MetricsReport",
    "MissingBytes",
    "Ping",
    "Pong",
    "Progress",
    "Reply",
    "Request",
    "ResetDevice",
    "ResultBatch",
    "RunCalibration",
    "SafetyInfo",
    "SafetyState",
    "Sample",
    "Schedule",
    "StatCouplings",
    "StatusReport",
    "TraceBatch",
    "TraceSpec",
    "UnlockDevice",
    "UploadOpened",
    "WaitJob",
    "Welcome",
]

# ---- parts ----------------------------------------------------------------------------------


class CouplingSpec(Wire):
    """How the bytes of couplings and field are to be read.

    ``triu``: J above its diagonal, row by row. ``coo``: rows (nnz), columns (nnz), values (nnz) of
    entries above the diagonal, sorted, no zeros; indices ``<u2`` up to 65,536 spins, else ``<i4``.
    ``delta``: the same, zeros allowed: what differs from the couplings `base`. ``dense``: J row by
    row. ``csr``: of all of J, row starts ``<i4`` (n + 1), columns ``<i4`` (nnz), values (nnz); rows
    sorted, no duplicates. Then the field, where `field_dtype` is not None.
    """

    format: Literal["triu", "coo", "delta", "dense", "csr"]
    n_spins: Annotated[int, Field(ge=1, lt=2**31)]
    dtype: Literal["bits", "|i1", "<i2", "<f4", "<f8"]
    field_dtype: Literal["|i1", "<i2", "<f4", "<f8"] | None = None
    nnz: Annotated[int, Field(ge=0, lt=2**31)] = 0
    keep: Literal["", "dense", "sparse"] = ""
    base: Digest | Literal[""] = ""

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.format in ("dense", "triu") and self.nnz:
            raise ValueError(f"nnz = {self.nnz} means nothing in the format {self.format}")
        if self.dtype == "bits" and self.format in ("dense", "csr"):
            raise ValueError(f"bits are no dtype of the format {self.format}")
        if self.keep and self.format not in ("triu", "coo"):
            raise ValueError(f"keep = {self.keep!r} means nothing in the format {self.format}")
        if bool(self.base) != (self.format == "delta"):
            raise ValueError("base belongs to the format delta, and to no other")
        return self


class CouplingRef(Wire):
    """Couplings on a server: their content and how they were fitted to its machine."""

    digest: Digest
    bits: Number | None = None
    gauge_seed: Number | None = None


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


# ---- requests -------------------------------------------------------------------------------


class Hello(Wire):
    """Open a session. This schema and that of `Welcome` never change."""

    t: Literal["hello"] = "hello"
    protocols: tuple[WireVersion, WireVersion]
    client: Text = ""


class Describe(Wire):
    """Ask what the machine is and how busy it is."""

    t: Literal["describe"] = "describe"


class BeginCouplings(Wire):
    """Announce couplings; answered by `CouplingsLoaded` where the server has them already."""

    t: Literal["couplings.begin"] = "couplings.begin"
    coupling: CouplingRef
    spec: CouplingSpec


class CouplingChunk(Wire):
    """A piece of an upload, ``|u1 (bytes,)``; sending one twice does no harm."""

    buffers: ClassVar = (1, 1)

    t: Literal["couplings.chunk"] = "couplings.chunk"
    upload: Token
    offset: Number


class CommitCouplings(Wire):
    """All chunks are sent: check, fit to the machine, keep."""

    t: Literal["couplings.commit"] = "couplings.commit"
    upload: Token


class StatCouplings(Wire):
    """Ask which bytes of an upload are missing, after a connection broke."""

    t: Literal["couplings.stat"] = "couplings.stat"
    upload: Token


class ListCouplings(Wire):
    """Ask what couplings the server holds, from number `first` on."""

    t: Literal["couplings.list"] = "couplings.list"
    first: Number = 0


class DropCouplings(Wire):
    """Let go of couplings, unless jobs need them."""

    t: Literal["couplings.drop"] = "couplings.drop"
    digest: Digest


class Sample(Wire):
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


class WaitJob(Wire):
    """Answer once the job has ended, or has changed after `since`, or after `timeout_s`.

    With `events` a change is no answer: it is told by an event, and the wait goes on.
    """

    t: Literal["job.wait"] = "job.wait"
    job: Token
    timeout_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    since: Number = 0
    events: bool = False


class CancelJob(Wire):
    """End the job early; too late is no mistake."""

    t: Literal["job.cancel"] = "job.cancel"
    job: Token


class FetchResult(Wire):
    """Fetch the rows of a result from row `first` on, as many as fit.

    With `partial` also of a job that is not done: the rows that were delivered so far.
    """

    t: Literal["job.result"] = "job.result"
    job: Token
    first: Number = 0
    partial: bool = False


class FetchTrace(Wire):
    """Fetch the rows of a trace from row `first` on, as many as fit."""

    t: Literal["job.trace"] = "job.trace"
    job: Token
    first: Number = 0


class AckJob(Wire):
    """The result is safe with the caller: drop it. Its key is remembered."""

    t: Literal["job.ack"] = "job.ack"
    job: Token


class ListJobs(Wire):
    """List the jobs of the user, the oldest first; after the job `after` where there is one."""

    t: Literal["job.list"] = "job.list"
    states: Annotated[
        tuple[Annotated[JobState, Field(strict=False)], ...], Field(max_length=16)
    ] = ()
    job: Token | None = None
    after: Token | None = None


class Ping(Wire):
    """Ask for a sign of life."""

    t: Literal["ping"] = "ping"


class Bye(Wire):
    """End the session; those of its jobs that are not kept are cancelled, their results dropped."""

    t: Literal["bye"] = "bye"


# ---- replies --------------------------------------------------------------------------------


class Welcome(Wire):
    """The session is open."""

    t: Literal["welcome"] = "welcome"
    protocol: WireVersion
    server: Text
    instance: Token
    session: Token
    limits: Limits
    capabilities: Capabilities


class Description(Wire):
    """What the machine is and how busy it is."""

    t: Literal["description"] = "description"
    capabilities: Capabilities
    queued: Number
    busy: bool


class UploadOpened(Wire):
    """Send the bytes: chunks of at most `chunk_bytes`, at most `credit` of them unanswered.

    `received` of them are here already: ``couplings.stat`` says which are not.
    """

    t: Literal["couplings.upload"] = "couplings.upload"
    upload: Token
    chunk_bytes: Annotated[int, Field(ge=1)]
    credit: Annotated[int, Field(ge=1)]
    received: Number = 0


class ChunkTaken(Wire):
    """The chunk is here, and `received` bytes in all."""

    t: Literal["couplings.taken"] = "couplings.taken"
    upload: Token
    received: Number


class MissingBytes(Wire):
    """The bytes of an upload that are missing: ranges from and up to, at most 1000 of them."""

    t: Literal["couplings.missing"] = "couplings.missing"
    upload: Token
    ranges: Annotated[tuple[tuple[Number, Number], ...], Field(max_length=1000)]


class HeldCouplings(Wire):
    """Couplings on a server: `n_bytes` in all, with `fits` ways in which they were fitted.

    `n_spins` is 0 where only what was made of them is left.
    """

    digest: Digest
    n_spins: Number
    n_bytes: Number
    fits: Number
    in_use: bool


class CouplingListing(Wire):
    """Couplings on the server from number `first` on, the most recently used first."""

    t: Literal["couplings.listing"] = "couplings.listing"
    first: Number
    total: Number
    n_bytes: Number
    cache_bytes: Number
    couplings: Annotated[tuple[HeldCouplings, ...], Field(max_length=100)]


class CouplingsDropped(Wire):
    """The couplings are gone, which freed `n_bytes`."""

    t: Literal["couplings.dropped"] = "couplings.dropped"
    digest: Digest
    n_bytes: Number


class CouplingsLoaded(Wire):
    """The couplings are ready to be sampled."""

    t: Literal["couplings.loaded"] = "couplings.loaded"
    coupling: CouplingRef
    report: LoweringReport


class JobStatus(Wire):
    """Where the job is; `error` where it failed or was cancelled.

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


class JobList(Wire):
    """Jobs, the oldest first; there are more where `more` says so."""

    t: Literal["job.listed"] = "job.listed"
    jobs: Annotated[tuple[JobInfo, ...], Field(max_length=64)]
    more: bool


class ResultBatch(Wire):
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


class TraceBatch(Wire):
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


class Pong(Wire):
    """A sign of life."""

    t: Literal["pong"] = "pong"


class Farewell(Wire):
    """The session is over."""

    t: Literal["farewell"] = "farewell"


Request: TypeAlias = (
    Hello
    | Describe
    | BeginCouplings
    | CouplingChunk
    | CommitCouplings
    | StatCouplings
    | ListCouplings
    | DropCouplings
    | Sample
    | WaitJob
    | CancelJob
    | FetchResult
    | FetchTrace
    | AckJob
    | ListJobs
    | AskDevice
    | FetchHistory
    | GetCalibration
    | ListCalibrations
    | RunCalibration
    | CancelCalibration
    | AskStatus
    | AskMetrics
    | LockDevice
    | UnlockDevice
    | LockInfo
    | EmergencyStop
    | ResetDevice
    | SafetyInfo
    | Ping
    | Bye
)
Reply: TypeAlias = (
    Welcome
    | Description
    | UploadOpened
    | ChunkTaken
    | CouplingsLoaded
    | MissingBytes
    | CouplingListing
    | CouplingsDropped
    | JobStatus
    | ResultBatch
    | TraceBatch
    | JobList
    | DeviceStatus
    | History
    | CalibrationRecord
    | CalibrationList
    | CalibrationState
    | StatusReport
    | MetricsReport
    | LockState
    | SafetyState
    | Pong
    | Farewell
    | ErrorMessage
)
Event: TypeAlias = JobStatus
Message: TypeAlias = Request | Reply

REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="t")])
REPLY: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, Field(discriminator="t")])
EVENT: TypeAdapter[Event] = TypeAdapter(Event)
