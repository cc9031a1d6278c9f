"""All errors of the package: one tree, stable codes, and messages that say what to do.

::

    CimError
    ├── ModelError (ValueError)        malformed for any machine (also: ScheduleError)
    ├── CapabilityError                well formed, but not for this machine
    ├── TargetError                    no machine has that name
    ├── ProtocolError                  a rule of the protocol was broken
    │   ├── LocalProtocolError, RemoteProtocolError, VersionError
    │   └── ConflictError, InUseError, UnknownReferenceError
    ├── TransportError                 a message could not be delivered
    │   ├── BindError, ConnectError, ClosedError, NoMachineError
    │   ├── AuthenticationError        one side refuses the other
    │   │   └── UnknownKeyError, ServerKeyError, EncryptionError
    │   └── TransportTimeoutError (TimeoutError)
    ├── SessionError                   not now, or not with this session
    │   ├── LeaseHeldError, LeaseLostError
    │   └── QuotaError, RateLimitedError
    ├── PermissionDeniedError          the role of the user does not allow it
    ├── KeyFileError, CassetteError, StudyError    a file is missing or malformed
    ├── JobError                       a job did not end with samples
    │   ├── JobCancelledError, JobLostError, QueueFullError, KeyLimitError
    │   └── JobTimeoutError (TimeoutError)
    ├── StorageError, JournalError     the disk of a server
    └── DeviceError                    the machine failed
        ├── LockLostError, InterlockError, EmergencyStopError, CalibrationError
        └── DeviceRestartedError, UnavailableError, DriverFaultError

``TrainingError`` of ``qnn_train`` is a `CimError` too. The wire carries a code and the fields, not
the name of a class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

__all__ = [
    "AuthenticationError",
    "BindError",
    "CalibrationError",
    "CapabilityError",
    "CassetteError",
    "CimError",
    "ClosedError",
    "ConflictError",
    "ConnectError",
    "Detail",
    "DeviceError",
    "DeviceRestartedError",
    "DriverFaultError",
    "EmergencyStopError",
    "EncryptionError",
    "InUseError",
    "InterlockError",
    "JobCancelledError",
    "JobError",
    "JobLostError",
    "JobTimeoutError",
    "JournalError",
    "KeyFileError",
    "KeyLimitError",
    "LeaseHeldError",
    "LeaseLostError",
    "LocalProtocolError",
    "LockLostError",
    "ModelError",
    "NoMachineError",
    "PermissionDeniedError",
    "ProtocolError",
    "QueueFullError",
    "QuotaError",
    "RateLimitedError",
    "RemoteProtocolError",
    "ScheduleError",
    "ServerKeyError",
    "SessionError",
    "StorageError",
    "StudyError",
    "TargetError",
    "TransportError",
    "TransportTimeoutError",
    "UnavailableError",
    "UnknownKeyError",
    "UnknownReferenceError",
    "VersionError",
    "rebuild",
]

Detail: TypeAlias = str | int | float | bool | None


class CimError(Exception):
    """Base of all errors.

    A subclass states what it does not inherit: ``class LaserError(DeviceError, code="laser")``.

    Parameters
    ----------
    message : str
        What is wrong, and where.
    hint : str
        What would be right; empty where the message says so.
    **details
        Fields for programs; the wire carries them too.

    Attributes
    ----------
    code : str
        Stable identifier on the wire.
    retryable : bool
        Whether the same request may succeed if it is sent again: as the class says, or the detail
        of that name.
    """

    code: ClassVar[str] = "cim"
    retryable: bool = False

    def __init_subclass__(cls, *, code: str = "", retryable: bool | None = None) -> None:
        super().__init_subclass__()
        if code:
            cls.code = code
        if retryable is not None:
            cls.retryable = retryable

    def __init__(self, message: str, *, hint: str = "", **details: Detail) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details
        if "retryable" in details:
            self.retryable = details["retryable"] is True

    @property
    def retry_after_s(self) -> float:
        """Least time before another attempt: the detail of that name, or 0."""
        value = self.details.get("retry_after_s")
        if not isinstance(value, int | float) or not math.isfinite(value):
            return 0.0
        return max(float(value), 0.0)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild, (type(self), self.message, self.hint, self.details)


def rebuild(
    cls: type[CimError], message: str, hint: str, details: Mapping[str, Detail]
) -> CimError:
    """Make an error from its parts, without the constructor of its class."""
    error = cls.__new__(cls)
    CimError.__init__(error, message, hint=hint, **details)
    return error


class ModelError(CimError, ValueError, code="model"):
    """The model is malformed for any machine."""


class ScheduleError(ModelError, code="model.schedule"):
    """The pump schedule is malformed for any machine."""


class CapabilityError(CimError, code="capability"):
    """The request is well formed, but this machine cannot fulfil it.

    Parameters
    ----------
    what : str
        The field of `Capabilities` that is exceeded.
    required, available
        What the request needs, and what the machine has.
    """

    def __init__(self, what: str, *, required: Detail, available: Detail, hint: str = "") -> None:
        super().__init__(
            f"{what}: the request needs {required}, the device has {available}",
            hint=hint,
            what=what,
            required=required,
            available=available,
        )


class TargetError(CimError, code="target"):
    """No machine has that name."""


class ProtocolError(CimError, code="protocol"):
    """A rule of the protocol was broken."""


class LocalProtocolError(ProtocolError, code="protocol.local"):
    """A rule of the protocol was broken on this side."""


class RemoteProtocolError(ProtocolError, code="protocol.remote"):
    """A rule of the protocol was broken on the other side."""


class VersionError(ProtocolError, code="protocol.version"):
    """The two sides have no protocol version in common."""


class ConflictError(ProtocolError, code="protocol.conflict"):
    """The idempotency key was used before, for a different request."""


class InUseError(ProtocolError, code="protocol.in_use"):
    """Jobs need the couplings that are to be dropped."""


class UnknownReferenceError(ProtocolError, code="protocol.unknown_reference"):
    """The server does not know that session, upload, job or those couplings."""


class TransportError(CimError, code="transport"):
    """A message could not be delivered."""


class ConnectError(TransportError, code="transport.connect", retryable=True):
    """No server answers at the endpoint."""


class ClosedError(TransportError, code="transport.closed"):
    """The session was closed on this side."""


class BindError(TransportError, code="transport.bind"):
    """The server cannot listen at the endpoint."""


class NoMachineError(TransportError, code="transport.no_machine"):
    """A pool has no machine left."""


class TransportTimeoutError(TransportError, TimeoutError, code="transport.timeout", retryable=True):
    """No reply came in time."""


class AuthenticationError(TransportError, code="transport.authentication"):
    """One side refuses the other; another attempt does not help."""


class UnknownKeyError(AuthenticationError, code="transport.unknown_key"):
    """The server does not know the key of the client."""


class ServerKeyError(AuthenticationError, code="transport.server_key"):
    """The server ended the handshake; most likely it does not hold the expected key."""


class EncryptionError(AuthenticationError, code="transport.encryption"):
    """Only one side uses keys, or the ZeroMQ library here lacks encryption."""


class SessionError(CimError, code="session"):
    """The session may not do this now."""


class LeaseHeldError(SessionError, code="session.locked"):
    """Another user has locked the machine, or you have and did not pass the epoch of the lock.

    ``details`` has `holder`, `note` and `expires_in_s`.
    """


class LeaseLostError(SessionError, code="session.lease_lost"):
    """The exclusive lock of this session expired or was broken; nothing was run.

    Not to be confused with `LockLostError`, which is about the cavity.
    """


class QuotaError(SessionError, code="session.quota"):
    """A user would exceed a limit of this server.

    ``details`` has `what`, the field of ``limits``, `used` and `available`.
    """


class RateLimitedError(SessionError, code="session.rate_limited", retryable=True):
    """The user sends too many messages; try again after ``retry_after_s``."""


class PermissionDeniedError(CimError, code="permission"):
    """The role of the user does not allow it."""


class KeyFileError(CimError, code="key_file"):
    """A key file is missing, malformed, or readable by others."""


class CassetteError(CimError, code="cassette"):
    """A recording cannot be written or read."""


class JobError(CimError, code="job"):
    """The job did not end with samples."""


class JobCancelledError(JobError, code="job.cancelled"):
    """The job was cancelled."""


class JobLostError(JobError, code="job.lost"):
    """What the server kept of the job, or its result, is damaged on the server's disk."""


