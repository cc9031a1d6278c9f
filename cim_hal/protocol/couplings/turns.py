"""Whose couplings are lowered next: one lowering at a time, and users take turns.

A lowering takes from milliseconds to seconds, and all users share the thread that does them. So
each turn is one lowering, charged with the seconds it took; who comes anew waits for the one under
way and at most one of each other user.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cim_hal.protocol.jobs.scheduler import FairQueue
from cim_hal.protocol.sharing.sessions import check_quota

if TYPE_CHECKING:
    from cim_hal.protocol.couplings.cache import Key
    from cim_hal.protocol.effects import Asked, Lower
    from cim_hal.protocol.jobs.entry import JobEntry
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.wire.messages import CouplingRef

__all__ = ["LoweringTurns", "PendingLowering"]

TURN_S = 1e-3  # shorter than any lowering of size: a turn is one of them


@dataclass(eq=False)
class PendingLowering:
    """A lowering that was asked for, and who waits for it: requests, and jobs after a restart."""

    task: Lower
    asked: dict[tuple[bytes, bytes], Asked] = field(default_factory=dict)  # by peer and request
    jobs: list[JobEntry] = field(default_factory=list)
    users: set[str] = field(default_factory=set)

    def users_of_all(self) -> set[str]:
        """Return all who wait for it."""
        return {asked.user.name for asked in self.asked.values()} | {j.owner for j in self.jobs}


class LoweringTurns:
    """The lowerings of a server that were asked for and are not done."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._queue = FairQueue[PendingLowering](slice_s=TURN_S)
        # By couplings and identity of the bytes they are made from, and by task.
        self._by_source: dict[tuple[CouplingRef, int], PendingLowering] = {}
        self._contents: Counter[str] = Counter()  # digests of what they are made from
        self._current: tuple[PendingLowering, str, float] | None = None

    def holds(self, key: Key) -> bool:
        """Whether a lowering is to be made from the couplings of a digest."""
        return key in self._contents

    def request(self, task: Lower, user: str, *, is_owed: bool = False) -> PendingLowering:
        """Return what was asked for before, or is from now on, in the line of the user as well.

        `QuotaError` where as many lowerings of the user wait as may, unless it `is_owed`.
        """
        key = task.coupling, id(task.source)
        pending = self._by_source.get(key)
        if pending is not None and user in pending.users:
            return pending
        most = self._limits.user_lowerings
        if not is_owed:
            used, hint = self._queue.depth(user) + 1, "wait for those that were asked for"
            check_quota(user, "user_lowerings", used=used, available=most, hint=hint)
        if pending is None:
            pending = self._by_source[key] = PendingLowering(task)
            self._contents[task.coupling.digest] += 1
        pending.users.add(user)
        self._queue.push(pending, user=user)
        return pending

    def next(self, now: float) -> PendingLowering | None:
        """Return the lowering whose turn it is; None where one is under way, or none waits."""
        if self._current is not None:
            return None
        popped = self._queue.pop_with_user()
        if popped is None:
            return None
        pending, user = popped
        self._current = pending, user, now
        for other in pending.users - {user}:
            self._queue.remove(pending, user=other)
        return pending

    def pending(self, task: Lower) -> PendingLowering:
        """Return what waits for the outcome of a task."""
        return self._by_source[task.coupling, id(task.source)]

    def end(self, pending: PendingLowering, now: float) -> None:
        """Take note that it is over, and charge the user whose turn it was."""
        task = pending.task
        del self._by_source[task.coupling, id(task.source)]
        self._contents[task.coupling.digest] -= 1
        if not self._contents[task.coupling.digest]:
            del self._contents[task.coupling.digest]
        if self._current is not None and self._current[0] is pending:
            _, user, began = self._current
            self._queue.charge(user, max(now - began, TURN_S))
            self._current = None
