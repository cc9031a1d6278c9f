"""All requests, replies and events, and their validators."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field, TypeAdapter

from cim_hal.protocol.wire.base import ErrorMessage
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
from cim_hal.protocol.wire.messages.couplings import (
    BeginCouplings,
    ChunkTaken,
    CommitCouplings,
    CouplingChunk,
    CouplingListing,
    CouplingsDropped,
    CouplingsLoaded,
    DropCouplings,
    ListCouplings,
    MissingBytes,
    StatCouplings,
    UploadOpened,
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
from cim_hal.protocol.wire.messages.jobs import (
    AckJob,
    CancelJob,
    FetchResult,
    FetchTrace,
    JobList,
    JobStatus,
    ListJobs,
    ResultBatch,
    Sample,
    TraceBatch,
    WaitJob,
)
from cim_hal.protocol.wire.messages.session import (
    Bye,
    Describe,
    Description,
    Farewell,
    Hello,
    Ping,
    Pong,
    Welcome,
)
from cim_hal.protocol.wire.messages.status import AskMetrics, AskStatus, MetricsReport, StatusReport

__all__ = ["EVENT", "REPLY", "REQUEST", "Event", "Message", "Reply", "Request"]

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
