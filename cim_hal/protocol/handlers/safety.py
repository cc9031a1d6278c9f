"""Handlers of the emergency stop: everything is switched off at once, until a reset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cim_hal.errors import ConflictError, EmergencyStopError
from cim_hal.protocol.effects import Audit, MakeSafe, reply
from cim_hal.protocol.jobs.records import Stopped
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.messages.control import (
    EmergencyStop,
    ResetDevice,
    SafetyInfo,
    SafetyState,
)

if TYPE_CHECKING:
    from cim_hal.errors import CimError
    from cim_hal.protocol.effects import Effect, Handlers
    from cim_hal.protocol.server_state import ServerState
    from cim_hal.protocol.wire.packet import Packet

__all__ = ["SafetyHandlers"]


class SafetyHandlers:
    """Answers emergency stops and resets.

    While a stop holds jobs may be queued and none starts. A second stop makes the machine safe once
    more and leaves the first on record.
    """

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._jobs, self._epochs = state.jobs, state.epochs
        self.handlers: Handlers = {
            EmergencyStop: self._stop,
            ResetDevice: self._reset,
            SafetyInfo: self._info,
        }

    @property
    def stopped(self) -> Stopped | None:
        """The stop that holds."""
        return self._epochs.stopped

    def state(self, now: float) -> SafetyState:
        """Return the message that says whether a stop holds."""
        stopped = self.stopped
        if stopped is None:
            return SafetyState()
        return SafetyState(
            stop=stopped.number,
            by=stopped.by,
            reason=stopped.reason,
            for_s=max(now - stopped.since, 0.0),
        )

    def check(self) -> None:
        """Refuse what must not even wait for the machine.

        Raises
        ------
        EmergencyStopError
            A stop holds.
        """
        if self.stopped is not None:
            raise _error(self.stopped.by, self.stopped.reason)

    def _stop(self, peer: bytes, request: Packet, body: EmergencyStop, now: float) -> list[Effect]:
        user, stopped = self._state.user(request), self.stopped
        if stopped is None:
            stopped = Stopped(next(self._epochs), user.name, body.reason, now)
            self._epochs.stopped = stopped
        interrupted = self._jobs.interrupt(_error(user.name, body.reason), now)
        answered = reply(peer, request, self.state(now))
        audit = Audit("estop", user, {"stop": stopped.number, "reason": body.reason})

        def on_saved(_now: float) -> list[Effect]:
            return [answered, audit]

        def on_save_failed(_error: CimError, _now: float) -> list[Effect]:
            return [answered, audit]  # it holds, as long as this server lives

        # Off first; then what is left of the job, and the answer.
        return [MakeSafe(), *interrupted, *self._epochs.keep(stopped, on_saved, on_save_failed)]

    def _reset(self, peer: bytes, request: Packet, body: ResetDevice, now: float) -> list[Effect]:
        user, stopped = self._state.user(request), self.stopped
        if stopped is None:
            return [reply(peer, request, self.state(now))]
        if body.stop != stopped.number:
            raise ConflictError(
                f"{stopped.by} stopped the machine since, and this reset is of another stop",
                hint="look at who stopped it and why, then reset that stop",
                stop=stopped.number,
            )

        def go_on(now: float) -> list[Effect]:
            self._epochs.stopped = None
            facts = {"stop": stopped.number, "stopped_by": stopped.by}
            return [
                reply(peer, request, self.state(now)),
                *self._jobs.start_next(now),
                Audit("reset", user, facts),
            ]

        def refuse(error: CimError, _now: float) -> list[Effect]:
            return [reply(peer, request, to_wire(error))]

        return self._epochs.keep(None, go_on, refuse)

    def _info(self, peer: bytes, request: Packet, _body: SafetyInfo, now: float) -> list[Effect]:
        return [reply(peer, request, self.state(now))]


def _error(user: str, reason: str) -> EmergencyStopError:
    return EmergencyStopError(
        f"{user} stopped the machine" + (f": {reason}" if reason else ""),
        hint="try again when an operator has reset it",
        by=user,
        reason=reason,
    )
