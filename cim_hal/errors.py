"""Every error of the package: one tree, stable codes, sentences a person can act on.

::

    CimError
    ├── ModelError (ValueError)            malformed for any machine; raised before any I/O
    │   └── ScheduleError
    ├── CapabilityError                    well formed, not for this machine
    ├── TargetError                        no device goes by that name
    ├── ProtocolError
    │   ├── LocalProtocolError             a bug on this side
    │   ├── RemoteProtocolError            a bug on the other side
    │   ├── VersionError                   no common protocol version
    │   ├── ConflictError                  one key, two different requests
    │   ├── InUseError                     jobs need it
    │   └── UnknownReferenceError          the server does not know that id
    ├── TransportError                     the bytes did not travel
    │   ├── ConnectError
    │   ├── ClosedError                    the session is closed, on this side
    │   ├── NoMachineError                 no machine of a pool is left
    │   ├── BindError
    │   ├── AuthenticationError            one side does not let the other in
    │   │   ├── UnknownKeyError            the server does not know the key of the client
    │   │   ├── ServerKeyError             the server does not hold the key it should
    │   │   └── EncryptionError            only one side uses keys, or can
    │   └── TransportTimeoutError (TimeoutError)
    ├── SessionError
    │   ├── LeaseHeldError                 another has locked the machine
    │   ├── LeaseLostError                 the lock that this session had is over
    │   ├── QuotaError                     more than one user may have
    │   └── RateLimitedError               too many messages in a short time
    ├── PermissionDeniedError              the role of the user does not allow it
    ├── KeyFileError                       a file of keys, missing, malformed or open to others
    ├── CassetteError                      a recorded conversation that cannot be written or read
    ├── JobError
    │   ├── JobCancelledError
    │   ├── JobTimeoutError (TimeoutError)
    │   ├── QueueFullError
    │   └── KeyLimitError                  the server remembers as many keys as it may
    ├── StorageError                       the server cannot write to its disk; try again
    ├── JournalError                       a journal on disk that a server cannot go on from
    └── DeviceError
        ├── DeviceRestartedError           the server was started anew while the job ran
        ├── LockLostError                  the cavity lost lock
        ├── InterlockError                 the machine may not run
        ├── EmergencyStopError             somebody stopped the machine
        ├── CalibrationError               its calibration is missing or too old
        ├── UnavailableError               its driver does not start
        └── DriverFaultError               a driver raised, or broke its contract

``TrainingError`` of ``qnn_train`` descends from `CimError` too. The wire carries a code and
the fields, never the name of a class.
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
        What was wrong and where.
    hint : str
        What would be right; empty where the message says it already.
    **details
        Fields a program can read, on the wire too.

    Attributes
    ----------
    code : str
        Stable; what travels on the wire.
    retryable : bool
        Whether the same request, sent again, may succeed. Where it is false it will not.
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
        """How long to wait at least before trying again: the detail of that name, or 0."""
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
    """Make an error again from its parts, past the constructor of its class."""
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
    """Well formed, but more than this machine has.

    Parameters
    ----------
    what : str
        The field of `Capabilities` that does not suffice.
    required, available
        What the request needs and what the machine has.
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
    """No device goes by that name."""

    code = "target"


class ProtocolError(CimError):
    """The conversation broke a rule."""

    code = "protocol"


class LocalProtocolError(ProtocolError):
    """Our own side broke a rule of the protocol."""

    code = "protocol.local"


class RemoteProtocolError(ProtocolError):
    """The other side broke a rule of the protocol."""

    code = "protocol.remote"


class VersionError(ProtocolError):
    """The two sides have no protocol version in common."""

    code = "protocol.version"


class ConflictError(ProtocolError):
    """The idempotency key was used before, for another request."""

    code = "protocol.conflict"


class InUseError(ProtocolError):
    """What is to be dropped is needed by jobs."""

    code = "protocol.in_use"


class UnknownReferenceError(ProtocolError):
    """The server does not know that session, upload, coupling or job."""

    code = "protocol.unknown_reference"


class TransportError(CimError):
    """The bytes did not travel."""

    code = "transport"


