"""The emergency stop: everything off at once, and nothing on again until somebody says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cim_hal.errors import ConflictError, EmergencyStopError
from cim_hal.protocol.effects import Audit, MakeSafe, Reply
from cim_hal.protocol.jobs.records import Stopped
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.messages.control import (
    EmergencyStop,
    ResetDevice,
    SafetyInfo,
    SafetyState,
)
from cim_hal.protocol.wire.packet import answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from cim_hal.errors import CimError
    from cim_hal.protocol.effects import Effect
    from cim_hal.protocol.jobs.table import JobTable
    from cim_hal.protocol.sharing.epochs import EpochLog
    from cim_hal.protocol.wire.packet import Packet
    from cim_hal.protocol.wire.roles import User

__all__ = ["SafetyHandlers"]


class SafetyHandlers:
    """Answers emergency stops and resets.

    While a stop holds jobs may be queued and none starts. A second stop makes the machine safe once
    more and leaves the first on record.
    """

    def __init__(
        self, jobs: JobTable, user_of: Callable[[Packet], User], controls: EpochLog
    ) -> None:
        self._jobs = jobs
        self._user_of = user_of
        self._controls = controls
        self.handlers: dict[Any, Callable[[bytes, Packet, Any, float], list[Effect]]] = {
            EmergencyStop: self._stop,
            ResetDevice: self._reset,
            SafetyInfo: self._info,
        }

    @property
    def stopped(self) -> Stopped | None:
        """The stop that holds."""
        return self._controls.stopped

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
        user, stopped = self._user_of(request), self.stopped
        if stopped is None:
            stopped = Stopped(next(self._controls), user.name, body.reason, now)
            self._controls.stopped = stopped
        interrupted = self._jobs.interrupt(_error(user.name, body.reason), now)
        reply = Reply(peer, answer(request, self.state(now)))
        audit = Audit("estop", user, {"stop": stopped.number, "reason": body.reason})

        def told(_now: float) -> list[Effect]:
            return [reply, audit]

        def on_save_failed(_error: CimError, _now: float) -> list[Effect]:
            return [reply, audit]  # it holds, as long as this server lives

        # Off first; then what is left of the job, and the answer.
        return [MakeSafe(), *interrupted, *self._controls.keep(stopped, told, on_save_failed)]

    def _reset(self, peer: bytes, request: Packet, body: ResetDevice, now: float) -> list[Effect]:
        user, stopped = self._user_of(request), self.stopped
        if stopped is None:
            return [Reply(peer, answer(request, self.state(now)))]
        if body.stop != stopped.number:
            raise ConflictError(
                f"{stopped.by} stopped the machine since, and this reset is of another stop",
                hint="look at who stopped it and why, then reset that stop",
                stop=stopped.number,
            )

        def go_on(now: float) -> list[Effect]:
            self._controls.stopped = None
            facts = {"stop": stopped.number, "stopped_by": stopped.by}
            return [
                Reply(peer, answer(request, self.state(now))),
                *self._jobs.start_next(now),
                Audit("reset", user, facts),
            ]

        def refuse(error: CimError, _now: float) -> list[Effect]:
            return [Reply(peer, answer(request, to_wire(error)))]

        return self._controls.keep(None, go_on, refuse)

    def _info(self, peer: bytes, request: Packet, _body: SafetyInfo, now: float) -> list[Effect]:
        return [Reply(peer, answer(request, self.state(now)))]


def _error(user: str, reason: str) -> EmergencyStopError:
    return EmergencyStopError(
        f"{user} stopped the machine" + (f": {reason}" if reason else ""),
        hint="try again when an operator has reset it",
        by=user,
        reason=reason,
    )
