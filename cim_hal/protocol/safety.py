"""The emergency stop: everything off at once, and nothing on again until somebody says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cim_hal.errors import ConflictError, EmergencyStopError
from cim_hal.protocol.control import EmergencyStop, ResetDevice, SafetyInfo, SafetyState
from cim_hal.protocol.effects import Audit, MakeSafe, Reply
from cim_hal.protocol.packet import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cim_hal.protocol.effects import Effect
    from cim_hal.protocol.jobs import JobBook
    from cim_hal.protocol.packet import Packet
    from cim_hal.protocol.roles import User

__all__ = ["Safety", "Stopped"]


@dataclass(frozen=True)
class Stopped:
    """An emergency stop that holds.

    Attributes
    ----------
    number : int
        Which one: a reset names it, so that no late one undoes a stop it does not know of.
    """

    number: int
    user: User
    reason: str
    since: float


class Safety:
    """Answers emergency stops and resets.

    While a stop holds jobs may be queued and none starts. A second stop makes the machine safe once
    more and leaves the first on record.
    """

    def __init__(
        self, jobs: JobBook, user_of: Callable[[Packet], User], numbers: Iterator[int]
    ) -> None:
        self._jobs = jobs
        self._user_of = user_of
        self._numbers = numbers
        self.stopped: Stopped | None = None
        self.handlers: dict[Any, Callable[[bytes, Packet, Any, float], list[Effect]]] = {
            EmergencyStop: self._stop,
            ResetDevice: self._reset,
            SafetyInfo: self._info,
        }

    def state(self, now: float) -> SafetyState:
        """Return the message that says whether a stop holds."""
        stopped = self.stopped
        if stopped is None:
            return SafetyState()
        return SafetyState(
            stop=stopped.number,
            by=stopped.user.name,
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
            raise _error(self.stopped.user, self.stopped.reason)

    def _stop(self, peer: bytes, request: Packet, body: EmergencyStop, now: float) -> list[Effect]:
        user = self._user_of(request)
        if self.stopped is None:
            self.stopped = Stopped(next(self._numbers), user, body.reason, now)
        interrupted = self._jobs.interrupt(_error(user, body.reason), now)
        reply = Reply(peer, answer(request, self.state(now)))
        facts = {"stop": self.stopped.number, "reason": body.reason}
        # Off first; then what is left of the job, and the answer.
        return [MakeSafe(), *interrupted, reply, Audit("estop", user, facts)]

    def _reset(self, peer: bytes, request: Packet, body: ResetDevice, now: float) -> list[Effect]:
        user, stopped = self._user_of(request), self.stopped
        if stopped is None:
            return [Reply(peer, answer(request, self.state(now)))]
        if body.stop != stopped.number:
            raise ConflictError(
                f"{stopped.user.name} stopped the machine since, and this reset is of another stop",
                hint="look at who stopped it and why, then reset that stop",
                stop=stopped.number,
            )
        self.stopped = None
        facts = {"stop": stopped.number, "stopped_by": stopped.user.name}
        return [
            Reply(peer, answer(request, self.state(now))),
            *self._jobs.start_next(now),
            Audit("reset", user, facts),
        ]

    def _info(self, peer: bytes, request: Packet, _body: SafetyInfo, now: float) -> list[Effect]:
        return [Reply(peer, answer(request, self.state(now)))]


def _error(user: User, reason: str) -> EmergencyStopError:
    return EmergencyStopError(
        f"{user.name} stopped the machine" + (f": {reason}" if reason else ""),
        hint="try again when an operator has reset it",
        by=user.name,
        reason=reason,
    )
