"""Errors and their codes on the wire. The table is closed; names of classes never travel."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cim_hal import errors
from cim_hal.errors import CimError, Detail, RemoteProtocolError, rebuild
from cim_hal.protocol.wire.base import ErrorMessage

__all__ = ["CLASSES", "as_error", "to_wire"]

CLASSES: Mapping[str, type[CimError]] = MappingProxyType(
    {
        cls.code: cls
        for cls in (
            errors.ModelError,
            errors.ScheduleError,
            errors.CapabilityError,
            errors.LocalProtocolError,
            errors.RemoteProtocolError,
            errors.VersionError,
            errors.ConflictError,
            errors.InUseError,
            errors.UnknownReferenceError,
            errors.PermissionDeniedError,
            errors.LeaseHeldError,
            errors.LeaseLostError,
            errors.QuotaError,
            errors.RateLimitedError,
            errors.JobCancelledError,
            errors.JobLostError,
            errors.QueueFullError,
            errors.KeyLimitError,
            errors.StorageError,
            errors.DeviceError,
            errors.DeviceRestartedError,
            errors.LockLostError,
            errors.InterlockError,
            errors.EmergencyStopError,
            errors.CalibrationError,
            errors.UnavailableError,
            errors.DriverFaultError,
        )
    }
)

# "Our side" of the sender is "the other side" of the reader.
_MIRROR = {
    errors.LocalProtocolError.code: errors.RemoteProtocolError.code,
    errors.RemoteProtocolError.code: errors.LocalProtocolError.code,
}
_MAX_TEXT = 2000
_MAX_DETAILS = 32


def to_wire(error: CimError) -> ErrorMessage:
    """Return the message for an error: code, sentence and fields, cut to what the wire takes."""
    code = next((cls.code for cls in type(error).__mro__ if _travels(cls)), "internal")
    details = dict(list(error.details.items())[:_MAX_DETAILS])
    return ErrorMessage(
        code=_MIRROR.get(code, code),
        message=_cut(error.message),
        hint=_cut(error.hint),
        details={name: _fitting(value) for name, value in details.items()},
    )


def as_error(fault: ErrorMessage) -> CimError:
    """Return the error for a message.

    A code this side does not know becomes a `RemoteProtocolError` with the sender's sentence.
    """
    cls = CLASSES.get(fault.code)
    if cls is not None:
        return rebuild(cls, fault.message, fault.hint, fault.details)
    return RemoteProtocolError(
        f"the server answered with the unknown error {fault.code!r}: {fault.message}",
        hint=fault.hint,
        fault=fault.code,
    )


def _travels(cls: type) -> bool:
    return issubclass(cls, CimError) and CLASSES.get(cls.code) is cls


def _cut(text: str) -> str:
    readable = text.encode("utf-8", "replace").decode()
    return readable if len(readable) <= _MAX_TEXT else readable[: _MAX_TEXT - 1] + "…"


def _fitting(value: Detail) -> Detail:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    return _cut(str(value))
