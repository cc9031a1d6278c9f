"""Telemetry and calibrations of a machine."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from cim_hal.client.interrupts import CallCancelledError, observing
from cim_hal.client.options import checked
from cim_hal.client.runner import SessionPart, blocking
from cim_hal.errors import JobTimeoutError, ModelError
from cim_hal.model.conversion import whole_number
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
    from cim_hal.client.steps import Steps
    from cim_hal.protocol.wire.messages.instruments import CalibrationEntry

__all__ = ["InstrumentMethods"]

POLL_S = 10.0


class InstrumentMethods(SessionPart):
    """The methods of a session for telemetry and calibrations."""

    def telemetry(self, *, timeout_s: float | None = None) -> DeviceStatus:
        """Ask for the state of the machine and its driver: newest telemetry, calibration."""
        return self._ask(AskDevice(), DeviceStatus, timeout_s)

    @blocking
    def history(self, *, after: int = 0, timeout_s: float | None = None) -> Steps[History]:
        """Ask for the telemetry that the server has kept, the oldest first.

        Parameters
        ----------
        after : int
            Return only what has a larger number; pass ``history.newest`` of the last call to
            continue.
        """
        deadline = self._client.deadline(timeout_s)
        fetch = FetchHistory(after=whole_number("after", after, ModelError, 0, 2**63 - 1))
        part = yield from self._client.ask(fetch, History, deadline=deadline)
        first, telemetry = part.first, part.telemetry
        while part.telemetry and first + len(telemetry) <= part.newest:
            fetch = FetchHistory(after=first + len(telemetry) - 1)
            part = yield from self._client.ask(fetch, History, deadline=deadline)
            telemetry += part.telemetry
        return History(telemetry=telemetry, first=first, newest=part.newest)

    def calibration(
        self, fingerprint: str | None = None, *, timeout_s: float | None = None
    ) -> CalibrationRecord:
        """Ask for a calibration, for instance the one that a record names.

        Parameters
        ----------
        fingerprint : str, optional
            The current calibration if None.

        Raises
        ------
        UnknownReferenceError
            There is none.
        """
        ask = checked(GetCalibration, fingerprint=fingerprint)
        return self._ask(ask, CalibrationRecord, timeout_s)

    @blocking
    def calibrations(
        self, *, timeout_s: float | None = None
    ) -> Steps[tuple[CalibrationEntry, ...]]:
        """List the calibrations that the server knows, the newest first."""
        deadline, client = self._client.deadline(timeout_s), self._client
        part = yield from client.ask(ListCalibrations(), CalibrationList, deadline=deadline)
        records = part.records
        while part.cursor:
            rest = ListCalibrations(first=part.cursor)
            part = yield from client.ask(rest, CalibrationList, deadline=deadline)
            records += part.records
        return records

    def calibrate(self, *, timeout_s: float | None = None) -> CalibrationRecord:
        """Calibrate the machine when it is free; needs the role operator.

        An interrupt (Ctrl-C) cancels the calibration.

        Parameters
        ----------
        timeout_s : float, optional
            How long to wait before the calibration is cancelled; without limit if None.

        Raises
        ------
        CapabilityError
            The machine cannot be calibrated.
        JobTimeoutError
            It was not done in time.
        DeviceError
            It failed.
        """
        key = secrets.token_hex(16)
        try:
            return self._run(self._calibrate(key, timeout_s))
        except (KeyboardInterrupt, CallCancelledError):
            with observing(None):
                self._ask(CancelCalibration(key=key), CalibrationState)
            raise

    def _calibrate(self, key: str, timeout_s: float | None) -> Steps[CalibrationRecord]:
        try:
            state = yield from self._wait_for_calibration(key, timeout_s)
        except JobTimeoutError:
            yield from self._client.ask(CancelCalibration(key=key), CalibrationState)
            raise
        if state.error is not None:
            raise as_error(state.error)
        get = GetCalibration(fingerprint=state.fingerprint)
        return (yield from self._client.ask(get, CalibrationRecord))

    def _wait_for_calibration(self, key: str, timeout_s: float | None) -> Steps[CalibrationState]:
        deadline = self._client.deadline(timeout_s)
        while True:
            poll_s = min(self._client.remaining_s(deadline), POLL_S)
            run = RunCalibration(key=key, timeout_s=poll_s)
            state = yield from self._client.ask(run, CalibrationState, poll_s=poll_s)
            if state.state != "running":
                return state
            if poll_s <= 0:
                raise JobTimeoutError(f"the calibration was not done within {timeout_s:g} s")