class ConnectError(TransportError):
    """Nobody answers at the endpoint."""

    code = "transport.connect"
    retryable = True


class ClosedError(TransportError):
    """The session is closed, on this side."""

    code = "transport.closed"


class BindError(TransportError):
    """The endpoint cannot be listened on."""

    code = "transport.bind"


class NoMachineError(TransportError):
    """No machine of a pool is left."""

    code = "transport.no_machine"


class TransportTimeoutError(TransportError, TimeoutError):
    """An answer did not come in time."""

    code = "transport.timeout"
    retryable = True


class AuthenticationError(TransportError):
    """One side does not let the other in; trying again does not help."""

    code = "transport.authentication"


class UnknownKeyError(AuthenticationError):
    """The server does not know the key of the client."""

    code = "transport.unknown_key"


class ServerKeyError(AuthenticationError):
    """The server broke the handshake off: it does not hold the key it should, most likely."""

    code = "transport.server_key"


class EncryptionError(AuthenticationError):
    """Only one side uses keys, or the ZeroMQ library here cannot."""

    code = "transport.encryption"


class SessionError(CimError):
    """The session may not do it now."""

    code = "session"


class LeaseHeldError(SessionError):
    """Another has locked the machine, or the lock is yours and you did not say so.

    ``details`` has the `holder`, the `note`, and `expires_in_s`.
    """

    code = "session.locked"


class LeaseLostError(SessionError):
    """The lock is over: it expired, or was broken; the machine was not touched."""

    code = "session.lease_lost"


class QuotaError(SessionError):
    """More than one user may have of this server.

    ``details`` has `what`, the field of ``limits``; `used`; and `available`.
    """

    code = "session.quota"


class RateLimitedError(SessionError):
    """The user sends too many messages; the next one is welcome after ``retry_after_s``."""

    code = "session.rate_limited"
    retryable: ClassVar[bool] = True


class PermissionDeniedError(CimError):
    """The role of the user does not allow it."""

    code = "permission"


class KeyFileError(CimError):
    """A file of keys is missing, malformed, or open to others."""

    code = "key_file"


class CassetteError(CimError):
    """A recorded conversation cannot be written or read."""

    code = "cassette"


class JobError(CimError):
    """The job did not end with samples."""

    code = "job"


class JobCancelledError(JobError):
    """The job was cancelled."""

    code = "job.cancelled"


class JobTimeoutError(JobError, TimeoutError):
    """The job was not done within the time the caller gave; it may still be running."""

    code = "job.timeout"


class QueueFullError(JobError):
    """The device has as many jobs waiting as it takes."""

    code = "job.queue_full"
    retryable = True


class KeyLimitError(JobError):
    """The server remembers the keys of as many jobs as it may, and takes no new one."""

    code = "job.key_limit"
    retryable = True


class StorageError(CimError):
    """The server cannot write to its disk, which may be full; nothing was done."""

    code = "server.storage"
    retryable = True


class JournalError(CimError):
    """A journal that is damaged, of another program or machine, or in use by another server."""

    code = "journal"


class DeviceError(CimError):
    """The machine could not do it.

    Where it is `retryable` the same job may succeed if it is submitted again, as another one.
    """

    code = "device"


class DeviceRestartedError(DeviceError):
    """The server was started anew while the job ran; whether the machine ran it is not known."""

    code = "device.restarted"
    retryable = True


class LockLostError(DeviceError):
    """The cavity lost lock, and what was measured is void."""

    code = "device.lock_lost"
    retryable = True


class EmergencyStopError(DeviceError):
    """Somebody stopped the machine; it is off until an operator resets it."""

    code = "device.emergency_stop"


class InterlockError(DeviceError):
    """An interlock is open: the machine may not run until somebody has seen to it."""

    code = "device.interlock"


class CalibrationError(DeviceError):
    """The machine runs only with a calibration, and has none, or one that is too old."""

    code = "device.calibration_stale"


class UnavailableError(DeviceError):
    """The driver does not start; the server tries again after ``details["retry_after_s"]``."""

    code = "device.unavailable"
    retryable = True


class DriverFaultError(DeviceError):
    """A driver raised an exception, returned something out of its contract, hung or crashed."""

    code = "device.driver_fault"
