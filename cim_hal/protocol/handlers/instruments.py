"""The instruments of a machine: what it reports, whether it may run, and its calibrations."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from cim_hal.errors import CimError, UnavailableError
from cim_hal.machine.telemetry import DriverPhase, DriverState
from cim_hal.protocol.effects import Effect, Run, reply
from cim_hal.protocol.monitoring.calibrations import Calibrations
from cim_hal.protocol.wire.messages.instruments import (
    AskDevice,
    CancelCalibration,
    DeviceStatus,
    FetchHistory,
    GetCalibration,
    History,
    ListCalibrations,
    RunCalibration,
)

if TYPE_CHECKING:
    from cim_hal.machine.telemetry import Calibration, Telemetry
    from cim_hal.protocol.effects import Handlers
    from cim_hal.protocol.server_state import ServerState
    from cim_hal.protocol.wire.packet import Packet

__all__ = ["HISTORY", "InstrumentHandlers"]

HISTORY = 3600  # telemetry kept: an hour, at one a second
HISTORY_BYTES = 40_000  # of JSON, in one message


class InstrumentHandlers:
    """What the server knows of its machine beside its capabilities.

    Attributes
    ----------
    handlers : mapping
        By type of message; each takes a peer, a request, its body and the time.
    """

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._calibrations = Calibrations()
        self._history: deque[tuple[Telemetry, float]] = deque(maxlen=HISTORY)
        self._newest = 0
        self._condition, self._changed_at = DriverState(), 0.0
        self.handlers: Handlers = {
            AskDevice: self._device,
            FetchHistory: self._fetch_history,
            GetCalibration: self._get_calibration,
            ListCalibrations: self._list_calibrations,
            RunCalibration: self._run_calibration,
            CancelCalibration: self._cancel_calibration,
        }

    # ---- what the driver says ---------------------------------------------------------------

    def heard(self, telemetry: Telemetry, now: float) -> None:
        """Take telemetry."""
        self._history.append((telemetry, now))
        self._newest += 1

    def changed(self, condition: DriverState, now: float) -> None:
        """Take how the driver is."""
        self._condition, self._changed_at = condition, now

    def calibrated(
        self, key: str, outcome: Calibration | CimError, age_s: float, now: float
    ) -> list[Effect]:
        """Handle the outcome of a `Calibrate` effect."""
        return self._calibrations.finish(key, outcome, age_s, now)

    def restore(self, record: Calibration, age_s: float, now: float) -> None:
        """Make a calibration from before the start of the server the current one."""
        self._calibrations.add(record, age_s, now)

    # ---- rules ------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Refuse jobs where the machine cannot, or must not, run them.

        Raises
        ------
        UnavailableError
            Its driver does not start.
        InterlockError
            An interlock is open.
        CalibrationError
            The machine needs a calibration, and has none, or one that is too old.
        """
        condition = self._driver(now)
        if condition.phase is DriverPhase.BROKEN:
            raise UnavailableError(
                f"the driver of the machine does not start: {condition.fault}",
                hint=f"it is tried again in {condition.retry_after_s:.0f} s",
                retry_after_s=condition.retry_after_s,
            )
        if self._history:
            self._history[-1][0].check_interlocks()
        if self._state.capabilities.needs_calibration:
            self._calibrations.check(now)

    def ready(self, run: Run, now: float) -> Run:
        """Return a run with the current calibration, or with what forbids it."""
        try:
            self.check(now)
        except CimError as error:
            return replace(run, refusal=error)
        program = replace(run.program, calibration=self._calibrations.current)
        return replace(run, program=program)

    def tick(self, now: float) -> list[Effect]:
        """Answer waits that are over."""
        return self._calibrations.tick(now)

    # ---- requests ---------------------------------------------------------------------------

    def status(self, now: float) -> DeviceStatus:
        """Return how the machine and its driver are."""
        telemetry, heard_at = self._history[-1] if self._history else (None, now)
        record = self._calibrations.current
        age_s = self._calibrations.age_s(record, now) if record else 0.0
        return DeviceStatus(
            driver=self._driver(now),
            telemetry=telemetry,
            number=self._newest,
            age_s=max(now - heard_at, 0.0),
            calibration=record.fingerprint if record else None,
            calibration_age_s=age_s,
            calibration_stale=record is not None and record.is_stale(age_s),
        )

    def _device(self, peer: bytes, request: Packet, _ask: AskDevice, now: float) -> list[Effect]:
        return [reply(peer, request, self.status(now))]

    def _fetch_history(
        self, peer: bytes, request: Packet, fetch: FetchHistory, _now: float
    ) -> list[Effect]:
        oldest = self._newest - len(self._history) + 1
        first = max(fetch.after + 1, oldest)
        found: list[Telemetry] = []
        n_bytes = 0
        for telemetry, _ in islice(self._history, first - oldest, None):
            n_bytes += len(telemetry.model_dump_json())
            if found and n_bytes > HISTORY_BYTES:
                break
            found.append(telemetry)
        history = History(telemetry=tuple(found), first=first, newest=self._newest)
        return [reply(peer, request, history)]

    def _get_calibration(
        self, peer: bytes, request: Packet, ask: GetCalibration, now: float
    ) -> list[Effect]:
        return [reply(peer, request, self._calibrations.get(ask.fingerprint, now))]

    def _list_calibrations(
        self, peer: bytes, request: Packet, ask: ListCalibrations, _now: float
    ) -> list[Effect]:
        return [reply(peer, request, self._calibrations.listed(ask.first))]

    def _run_calibration(
        self, peer: bytes, request: Packet, run: RunCalibration, now: float
    ) -> list[Effect]:
        deadline = now + min(run.timeout_s, self._state.limits.wait_s) if run.timeout_s else None
        user = self._state.user(request)
        return self._calibrations.run(peer, request, run.key, user, deadline=deadline)

    def _cancel_calibration(
        self, peer: bytes, request: Packet, cancel: CancelCalibration, _now: float
    ) -> list[Effect]:
        return self._calibrations.cancel(peer, request, cancel.key, self._state.user(request))

    def _driver(self, now: float) -> DriverState:
        left = max(self._condition.retry_after_s - (now - self._changed_at), 0.0)
        return self._condition.model_copy(update={"retry_after_s": left})
