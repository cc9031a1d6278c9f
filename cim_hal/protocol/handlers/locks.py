"""Messages about the lock of the machine, and what a lock means for the jobs that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cim_hal.errors import LeaseLostError
from cim_hal.protocol.effects import Audit, Reply
from cim_hal.protocol.sharing.locks import LockTable, Owner
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.messages.control import LockDevice, LockInfo, UnlockDevice
from cim_hal.protocol.wire.packet import answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from cim_hal.errors import CimError
    from cim_hal.protocol.effects import Effect
    from cim_hal.protocol.jobs.table import JobTable
    from cim_hal.protocol.sharing.epochs import EpochLog
    from cim_hal.protocol.sharing.locks import Lock
    from cim_hal.protocol.wire.packet import Packet
    from cim_hal.protocol.wire.roles import User

__all__ = ["LockHandlers"]


class LockHandlers:
    """Answers what is asked about the lock, and lets time pass for it.

    Jobs that were submitted under a lock and still wait when it ends become ordinary ones where
    its holder gave it back, and are ended where it was lost: no old epoch reaches the machine.
    """

    def __init__(
        self,
        leases: LockTable,
        jobs: JobTable,
        user_of: Callable[[Packet], User],
        controls: EpochLog,
    ) -> None:
        self._leases = leases
        self._jobs = jobs
        self._controls = controls
        self._user_of = user_of
        self.handlers: dict[Any, Callable[[bytes, Packet, Any, float], list[Effect]]] = {
            LockDevice: self._lock,
            UnlockDevice: self._unlock,
            LockInfo: self._info,
        }

    def caller(self, request: Packet) -> Owner:
        """Return who asks."""
        return Owner(request.session, self._user_of(request), request.epoch)

    def tick(self, now: float) -> list[Effect]:
        """Take back a lock that ran out."""
        lock = self._leases.expire(now)
        return self._after_loss(lock, "expired", lock.user, now) if lock else []

    def end_session(self, session: str, now: float) -> list[Effect]:
        """Take back the lock of a session that ends."""
        lock = self._leases.end_session(session)
        return self._after_return(lock, lock.user, now) if lock else []

    def _lock(self, peer: bytes, request: Packet, body: LockDevice, now: float) -> list[Effect]:
        caller, before = self.caller(request), self._leases.lock
        lock = self._leases.grant(caller, body, now)
        reply = Reply(peer, answer(request, self._leases.state(caller, now)))
        if lock is before:
            return [reply]
        facts = {"epoch": lock.epoch, "note": lock.note, "for_s": body.for_s}

        def told(_now: float) -> list[Effect]:
            return [reply, Audit("lock", caller.user, facts)]

        def undo(error: CimError, now: float) -> list[Effect]:
            self._leases.withdraw(caller, lock)
            return [Reply(peer, answer(request, to_wire(error))), *self._jobs.start_next(now)]

        return self._controls.keep(self._controls.stopped, told, undo)

    def _unlock(self, peer: bytes, request: Packet, body: UnlockDevice, now: float) -> list[Effect]:
        caller, effects = self.caller(request), []
        lock = self._leases.release(caller, now, breaks=body.breaks)
        if lock is not None and lock.belongs_to(caller):
            effects = self._after_return(lock, caller.user, now)
        elif lock is not None:
            effects = self._after_loss(lock, "broken", caller.user, now)
        return [*effects, Reply(peer, answer(request, self._leases.state(caller, now)))]

    def _info(self, peer: bytes, request: Packet, _body: LockInfo, now: float) -> list[Effect]:
        return [Reply(peer, answer(request, self._leases.state(self.caller(request), now)))]

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
