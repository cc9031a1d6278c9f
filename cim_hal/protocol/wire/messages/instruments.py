"""What a server tells of its machine's instruments: telemetry, its history, calibrations."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cim_hal.machine.telemetry import Calibration, DriverState, Telemetry
from cim_hal.protocol.wire.base import Digest, ErrorMessage, Number, Reply, Request, Token, Wire
from cim_hal.protocol.wire.roles import Role

__all__ = [
    "AskDevice",
    "CalibrationEntry",
    "CalibrationList",
    "CalibrationRecord",
    "CalibrationState",
    "CancelCalibration",
    "DeviceStatus",
    "FetchHistory",
    "GetCalibration",
    "History",
    "ListCalibrations",
    "RunCalibration",
]

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class CalibrationEntry(Wire):
    """A calibration in a list."""

    fingerprint: Digest
    taken_at: Seconds
    valid_s: Seconds


class AskDevice(Request, role=Role.OBSERVER, safety=True):
    """Ask for the state of the machine and its driver."""

    t: Literal["device.status"] = "device.status"


class FetchHistory(Request, role=Role.OBSERVER):
    """Fetch telemetry with numbers above `after`, the oldest first, as much as fits."""

    t: Literal["device.history"] = "device.history"
    after: Number = 0


class GetCalibration(Request, role=Role.OBSERVER):
    """Fetch a calibration: the current one where `fingerprint` is None."""

    t: Literal["calibration.get"] = "calibration.get"
    fingerprint: Digest | None = None


class ListCalibrations(Request, role=Role.OBSERVER):
    """List calibrations, the newest first, or from the cursor `first` on, as many as fit."""

    t: Literal["calibration.list"] = "calibration.list"
    first: Number = 0


class RunCalibration(Request, role=Role.OPERATOR):
    """Calibrate when the machine is free, and answer when that is done or after `timeout_s`.

    The same key is the same calibration, however often it arrives: so a client waits on.
    """

    t: Literal["calibration.run"] = "calibration.run"
    key: Token
    timeout_s: Seconds = 0.0


class CancelCalibration(Request, role=Role.OPERATOR, safety=True):
    """End a calibration early. After its end this changes nothing."""

    t: Literal["calibration.cancel"] = "calibration.cancel"
    key: Token


class DeviceStatus(Reply):
    """How the machine and its driver are.

    Attributes
    ----------
    driver : DriverState
    telemetry : Telemetry or None
        The newest, of number `number` and `age_s` seconds old; None and 0 where there is none.
        Telemetry whose `taken_at` stands still grows old.
    telemetry_stale : bool
        Whether it is not the present state: older than 5 s, or of before the driver failed. While
        a job runs: whether it was older when that began, since drivers need not report in runs.
    calibration : str or None
        Fingerprint of the current calibration.
    calibration_stale : bool
        Whether that is older than it is valid.
    """

    t: Literal["device.state"] = "device.state"
    driver: DriverState
    telemetry: Telemetry | None = None
    number: Number = 0
    age_s: Seconds = 0.0
    telemetry_stale: bool = False
    calibration: Digest | None = None
    calibration_age_s: Seconds = 0.0
    calibration_stale: bool = False


class History(Reply):
    """Telemetry as it came: `first` is the number of the first, `newest` of the last there is."""

    t: Literal["device.readings"] = "device.readings"
    telemetry: tuple[Telemetry, ...]
    first: Number
    newest: Number


class CalibrationRecord(Reply):
    """A calibration."""

    t: Literal["calibration.record"] = "calibration.record"
    fingerprint: Digest
    calibration: Calibration
    age_s: Seconds
    is_current: bool


class CalibrationList(Reply):
    """Calibrations, the newest first, `total` of them in all.

    Where `cursor` is not 0 there are more: ``calibration.list`` with `first` = `cursor` goes on,
    whatever was added meanwhile.
    """

    t: Literal["calibration.records"] = "calibration.records"
    records: tuple[CalibrationEntry, ...]
    first: Number
    total: Number
    cursor: Number = 0


class CalibrationState(Reply):
    """Where a calibration is: `fingerprint` where it is done, `error` where it failed."""

    t: Literal["calibration.state"] = "calibration.state"
    key: Token
    state: Literal["running", "done", "failed"]
    fingerprint: Digest | None = None
    error: ErrorMessage | None = None
