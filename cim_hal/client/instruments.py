"""Telemetry and calibrations of a machine, as steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from cim_hal.errors import JobTimeoutError
from cim_hal.protocol.wire.errors import as_error
from cim_hal.protocol.wire.messages import (
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
    from cim_hal.client.requests import RequestClient
    from cim_hal.client.steps import Steps
    from cim_hal.protocol.wire.messages import Message
    from cim_hal.protocol.wire.messages.instruments import CalibrationEntry

__all__ = ["Instruments"]

SINCE = (1, 0)
WAIT_S = 10.0

Answer = TypeVar("Answer", bound="Message")


class Instruments:
    """What a session says of telemetry and calibrations, as steps."""

    def __init__(self, dialogue: RequestClient) -> None:
        self._dialogue = dialogue

    def device(self, timeout_s: float | None) -> Steps[DeviceStatus]:
        """Return how the machine and its driver are."""
        until = self._dialogue.until(timeout_s)
        return (yield from self._ask(AskDevice(), DeviceStatus, until=until))

    def history(self, after: int, timeout_s: float | None) -> Steps[History]:
        """Return the telemetry with numbers above `after`, from all messages it takes."""
        until = self._dialogue.until(timeout_s)
        part = yield from self._ask(FetchHistory(after=after), History, until=until)
        first, telemetry = part.first, part.telemetry
        while part.telemetry and first + len(telemetry) <= part.newest:
            fetch = FetchHistory(after=first + len(telemetry) - 1)
            part = yield from self._ask(fetch, History, until=until)
            telemetry += part.telemetry
        return History(telemetry=telemetry, first=first, newest=part.newest)

    def calibration(
        self, fingerprint: str | None, timeout_s: float | None
    ) -> Steps[CalibrationRecord]:
        """Return a calibration, or the current one."""
        get, until = GetCalibration(fingerprint=fingerprint), self._dialogue.until(timeout_s)
        return (yield from self._ask(get, CalibrationRecord, until=until))

    def calibrations(self, timeout_s: float | None) -> Steps[tuple[CalibrationEntry, ...]]:
        """Return all calibrations there are, the newest first."""
        until = self._dialogue.until(timeout_s)
        part = yield from self._ask(ListCalibrations(), CalibrationList, until=until)
        records = part.records
        while part.records and len(records) < part.total:
            rest = ListCalibrations(first=len(records))
            part = yield from self._ask(rest, CalibrationList, until=until)
            records += part.records
        return records

    def calibrate(self, key: str, timeout_s: float | None) -> Steps[CalibrationRecord]:
        """Calibrate the machine; a caller that gives up in time ends it."""
        try:
            state = yield from self._wait(key, timeout_s)
        except JobTimeoutError:
            yield from self.cancel(key)
            raise
        if state.error is not None:
            raise as_error(state.error)
        return (yield from self.calibration(state.fingerprint, None))

    def cancel(self, key: str) -> Steps[CalibrationState]:
        """End a calibration."""
        return (yield from self._ask(CancelCalibration(key=key), CalibrationState))

    def _wait(self, key: str, timeout_s: float | None) -> Steps[CalibrationState]:
        until = self._dialogue.until(timeout_s)
        while True:
            left_s = min(self._dialogue.left(until), WAIT_S)
            run = RunCalibration(key=key, timeout_s=left_s)
            state = yield from self._ask(run, CalibrationState, poll_s=left_s)
            if state.state != "running":
                return state
            if left_s <= 0:
                raise JobTimeoutError(f"the calibration was not done within {timeout_s:g} s")

    def _ask(
        self,
        body: Message,
        expected: type[Answer],
        *,
        poll_s: float = 0.0,
        until: float = math.inf,
    ) -> Steps[Answer]:
        yield from self._dialogue.need(SINCE, body.t, until)
        return (yield from self._dialogue.ask(body, expected, poll_s=poll_s, until=until))
