"""Telemetry and calibrations of a machine, as steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cim_hal.errors import JobTimeoutError
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
    from cim_hal.client.dialogue import Dialogue
    from cim_hal.client.steps import Steps
    from cim_hal.protocol.instrumentation import CalibrationEntry
    from cim_hal.protocol.messages import Message

__all__ = ["Instruments"]

SINCE = (1, 2)
WAIT_S = 10.0

Answer = TypeVar("Answer", bound="Message")


class Instruments:
    """What a session says of telemetry and calibrations, as steps."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue

    def device(self) -> Steps[DeviceStatus]:
        """Return how the machine and its driver are."""
        return (yield from self._ask(AskDevice(), DeviceStatus))

    def history(self, after: int) -> Steps[History]:
        """Return the telemetry with numbers above `after`, from all messages it takes."""
        part = yield from self._ask(FetchHistory(after=after), History)
        first, telemetry = part.first, part.telemetry
        while part.telemetry and first + len(telemetry) <= part.newest:
            fetch = FetchHistory(after=first + len(telemetry) - 1)
            part = yield from self._ask(fetch, History)
            telemetry += part.telemetry
        return History(telemetry=telemetry, first=first, newest=part.newest)

    def calibration(self, fingerprint: str | None) -> Steps[CalibrationRecord]:
        """Return a calibration, or the current one."""
        return (yield from self._ask(GetCalibration(fingerprint=fingerprint), CalibrationRecord))

    def calibrations(self) -> Steps[tuple[CalibrationEntry, ...]]:
        """Return all calibrations there are, the newest first."""
        part = yield from self._ask(ListCalibrations(), CalibrationList)
        records = part.records
        while part.records and len(records) < part.total:
            part = yield from self._ask(ListCalibrations(first=len(records)), CalibrationList)
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
        return (yield from self.calibration(state.fingerprint))

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

    def _ask(self, body: Message, expected: type[Answer], *, poll_s: float = 0.0) -> Steps[Answer]:
        yield from self._dialogue.need(SINCE, body.t)
        return (yield from self._dialogue.ask(body, expected, poll_s=poll_s))
