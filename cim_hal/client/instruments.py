"""Telemetry and calibrations of a machine, asked over a connection."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, TypeVar

from cim_hal.errors import JobTimeoutError, VersionError
from cim_hal.protocol.faults import as_error
from cim_hal.protocol.messages import (
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

if TYPE_CHECKING:
    from cim_hal.client.connection import Connection
    from cim_hal.protocol.instrumentation import CalibrationEntry
    from cim_hal.protocol.messages import Message

__all__ = ["Instruments"]

SINCE = (1, 2)
WAIT_S = 10.0

Answer = TypeVar("Answer", bound="Message")


class Instruments:
    """What `Session` says of telemetry and calibrations."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def device(self) -> DeviceStatus:
        """Return how the machine and its driver are."""
        return self._ask(AskDevice(), DeviceStatus)

    def history(self, after: int) -> History:
        """Return the telemetry with numbers above `after`, from all messages it takes."""
        part = self._ask(FetchHistory(after=after), History)
        first, telemetry = part.first, part.telemetry
        while part.telemetry and first + len(telemetry) <= part.newest:
            part = self._ask(FetchHistory(after=first + len(telemetry) - 1), History)
            telemetry += part.telemetry
        return History(telemetry=telemetry, first=first, newest=part.newest)

    def calibration(self, fingerprint: str | None) -> CalibrationRecord:
        """Return a calibration, or the current one."""
        return self._ask(GetCalibration(fingerprint=fingerprint), CalibrationRecord)

    def calibrations(self) -> tuple[CalibrationEntry, ...]:
        """Return all calibrations there are, the newest first."""
        part = self._ask(ListCalibrations(), CalibrationList)
        records = part.records
        while part.records and len(records) < part.total:
            part = self._ask(ListCalibrations(first=len(records)), CalibrationList)
            records += part.records
        return records

    def calibrate(self, timeout_s: float | None) -> CalibrationRecord:
        """Calibrate the machine; a caller that gives up, or is interrupted, ends it."""
        key = secrets.token_hex(16)
        try:
            state = self._wait(key, timeout_s)
        except (JobTimeoutError, KeyboardInterrupt):
            self._ask(CancelCalibration(key=key), CalibrationState)
            raise
        if state.error is not None:
            raise as_error(state.error)
        return self.calibration(state.fingerprint)

    def _wait(self, key: str, timeout_s: float | None) -> CalibrationState:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = WAIT_S if deadline is None else min(deadline - time.monotonic(), WAIT_S)
            run = RunCalibration(key=key, timeout_s=max(left, 0.0))
            state = self._ask(run, CalibrationState, wait_s=run.timeout_s)
            if state.state != "running":
                return state
            if left <= 0:
                raise JobTimeoutError(f"the calibration was not done within {timeout_s:g} s")

    def _ask(self, body: Message, expected: type[Answer], *, wait_s: float = 0.0) -> Answer:
        major, minor = self._connection.welcome.protocol
        if (major, minor) < SINCE:
            raise VersionError(
                f"the server speaks protocol {major}.{minor}, which knows no {body.t}",
                hint="telemetry and calibrations came with 1.2: update cim-hal on the server",
            )
        return self._connection.ask(body, expected, wait_s=wait_s)
