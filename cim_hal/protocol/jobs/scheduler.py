"""Fair scheduling of jobs by device seconds; jobs for the couplings that are loaded go first.

Deficit round robin. At the start of a round every user gets one slice of device seconds; what a
job took is charged when it has ended, so nothing need be known beforehand. A user is served while
the balance is positive, and a debt is kept for the rounds to come, also by one who went away. A
round ends when nobody who waits has anything left. So at any time two users that have waited all
the while differ by less than one slice and one job.

Inside a round anybody with a positive balance may be next. It is, in this order, somebody whose
next job is for the couplings the machine holds, whoever had the last job, whoever had none for the
longest time. Those who profit from loaded couplings do so with their own slice: the bound stays.

References
----------
Shreedhar & Varghese, IEEE/ACM Trans. Netw. 4, 375 (1996): deficit round robin.
Adiseshu, Parulkar & Varghese, SIGCOMM 1996: surplus round robin, where the cost is known too late.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cim_hal.errors import QueueFullError, UnavailableError
from cim_hal.text import counted

if TYPE_CHECKING:
    from cim_hal.protocol.jobs.entry import JobEntry, JobSize
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.wire.messages.couplings import CouplingRef
    from cim_hal.protocol.wire.roles import User

__all__ = ["FairQueue", "RunTimeEstimator", "Scheduler", "ending_error"]

RESTART_S = 1.0  # until a server may follow one that ends
MEMORY = 0.8  # of the rate known before, at each new job

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class _Place(Generic[Item]):
    item: Item
    priority: int
    number: int
    coupling: object


def _rank(place: _Place[Any]) -> tuple[int, int]:
    return -place.priority, place.number


@dataclass(eq=False)
class _Line(Generic[Item]):
    """The jobs of one user, the next one first, and the device seconds left in this round."""

    balance: float
    places: list[_Place[Item]] = field(default_factory=list)  # sorted by `_rank`
    by_item: dict[Item, _Place[Item]] = field(default_factory=dict)

    def add(self, place: _Place[Item]) -> None:
        insort(self.places, place, key=_rank)
        self.by_item[place.item] = place

    def remove(self, place: _Place[Item]) -> None:
        del self.places[bisect_left(self.places, _rank(place), key=_rank)]
        if self.by_item.get(place.item) is place:
            del self.by_item[place.item]

    def first(self, is_allowed: Callable[[Item], bool]) -> _Place[Item] | None:
        return next((place for place in self.places if is_allowed(place.item)), None)


class FairQueue(Generic[Item]):
    """Jobs that wait for one machine; a turn is `slice_s` device seconds.

    >>> queue = FairQueue[str](slice_s=2.0)
    >>> for job in ("a1", "a2", "a3", "b1"):
    ...     queue.push(job, user=job[0])
    >>> order = []
    >>> while (job := queue.pop()) is not None:
    ...     order.append(job)
    ...     queue.charge(job[0], 1.0)
    >>> order
    ['a1', 'a2', 'b1', 'a3']
    """

    def __init__(self, *, slice_s: float) -> None:
        self._slice_s = slice_s
        self._lines: dict[str, _Line[Item]] = {}  # who was served last stands last
        self._served: str | None = None
        self._number = 0
        self._n_places = 0
        self._popped: tuple[str, _Place[Item]] | None = None

    def __len__(self) -> int:
        return self._n_places

    def __iter__(self) -> Iterator[Item]:
        """Yield what waits, in the order it came."""
        places = [place for line in self._lines.values() for place in line.places]
        return iter([place.item for place in sorted(places, key=lambda place: place.number)])

    def depth(self, user: str) -> int:
        """Return how many jobs of a user wait."""
        line = self._lines.get(user)
        return len(line.places) if line else 0

    def push(self, item: Item, *, user: str, priority: int = 0, coupling: object = None) -> None:
        """Add a job, for which the machine must hold a `coupling`.

        Among the jobs of a user the highest priority goes first, and equal ones as they came.
        """
        self._number += 1
        place = _Place(item, priority, self._number, coupling)
        self._insert(user, place)

    def remove(self, item: Item, *, user: str) -> None:
        """Remove a job of a user from the queue, if it is there."""
        line = self._lines.get(user)
        place = line and line.by_item.get(item)
        if line is not None and place is not None:
            line.remove(place)
            self._n_places -= 1

    def pop(
        self, *, loaded: object = None, is_allowed: Callable[[Item], bool] = lambda _item: True
    ) -> Item | None:
        """Take the job that is next, or None where there is none.

        Jobs for the couplings that are `loaded` go first; those not allowed keep their places.
        """
        popped = self.pop_with_user(loaded=loaded, is_allowed=is_allowed)
        return popped and popped[0]

    def pop_with_user(
        self, *, loaded: object = None, is_allowed: Callable[[Item], bool] = lambda _item: True
    ) -> tuple[Item, str] | None:
        """Do as `pop`; return also the user whose turn it is."""
        heads = {
            user: place
            for user, line in self._lines.items()
            if (place := line.first(is_allowed)) is not None
        }
        if not heads:
            return None
        while not (
            ready := [u for u, line in self._lines.items() if u in heads and line.balance > 0]
        ):
            self._begin_round(heads)
        user = self._choose([u for u in ready if heads[u].coupling == loaded] or ready)
        self._lines[user].remove(heads[user])
        self._n_places -= 1
        self._popped = (user, heads[user])
        return heads[user].item, user

    def put_back(self) -> None:
        """Put the job that was taken last back in its place."""
        if self._popped is not None:
            self._insert(*self._popped)
            self._popped = None

    def charge(self, user: str, seconds: float) -> None:
        """Take from the balance of a user what a job took of the machine."""
        self._lines.setdefault(user, _Line(self._slice_s)).balance -= seconds

    def _insert(self, user: str, place: _Place[Item]) -> None:
        line = self._lines.setdefault(user, _Line(self._slice_s))
        line.add(place)
        self._n_places += 1

    def _choose(self, ready: list[str]) -> str:
        """Return who is next of `ready`, and remember the order."""
        if self._served not in ready:
            self._end_turn()
            self._served = ready[0]
        return self._served

    def _end_turn(self) -> None:
        if self._served in self._lines:
            self._lines[self._served] = self._lines.pop(self._served)
        self._served = None

    def _begin_round(self, heads: dict[str, _Place[Item]]) -> None:
        """Give a slice to everybody, as often as it takes until one of `heads` may run."""
        self._end_turn()
        least_debt = -max(self._lines[user].balance for user in heads)
        grant = self._slice_s * (math.floor(least_debt / self._slice_s) + 1)
        for user, line in list(self._lines.items()):
            # Nobody saves up: neither who has nothing to run nor who is not allowed to.
            line.balance = min(line.balance + grant, self._slice_s)
            if not line.places and line.balance >= self._slice_s:
                del self._lines[user]


class RunTimeEstimator:
    """Device seconds of one round trip of one run, for machines and for emulators.

    Optical machines take the same time for any model, emulated ones more for larger models; so
    the rate is kept for each size, in powers of two of the spins.

    >>> from cim_hal.protocol.jobs.entry import JobSize
    >>> estimator = RunTimeEstimator()
    >>> estimator.learn(JobSize(n_spins=100, n_runs=10, round_trips=1000), 0.5)
    >>> estimator.estimate(JobSize(n_spins=90, n_runs=4, round_trips=1000))
    0.2
    """

    def __init__(self) -> None:
        self._rates: dict[int, float] = {}

    def learn(self, work: JobSize, seconds: float) -> None:
        """Learn from the device seconds that a job took."""
        size, rate = work.n_spins.bit_length(), seconds / (work.n_runs * work.round_trips)
        self._rates[size] = MEMORY * self._rates.get(size, rate) + (1 - MEMORY) * rate

    def estimate(self, work: JobSize) -> float | None:
        """Return the device seconds of a job, or None where the machine has done none yet.

        Of a size that was not there yet the nearest one tells, which may be far off.
        """
        if not self._rates:
            return None
        nearest = min(self._rates, key=lambda size: abs(size - work.n_spins.bit_length()))
        return self._rates[nearest] * work.n_runs * work.round_trips


class Scheduler:
    """Which job of the `queue` runs next, by what the machine holds, and estimates of run times."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.queue = FairQueue["JobEntry"](slice_s=limits.slice_s)
        self._pace = RunTimeEstimator()
        self._loaded: CouplingRef | None = None  # of the job that was started last
        self._is_ending = self._keeps_waiting = False

    def push(self, job: JobEntry) -> None:
        """Add a job to the queue."""
        asked = job.request
        self.queue.push(job, user=job.user.name, priority=asked.priority, coupling=asked.coupling)

    def next(self, is_allowed: Callable[[JobEntry], bool]) -> JobEntry | None:
        """Remove and return the next job, of those that are allowed to run."""
        if self._keeps_waiting:
            return None
        return self.queue.pop(loaded=self._loaded, is_allowed=is_allowed)

    def begin(self, job: JobEntry, now: float) -> None:
        """Record that a job has the machine from now on."""
        self._loaded, job.started_at = job.request.coupling, now

    def drain(self, *, queue: bool) -> None:
        """Take no new jobs from now on, and start none, or with `queue` only those that wait."""
        self._is_ending, self._keeps_waiting = True, not queue

    def charge(self, job: JobEntry, now: float, *, is_whole: bool) -> None:
        """Charge the device seconds of a job to its user."""
        seconds = now - job.started_at
        self.queue.charge(job.user.name, seconds)
        if is_whole:  # of one that failed or was stopped nobody knows how much was done
            self._pace.learn(job.work, seconds)

    def expected_s(self, job: JobEntry) -> float | None:
        """Return the device seconds of a job; None before the first one ended."""
        return self._pace.estimate(job.work)

    def check_room(
        self, user: User, running: JobEntry | None, now: float, coming: Sequence[str] = ()
    ) -> None:
        """Refuse another job where as many wait as may, of all users or of this one.

        `coming` are the users of those whose acceptance is being written.
        """
        if self._is_ending:
            raise ending_error("jobs")
        limits, depth = self._limits, len(self.queue) + len(coming)
        own = self.queue.depth(user.name) + coming.count(user.name)
        if depth < limits.queue_length and own < limits.user_queue_length:
            return
        whose = f"of {user.name} " if own >= limits.user_queue_length else ""
        raise QueueFullError(
            f"{counted(own if whose else depth, 'job')} {whose}waiting, the most the machine takes",
            hint="fetch or cancel a job, or try again later",
            queue_length=limits.user_queue_length if whose else limits.queue_length,
            depth=depth,
            expected_wait_s=self.expected_wait_s(running, now),
        )

    def expected_wait_s(self, running: JobEntry | None, now: float) -> float | None:
        """Return the device seconds of all that runs and waits; None before the first job ended."""
        total = 0.0
        for job in (*self.queue, *([running] if running else [])):
            seconds = self.expected_s(job)
            if seconds is None:
                return None
            gone = now - job.started_at if job is running else 0.0
            total += max(seconds - gone, 0.0)
        return total


def ending_error(what: str) -> UnavailableError:
    """Return the error of a server that finishes what it has begun."""
    return UnavailableError(
        f"the server is about to end and takes no new {what}",
        hint="send it again to the server that follows",
        retry_after_s=RESTART_S,
    )