class JobTimeoutError(JobError, TimeoutError, code="job.timeout"):
    """The job did not end within the timeout of the caller; it may still be running."""


class QueueFullError(JobError, code="job.queue_full", retryable=True):
    """The queue of the machine is full."""


class KeyLimitError(JobError, code="job.key_limit", retryable=True):
    """The server cannot remember more idempotency keys, and accepts no new one."""


class StorageError(CimError, code="server.storage", retryable=True):
    """The server cannot use its disk, which may be full; the request had no effect."""


class JournalError(CimError, code="journal"):
    """The journal is damaged, in use, or of another program or machine."""


class StudyError(CimError, ValueError, code="study"):
    """A study file is not right, or the folder of a study."""


class DeviceError(CimError, code="device"):
    """The machine failed.

    Where the error is `retryable`, the same work may succeed as a new job.
    """


class DeviceRestartedError(DeviceError, code="device.restarted", retryable=True):
    """The server restarted while the job ran; the machine may or may not have run it."""


class LockLostError(DeviceError, code="device.lock_lost", retryable=True):
    """The cavity lost its lock; the measurement is void.

    Not to be confused with `LeaseLostError`, which is about exclusive use of the machine.
    """


class EmergencyStopError(DeviceError, code="device.emergency_stop"):
    """Somebody stopped the machine; it stays off until an operator resets it."""


class InterlockError(DeviceError, code="device.interlock"):
    """An interlock is open; the machine may not run until it is closed."""


class CalibrationError(DeviceError, code="device.calibration_stale"):
    """The machine needs a calibration, and has none or one that is too old."""


class UnavailableError(DeviceError, code="device.unavailable", retryable=True):
    """The driver does not start; the server tries again after ``retry_after_s``."""


class DriverFaultError(DeviceError, code="device.driver_fault"):
    """A driver raised an exception, broke its contract, hung or crashed.

    It is retryable where the driver could not reach its hardware.
    """
