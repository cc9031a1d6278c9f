"""Handlers of the requests about the lock, and its effect on waiting jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cim_hal.errors import LeaseLostError
from cim_hal.protocol.effects import Audit, reply
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.messages.control import LockDevice, LockInfo, UnlockDevice

if TYPE_CHECKING:
    from cim_hal.errors import CimError
    from cim_hal.protocol.effects import Effect, Handlers
    from cim_hal.protocol.server_state import ServerState
    from cim_hal.protocol.sharing.locks import Lock
    from cim_hal.protocol.wire.packet import Packet
    from cim_hal.protocol.wire.roles import User

__all__ = ["LockHandlers"]


class LockHandlers:
    """Answers requests about the lock, and ends locks that ran out.

    Jobs that were submitted under a lock and still wait when it ends become ordinary ones where
    its holder gave it back, and are ended where it was lost: no old epoch reaches the machine.
    """

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._locks, self._jobs = state.locks, state.jobs
        self.handlers: Handlers = {
            LockDevice: self._lock,
            UnlockDevice: self._unlock,
            LockInfo: self._info,
        }

    def tick(self, now: float) -> list[Effect]:
        """Take back a lock that ran out."""
        lock = self._locks.expire(now)
        return self._after_loss(lock, "expired", lock.user, now) if lock else []

    def end_session(self, session: str, now: float) -> list[Effect]:
        """Take back the lock of a session that ends."""
        lock = self._locks.end_session(session)
        return self._after_return(lock, lock.user, now) if lock else []

    def _lock(self, peer: bytes, request: Packet, body: LockDevice, now: float) -> list[Effect]:
        owner, before = self._state.owner(request), self._locks.lock
        lock = self._locks.grant(owner, body, now)
        answered = reply(peer, request, self._locks.state(owner, now))
        if lock is before:
            return [answered]
        facts = {"epoch": lock.epoch, "note": lock.note, "for_s": body.for_s}

        def on_saved(_now: float) -> list[Effect]:
            return [answered, Audit("lock", owner.user, facts)]

        def undo(error: CimError, now: float) -> list[Effect]:
            self._locks.withdraw(owner, lock)
            return [reply(peer, request, to_wire(error)), *self._jobs.start_next(now)]

        return self._state.epochs.keep(self._state.epochs.stopped, on_saved, undo)

    def _unlock(self, peer: bytes, request: Packet, body: UnlockDevice, now: float) -> list[Effect]:
        owner, effects = self._state.owner(request), []
        lock = self._locks.release(owner, now, breaks=body.breaks)
        if lock is not None and lock.belongs_to(owner):
            effects = self._after_return(lock, owner.user, now)
        elif lock is not None:
            effects = self._after_loss(lock, "broken", owner.user, now)
        return [*effects, reply(peer, request, self._locks.state(owner, now))]

    def _info(self, peer: bytes, request: Packet, _body: LockInfo, now: float) -> list[Effect]:
        return [reply(peer, request, self._locks.state(self._state.owner(request), now))]

    def _after_return(self, lock: Lock, by: User, now: float) -> list[Effect]:
        self._jobs.free(lock.epoch)
        return [*self._jobs.start_next(now), Audit("unlock", by, _facts(lock))]

    def _after_loss(self, lock: Lock, how: str, by: User, now: float) -> list[Effect]:
        lost = LeaseLostError(
            f"the lock under which the job was submitted is {how}",
            hint="lock the machine and submit it again, or submit it without a lock",
            holder="",
        )
        ended = self._jobs.end_waiting(lock.epoch, lost, now)
        return [*ended, *self._jobs.start_next(now), Audit(f"lock {how}", by, _facts(lock))]


def _facts(lock: Lock) -> dict[str, str | int]:
    return {"epoch": lock.epoch, "holder": lock.user.name, "note": lock.note}
