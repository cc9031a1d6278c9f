"""Exclusive use of the machine: a lease that must be renewed, and an epoch that is unique.

A lock is given to a session and lasts while messages that carry its epoch arrive, or it stands for
a time that was given beforehand, for its user. What uses the hardware must carry the epoch while
a lock is held. So a client that slept through the end of its lease cannot act on that of another:
its epoch is old. A lease that ran out is taken back by `LockTable.expire`, and only there.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cim_hal.errors import LeaseHeldError, LeaseLostError
from cim_hal.protocol.effects import Persist
from cim_hal.protocol.jobs.records import EpochRecord
from cim_hal.protocol.wire.base import denied
from cim_hal.protocol.wire.messages.control import LockState, UnlockDevice

if TYPE_CHECKING:
    from cim_hal.protocol.effects import Asked, Effect, Otherwise, Then
    from cim_hal.protocol.jobs.records import Stopped
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.wire.messages.control import LockDevice
    from cim_hal.protocol.wire.roles import User

__all__ = ["EpochLog", "Lock", "LockTable"]

# Locks of one session that a late copy of their request does not bring back.
REMEMBERED = 64
FOREVER = float("inf")


@dataclass(eq=False)
class Lock:
    """The machine, given to one."""

    epoch: int
    user: User
    session: str  # empty where the lock stands for the user, whatever becomes of the session
    key: str
    note: str
    ends_at: float  # in any case
    lease_until: float  # unless it is renewed
    is_told: bool = False  # once its number is written

    @property
    def expires_at(self) -> float:
        """When it is over as things stand."""
        return min(self.ends_at, self.lease_until)

    def belongs_to(self, caller: Asked) -> bool:
        """Whether the caller is the session or, where it stands, the user it was given to."""
        if self.session:
            return self.session == caller.session
        return self.user.name == caller.user.name


class EpochLog:
    """Gives out numbers, each larger than all before, and has them written.

    The `first` is larger than those of the server's earlier lives. `stopped` is the emergency stop
    that holds.
    """

    def __init__(self, first: int) -> None:
        self._last = first - 1
        self.stopped: Stopped | None = None

    def __iter__(self) -> EpochLog:
        return self

    def __next__(self) -> int:
        self._last += 1
        return self._last

    def keep(self, stopped: Stopped | None, then: Then, otherwise: Otherwise) -> list[Effect]:
        """Have the last number and a stop written, and go on."""
        return [Persist(EpochRecord(self._last, stopped), then, otherwise)]

    def restore(self, kept: EpochRecord) -> None:
        """Go on from what an earlier server wrote."""
        self._last = max(self._last, kept.number)
        self.stopped = kept.stopped


class LockTable:
    """The lock of one machine."""

    def __init__(self, limits: Limits, epochs: EpochLog) -> None:
        self._limits = limits
        self._epochs = epochs
        self._granted: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
        self.lock: Lock | None = None

    def grant(self, caller: Asked, request: LockDevice, now: float) -> Lock:
        """Lock the machine; a request that comes again gets the same lock again.

        `LeaseHeldError` if it is locked, `LeaseLostError` if this request's lock is over.
        """
        if self.lock is not None and self.lock.key == request.key and self.lock.belongs_to(caller):
            return self.lock
        if request.key in self._granted[caller.session]:
            raise self._lost("the lock that this request got is over")
        if self.lock is not None:
            raise _held(self.lock, now)
        self._granted[caller.session].append(request.key)
        ends_at = now + request.for_s if request.for_s is not None else FOREVER
        stands = request.stands and request.for_s is not None
        self.lock = Lock(
            epoch=next(self._epochs),
            user=caller.user,
            session="" if stands else caller.session,
            key=request.key,
            note=request.note,
            ends_at=ends_at,
            lease_until=ends_at if stands else now + self._limits.lease_s,
        )
        return self.lock

    def withdraw(self, caller: Asked, lock: Lock) -> None:
        """Undo a grant that nobody was told of; its request may come again."""
        if lock.key in self._granted[caller.session]:
            self._granted[caller.session].remove(lock.key)
        if self.lock is lock:  # it may be over meanwhile
            self.lock = None

    def release(self, caller: Asked, now: float, *, breaks: int = 0) -> Lock | None:
        """Give the machine back. Return the lock that was there, None if the machine was free.

        With `breaks`, the epoch of another's lock, that is broken, where the user may: otherwise
        `PermissionDeniedError`. A lock that is another's, or a later one than the caller thinks, is
        a `LeaseHeldError` or `LeaseLostError`.
        """
        lock = self.lock
        if lock is None:
            return None
        if breaks not in (0, lock.epoch) or caller.packet.epoch not in (0, lock.epoch):
            raise self._lost("the lock is over")
        if breaks:
            _check_may_break(lock, caller.user)
        elif not lock.belongs_to(caller):
            raise _held(lock, now)
        self.lock = None
        return lock

    def renew(self, caller: Asked, now: float) -> None:
        """Take a message, of whatever kind, as a sign of life of the one who has the lock."""
        lock = self.lock
        if lock and lock.session and lock.epoch == caller.packet.epoch and lock.belongs_to(caller):
            lock.lease_until = now + self._limits.lease_s

    def check(self, caller: Asked, now: float) -> None:
        """Refuse what uses the hardware and may not.

        `LeaseHeldError` if another has the lock, or the message did not carry its epoch;
        `LeaseLostError` if it carried the epoch of a lock that is over.
        """
        lock = self.lock
        if caller.packet.epoch and (lock is None or caller.packet.epoch != lock.epoch):
            raise self._lost("the lock is over")
        if lock is not None and not (caller.packet.epoch and lock.belongs_to(caller)):
            raise _held(lock, now)

    def allows(self, epoch: int) -> bool:
        """Whether a job that was submitted under an epoch, or under none, may start."""
        return epoch == (self.lock.epoch if self.lock else 0)

    def expire(self, now: float) -> Lock | None:
        """Take back a lock that ran out, and return it."""
        lock = self.lock
        if lock is None or now < lock.expires_at:
            return None
        self.lock = None
        return lock

    def end_session(self, session: str) -> Lock | None:
        """Take back, and return, the lock of a session that ends."""
        self._granted.pop(session, None)
        lock = self.lock
        if lock is None or lock.session != session:
            return None
        self.lock = None
        return lock

    def state(self, caller: Asked, now: float) -> LockState:
        """Return the message that says who has the machine."""
        lock, lease_s = self.lock, self._limits.lease_s
        if lock is None:
            return LockState(lease_s=lease_s)
        return LockState(
            epoch=lock.epoch,
            holder=lock.user.name,
            note=lock.note,
            expires_in_s=max(lock.expires_at - now, 0.0),
            is_yours=lock.belongs_to(caller),
            stands=not lock.session,
            lease_s=lease_s,
        )

    def _lost(self, message: str) -> LeaseLostError:
        holder = self.lock.user.name if self.lock else ""
        now_locked = f"{holder} has locked the machine since" if holder else "the machine is free"
        return LeaseLostError(
            f"{message}, {now_locked}", hint="lock it again, or carry no epoch", holder=holder
        )


def _held(lock: Lock, now: float) -> LeaseHeldError:
    note = f" ({lock.note})" if lock.note else ""
    seconds = max(lock.expires_at - now, 0.0)
    renewed = " unless it is renewed" if lock.session else ""
    return LeaseHeldError(
        f"{lock.user.name} has locked the machine{note}, for {seconds:.0f} s{renewed}",
        hint="wait, or ask them; where the lock is yours, carry its epoch",
        holder=lock.user.name,
        note=lock.note,
        expires_in_s=seconds,
    )


def _check_may_break(lock: Lock, user: User) -> None:
    least = UnlockDevice.of_others
    if lock.user.name != user.name and user.role < least:
        hint = "ask them, or those who run the machine"
        raise denied(user, f"to break the lock of {lock.user.name}", "device.unlock", least, hint)
