"""Handlers of the requests about the lock and the emergency stop, and their effect on jobs."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from cim_hal.errors import ConflictError, EmergencyStopError, LeaseLostError
from cim_hal.protocol.effects import Audit, MakeSafe
from cim_hal.protocol.jobs.records import Stopped
from cim_hal.protocol.wire import messages
from cim_hal.text import printable

if TYPE_CHECKING:
    from cim_hal.errors import CimError
    from cim_hal.protocol.effects import Answer, Asked, Effect, Handlers, Then
    from cim_hal.protocol.server_state import ServerState
    from cim_hal.protocol.sharing.locks import Lock
    from cim_hal.protocol.wire.roles import User

__all__ = ["LockHandlers", "SafetyHandlers"]

MAX_REASON = 200  # characters
CONFIRM_S = 0.5  # that the confirmation of a stop waits for its record
RETRY_S = 1.0  # after a record that could not be written


class LockHandlers:
    """Answers requests about the lock, and ends locks that ran out.

    Jobs that were submitted under a lock and still wait when it ends become ordinary ones where
    its holder gave it back, and are ended where it was lost: no old epoch reaches the machine.
    """

    def __init__(self, state: ServerState) -> None:
        self._epochs, self._locks, self._jobs = state.epochs, state.locks, state.jobs
        self.handlers: Handlers = {
            messages.LockDevice: self._lock,
            messages.UnlockDevice: self._unlock,
            messages.LockInfo: lambda asked, _, now: self._locks.state(asked, now),
        }

    def tick(self, now: float) -> list[Effect]:
        """Take back a lock that ran out."""
        lock = self._locks.expire(now)
        return self._after_loss(lock, "expired", lock.user, now) if lock else []

    def end_session(self, session: str, now: float) -> list[Effect]:
        """Take back the lock of a session that ends."""
        lock = self._locks.end_session(session)
        return self._after_return(lock, lock.user, now) if lock else []

    def _lock(self, asked: Asked, body: messages.LockDevice, now: float) -> Answer:
        before = self._locks.lock
        lock = self._locks.grant(asked, body, now)
        state = self._locks.state(asked, now)
        if lock is before and lock.is_told:
            return state
        facts = {"epoch": lock.epoch, "note": lock.note, "for_s": body.for_s}
        audit = [] if lock is before else [Audit("lock", asked.user, facts)]

        def on_saved(_now: float) -> list[Effect]:
            lock.is_told = True
            return [asked.reply(state), *audit]

        def undo(error: CimError, now: float) -> list[Effect]:
            if not lock.is_told:
                self._locks.withdraw(asked, lock)
            return [*asked.refuse(error), *self._jobs.start_next(now)]

        return self._epochs.keep(self._epochs.stopped, on_saved, undo)

    def _unlock(self, asked: Asked, body: messages.UnlockDevice, now: float) -> list[Effect]:
        effects: list[Effect] = []
        lock = self._locks.release(asked, now, breaks=body.breaks)
        if lock is not None and lock.belongs_to(asked):
            effects = self._after_return(lock, asked.user, now)
        elif lock is not None:
            effects = self._after_loss(lock, "broken", asked.user, now)
        return [*effects, asked.reply(self._locks.state(asked, now))]

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


class SafetyHandlers:
    """Answers emergency stops and resets.

    While a stop holds jobs may be queued and none starts. A second stop makes the machine safe once
    more and leaves the first on record. Stop and reset take effect at once and are recorded
    afterwards: what cannot be written is tried again, and until then a restarted server has the
    stop that was written last.
    """

    def __init__(self, state: ServerState) -> None:
        self._jobs, self._epochs = state.jobs, state.epochs
        self._unconfirmed: list[Asked] = []  # stops that wait for the disk
        self._confirm_at = self._record_at = inf
        self.handlers: Handlers = {
            messages.EmergencyStop: self._stop,
            messages.ResetDevice: self._reset,
            messages.SafetyInfo: lambda _asked, _, now: self.state(now),
        }

    @property
    def stopped(self) -> Stopped | None:
        """The stop that holds."""
        return self._epochs.stopped

    def state(self, now: float) -> messages.SafetyState:
        """Return the message that says whether a stop holds."""
        stopped = self.stopped
        if stopped is None:
            return messages.SafetyState()
        return messages.SafetyState(
            stop=stopped.number,
            by=stopped.by,
            reason=stopped.reason,
            for_s=max(now - stopped.since, 0.0),
        )

    def check(self) -> None:
        """Refuse what must not even wait for the machine while a stop holds."""
        if self.stopped is not None:
            raise _error(self.stopped.by, self.stopped.reason)

    def tick(self, now: float) -> list[Effect]:
        """Confirm stops without waiting for a slow disk, and try again what was not written."""
        confirmed = self._confirm(now) if now >= self._confirm_at else []
        return [*confirmed, *(self._record(self._confirm) if now >= self._record_at else [])]

    def _stop(self, asked: Asked, body: messages.EmergencyStop, now: float) -> list[Effect]:
        user, stopped = asked.user, self.stopped
        reason = printable(body.reason)[:MAX_REASON]
        if stopped is None:
            stopped = Stopped(next(self._epochs), user.name, reason, now)
            self._epochs.stopped = stopped
        interrupted = self._jobs.interrupt(_error(user.name, reason), now)
        audit = Audit("estop", user, {"stop": stopped.number, "reason": reason})
        self._unconfirmed.append(asked)
        self._confirm_at = min(self._confirm_at, now + CONFIRM_S)
        # Off first; then what is left of the job, the record, and the answer.
        return [MakeSafe(), *interrupted, *self._record(self._confirm), audit]

    def _reset(self, asked: Asked, body: messages.ResetDevice, now: float) -> Answer:
        stopped = self.stopped
        if stopped is None:
            return self.state(now)
        if body.stop != stopped.number:
            raise ConflictError(
                f"{stopped.by} stopped the machine since, and this reset is of another stop",
                hint="look at who stopped it and why, then reset that stop",
                stop=stopped.number,
            )

        self._epochs.stopped = None
        facts = {"stop": stopped.number, "stopped_by": stopped.by}
        audit = Audit("reset", asked.user, facts)
        recorded = self._record(lambda _now: [])
        return [asked.reply(self.state(now)), *recorded, *self._jobs.start_next(now), audit]

    def _record(self, then: Then) -> list[Effect]:
        self._record_at = inf

        def put_off(_error: CimError, now: float) -> list[Effect]:
            self._record_at = now + RETRY_S
            return then(now)

        return self._epochs.keep(self.stopped, then, put_off)

    def _confirm(self, now: float) -> list[Effect]:
        """Answer the stops that wait for it."""
        asked, self._unconfirmed, self._confirm_at = self._unconfirmed, [], inf
        return [each.reply(self.state(now)) for each in asked]


def _error(user: str, reason: str) -> EmergencyStopError:
    return EmergencyStopError(
        f"{user} stopped the machine" + (f": {reason}" if reason else ""),
        hint="try again when an operator has reset it",
        by=user,
        reason=reason,
    )
