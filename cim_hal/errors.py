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
    ├── KeyFileError, CassetteError    a file is missing or malformed
    ├── JobError                       a job did not end with samples
    │   ├── JobCancelledError, QueueFullError, KeyLimitError
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
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        Whether the same request may succeed if it is sent again.
    """

    code: ClassVar[str] = "cim"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "", **details: Detail) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

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


class ModelError(CimError, ValueError):
    """The model is malformed for any machine."""

    code = "model"


class ScheduleError(ModelError):
    """The pump schedule is malformed for any machine."""

    code = "model.schedule"


class CapabilityError(CimError):
    """The request is well formed, but this machine cannot fulfil it.

    Parameters
    ----------
    what : str
        The field of `Capabilities` that is exceeded.
    required, available
        What the request needs, and what the machine has.
    """

    code = "capability"

    def __init__(self, what: str, *, required: Detail, available: Detail, hint: str = "") -> None:
        super().__init__(
            f"{what}: the request needs {required}, the device has {available}",
            hint=hint,
            what=what,
            required=required,
            available=available,
        )


class TargetError(CimError):
    """No machine has that name."""

    code = "target"


class ProtocolError(CimError):
    """A rule of the protocol was broken."""

    code = "protocol"


class LocalProtocolError(ProtocolError):
    """A rule of the protocol was broken on this side."""

    code = "protocol.local"


class RemoteProtocolError(ProtocolError):
    """A rule of the protocol was broken on the other side."""

    code = "protocol.remote"


class VersionError(ProtocolError):
    """The two sides have no protocol version in common."""

    code = "protocol.version"


class ConflictError(ProtocolError):
    """The idempotency key was used before, for a different request."""

    code = "protocol.conflict"


class InUseError(ProtocolError):
    """Jobs need the couplings that are to be dropped."""

    code = "protocol.in_use"


class UnknownReferenceError(ProtocolError):
    """The server does not know that session, upload, job or those couplings."""

    code = "protocol.unknown_reference"


class TransportError(CimError):
    """A message could not be delivered."""

    code = "transport"


class ConnectError(TransportError):
    """No server answers at the endpoint."""

    code = "transport.connect"
    retryable = True


class ClosedError(TransportError):
    """The session was closed on this side."""

    code = "transport.closed"


class BindError(TransportError):
    """The server cannot listen at the endpoint."""

    code = "transport.bind"


class NoMachineError(TransportError):
    """A pool has no machine left."""

    code = "transport.no_machine"


class TransportTimeoutError(TransportError, TimeoutError):
    """No reply came in time."""

    code = "transport.timeout"
    retryable = True


class AuthenticationError(TransportError):
    """One side refuses the other; another attempt does not help."""

    code = "transport.authentication"


class UnknownKeyError(AuthenticationError):
    """The server does not know the key of the client."""

    code = "transport.unknown_key"


class ServerKeyError(AuthenticationError):
    """The server ended the handshake; most likely it does not hold the expected key."""

    code = "transport.server_key"


class EncryptionError(AuthenticationError):
    """Only one side uses keys, or the ZeroMQ library here lacks encryption."""

    code = "transport.encryption"


class SessionError(CimError):
    """The session may not do this now."""

    code = "session"


class LeaseHeldError(SessionError):
    """Another user has locked the machine, or you have and did not pass the epoch of the lock.

    ``details`` has `holder`, `note` and `expires_in_s`.
    """

    code = "session.locked"


class LeaseLostError(SessionError):
    """The exclusive lock of this session expired or was broken; nothing was run.

    Not to be confused with `LockLostError`, which is about the cavity.
    """

    code = "session.lease_lost"


class QuotaError(SessionError):
    """A user would exceed a limit of this server.

    ``details`` has `what`, the field of ``limits``, `used` and `available`.
    """

    code = "session.quota"


class RateLimitedError(SessionError):
    """The user sends too many messages; try again after ``retry_after_s``."""

    code = "session.rate_limited"
    retryable: ClassVar[bool] = True


class PermissionDeniedError(CimError):
    """The role of the user does not allow it."""

    code = "permission"


class KeyFileError(CimError):
    """A key file is missing, malformed, or readable by others."""

    code = "key_file"


class CassetteError(CimError):
    """A recording cannot be written or read."""

    code = "cassette"


class JobError(CimError):
    """The job did not end with samples."""

    code = "job"


class JobCancelledError(JobError):
    """The job was cancelled."""

    code = "job.cancelled"


class JobTimeoutError(JobError, TimeoutError):
    """The job did not end within the timeout of the caller; it may still be running."""

    code = "job.timeout"


class QueueFullError(JobError):
    """The queue of the machine is full."""

    code = "job.queue_full"
    retryable = True


class KeyLimitError(JobError):
    """The server cannot remember more idempotency keys, and accepts no new one."""

    code = "job.key_limit"
    retryable = True


class StorageError(CimError):
    """The server cannot write to its disk, which may be full; the request had no effect."""

    code = "server.storage"
    retryable = True


class JournalError(CimError):
    """The journal is damaged, in use, or of another program or machine."""

    code = "journal"


class DeviceError(CimError):
    """The machine failed.

    Where the error is `retryable`, the same work may succeed as a new job.
    """

    code = "device"


class DeviceRestartedError(DeviceError):
    """The server restarted while the job ran; the machine may or may not have run it."""

    code = "device.restarted"
    retryable = True


class LockLostError(DeviceError):
    """The cavity lost its lock; the measurement is void.

    Not to be confused with `LeaseLostError`, which is about exclusive use of the machine.
    """

    code = "device.lock_lost"
    retryable = True


class EmergencyStopError(DeviceError):
    """Somebody stopped the machine; it stays off until an operator resets it."""

    code = "device.emergency_stop"


class InterlockError(DeviceError):
    """An interlock is open; the machine may not run until it is closed."""

    code = "device.interlock"


class CalibrationError(DeviceError):
    """The machine needs a calibration, and has none or one that is too old."""

    code = "device.calibration_stale"


class UnavailableError(DeviceError):
    """The driver does not start; the server tries again after ``retry_after_s``."""

    code = "device.unavailable"
    retryable = True


class DriverFaultError(DeviceError):
    """A driver raised an exception, broke its contract, hung or crashed."""

    code = "device.driver_fault"
