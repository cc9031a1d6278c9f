"""All jobs a server knows: open ones, ended ones with their results, and the keys of the others.

What is kept after the end of a job is ordered by that end, whatever the order in which it came
here: so results expire and are evicted in the same order before and after a restart.
"""

from __future__ import annotations

import hashlib
import json
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from cim_hal.errors import ConflictError, KeyLimitError, UnknownReferenceError
from cim_hal.protocol.effects import Effect, Persist
from cim_hal.protocol.index import OrderedIndex
from cim_hal.protocol.jobs.kept import KeptResults
from cim_hal.protocol.jobs.records import Dropped, Fetched, Forgotten
from cim_hal.protocol.wire.messages.jobs import JobStatus
from cim_hal.text import counted

if TYPE_CHECKING:
    from cim_hal.errors import CimError
    from cim_hal.protocol.effects import Otherwise, Then
    from cim_hal.protocol.jobs.entry import JobEntry
    from cim_hal.protocol.jobs.state import JobState
    from cim_hal.protocol.wire.base import ErrorMessage
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.wire.messages.jobs import Sample
    from cim_hal.protocol.wire.roles import User

__all__ = ["ClosedJob", "IdempotencyRules", "JobTable", "Retention", "body_digest", "job_id"]

DIGEST_BYTES = 16
BATCH = 256  # results or keys in one record of what is dropped or forgotten


@dataclass(frozen=True)
class IdempotencyRules:
    """How long keys are remembered, and how many.

    A key is remembered as long as its job, and `kept_s` after the end of it. Where `max_keys`
    of them are remembered, or half as many of one user, no new job is taken: a young key is never
    forgotten for it.
    """

    kept_s: float = 86_400.0
    max_keys: int = 1_000_000  # each about 300 bytes of memory, and 200 on disk


def job_id(user: str, key: str) -> str:
    """Return the id of the job that `key` makes for `user`: 32 hexadecimal digits.

    It follows from the two alone, so one table finds jobs by key and by id, and a key means the
    same job before and after a restart.
    """
    text = f"cim-hal job\n{user}\n{key}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def body_digest(request: Sample) -> bytes:
    """Return 16 bytes that tell requests with other fields apart; the key is not among them.

    Fields at their defaults do not count: a later version may add some.
    """
    fields = request.model_dump(exclude_defaults=True, exclude={"key"})
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).digest()[:DIGEST_BYTES]


@dataclass(frozen=True, eq=False, slots=True)
class ClosedJob:
    """What is remembered of a job whose result is gone, so that its key never runs again."""

    id: str
    owner: str
    digest: bytes
    state: JobState
    error: ErrorMessage | None
    ended_at: float

    def status(self) -> JobStatus:
        """Return the message that says how the job ended."""
        return JobStatus(job=self.id, state=self.state, error=self.error, gone=True)


class JobTable:
    """Jobs by id, bounded in age, number and bytes of what is kept after their end."""

    def __init__(self, limits: Limits, rules: IdempotencyRules | None = None) -> None:
        self._rules = rules or IdempotencyRules()
        self.results = KeptResults(limits)
        self._jobs: dict[str, JobEntry] = {}
        self._closed: dict[str, ClosedJob] = {}
        # The same jobs in the order of lists, of all and by user; and by session.
        self._all: OrderedIndex[JobEntry] = OrderedIndex()
        self._users: dict[str, OrderedIndex[JobEntry]] = defaultdict(OrderedIndex)
        self._sessions: dict[str, dict[str, JobEntry]] = defaultdict(dict)
        # The closed ones by user, sorted by their end; and how many keys each has.
        self._ends: dict[str, list[ClosedJob]] = defaultdict(list)
        self._n_keys: Counter[str] = Counter()

    # ---- what is known ----------------------------------------------------------------------

    def get(self, user: User, job: str, *, of_others: bool = False) -> JobEntry | ClosedJob:
        """Return a job of a user, or with `of_others` of anybody; else `UnknownReferenceError`."""
        known = self._jobs.get(job) or self._closed.get(job)
        if known is None or (known.owner != user.name and not of_others):
            raise UnknownReferenceError(
                "the server does not know that job",
                hint="its key was forgotten, or it is of another user",
                kind="job",
                job=job,
            )
        return known

    def find(self, user: User, request: Sample) -> JobEntry | ClosedJob | None:
        """Return the job that this very request made before, if it did.

        `ConflictError` if its key was used before for another request.
        """
        job = job_id(user.name, request.key)
        known = self._jobs.get(job) or self._closed.get(job)
        if known is not None and known.digest != body_digest(request):
            raise ConflictError(
                "the idempotency key was used before, for another request",
                hint="make a new key for each submission",
                job=job,
            )
        return known

    def listed(self, user: User | None, after: str | None = None) -> Iterator[JobEntry]:
        """Yield the jobs of a user, or of all, that are not closed, the first accepted first.

        Only those whose cursor follows `after`, which need not be that of a job.
        """
        if user is None:
            return self._all.after(after)
        return self._users[user.name].after(after) if user.name in self._users else iter(())

    def of_session(self, session: str) -> list[JobEntry]:
        """Return the jobs that end with a session."""
        return list(self._sessions[session].values()) if session in self._sessions else []

    def entry(self, job: str) -> JobEntry | None:
        """Return a job of anybody that is not closed."""
        return self._jobs.get(job)

    def holds(self, job: JobEntry) -> bool:
        """Whether a job is there, and not closed."""
        return self._jobs.get(job.id) is job

    # ---- changes ----------------------------------------------------------------------------

    def add(self, job: JobEntry) -> None:
        """Add a job, or take note that one has ended; its result is kept from then on."""
        if job.id not in self._jobs:
            self._jobs[job.id] = job
            self._n_keys[job.owner] += 1
            self._all.add(job.cursor, job)
            self._users[job.owner].add(job.cursor, job)
            if job.session:
                self._sessions[job.session][job.id] = job
        self.results.update(job)

    def keep(self, job: JobEntry) -> None:
        """Let a job go with no session any more."""
        of_session = self._sessions.get(job.session, {})
        of_session.pop(job.id, None)
        if not of_session:
            self._sessions.pop(job.session, None)
        job.session = ""

    def close(self, jobs: Iterable[JobEntry]) -> None:
        """Drop the results of jobs that have ended; their keys stay."""
        for job in jobs:
            if self.holds(job):
                self._remove(job)
                self.add_closed(
                    ClosedJob(job.id, job.owner, job.digest, job.state, job.error, job.ended_at)
                )

    def _remove(self, job: JobEntry) -> None:
        del self._jobs[job.id]
        self._forget_keys(job.owner, 1)
        self.results.remove(job)
        self._all.discard(job.cursor)
        own = self._users[job.owner]
        own.discard(job.cursor)
        if not len(own):
            del self._users[job.owner]
        self.keep(job)

    def add_closed(self, closed: ClosedJob) -> None:
        """Remember the key of a job without a result."""
        self._closed[closed.id] = closed
        self._n_keys[closed.owner] += 1
        insort(self._ends[closed.owner], closed, key=_by_end_and_id)

    def forget(self, jobs: Iterable[str]) -> None:
        """Forget the keys of closed jobs."""
        gone: dict[str, set[str]] = defaultdict(set)
        for job in jobs:
            closed = self._closed.pop(job, None)
            if closed is not None:
                gone[closed.owner].add(job)
        for user, ids in gone.items():
            ends, n = self._ends[user], len(ids)
            if {closed.id for closed in ends[:n]} == ids:  # as it is unless one came late
                del ends[:n]
            else:
                self._ends[user] = ends = [closed for closed in ends if closed.id not in ids]
            if not ends:
                del self._ends[user]
            self._forget_keys(user, n)

    def _forget_keys(self, user: str, n_keys: int) -> None:
        self._n_keys[user] -= n_keys
        if not self._n_keys[user]:
            del self._n_keys[user]

    # ---- bounds -----------------------------------------------------------------------------

    def due(self, now: float) -> list[JobEntry]:
        """Return results to drop, some of many; see `KeptResults`."""
        return self.results.due(now, BATCH)

    def expired(self, now: float) -> tuple[str, ...]:
        """Return closed jobs whose keys may be forgotten, some of many."""
        kept_s = self._rules.kept_s
        old = (
            closed.id
            for ends in self._ends.values()
            for closed in takewhile(lambda closed: closed.ended_at + kept_s <= now, ends)
        )
        return tuple(islice(old, BATCH))

    def check_room(self, user: User, now: float, coming: Sequence[str] = ()) -> None:
        """Refuse another job where as many keys are remembered as may be.

        `coming` are the users of those whose acceptance is being written.
        """
        most, n_keys = self._rules.max_keys, len(self._jobs) + len(self._closed) + len(coming)
        own = self._n_keys[user.name] + coming.count(user.name)
        own_most = max(most // 2, 1)
        if n_keys < most and own < own_most:
            return
        kept_s, ends = self._rules.kept_s, self._ends.get(user.name)
        wait_s = max(ends[0].ended_at + kept_s - now, 0.0) if ends else kept_s
        whose, n_keys = (f"{user.name} has", own) if own >= own_most else ("all users have", n_keys)
        raise KeyLimitError(
            f"the server remembers the keys of {counted(n_keys, 'job')} that {whose} submitted, "
            "which is the most it may",
            hint=f"the oldest of {user.name} is forgotten in {wait_s:.0f} s",
            max_keys=own_most if own >= own_most else most,
            retry_after_s=wait_s,
        )


def _by_end_and_id(closed: ClosedJob) -> tuple[float, str]:
    return closed.ended_at, closed.id


class Retention:
    """Drops results of jobs, then their keys, once a record says so; one is written at a time.

    Results go that are acknowledged, too old or too many. What cannot be written stays, and
    `put_off` is called.
    """

    def __init__(self, table: JobTable, put_off: Otherwise) -> None:
        self._table = table
        self._put_off = put_off
        self._is_expiring = False
        self._fetched: list[JobEntry] = []  # since the last tick

    def fetched(self, job: JobEntry) -> None:
        """Take note that the rows of a result, or of its trace, were fetched up to the last."""
        if job.has_ended and job.is_fetched:
            self._table.results.update(job)
            self._fetched.append(job)

    def acknowledge(
        self, jobs: Iterable[JobEntry], then: Then, otherwise: Otherwise
    ) -> list[Effect]:
        """Drop the results of jobs that have ended, and go on with `then`; their keys stay."""
        dropped = tuple(jobs)

        def close(now: float) -> list[Effect]:
            self._table.close(dropped)
            return then(now)

        return [Persist(Dropped(tuple(job.id for job in dropped)), close, otherwise)]

    def tick(self, now: float) -> list[Effect]:
        """Write down what was fetched, so that it makes room after a restart too; then expire."""
        jobs, self._fetched = self._fetched, []
        kept = tuple(job.id for job in jobs if self._table.holds(job))
        if not kept:
            return self.expire(now)

        def again(error: CimError, now: float) -> list[Effect]:
            self._fetched += jobs
            return self._put_off(error, now)

        return [Persist(Fetched(kept), lambda _now: [], again), *self.expire(now)]

    def expire(self, now: float) -> list[Effect]:
        """Drop results that are too old or too many, then forget old keys."""
        due, keys = self._table.due(now), self._table.expired(now)
        if self._is_expiring or not (due or keys):
            return []
        self._is_expiring = True

        def go_on(now: float) -> list[Effect]:
            self._is_expiring = False
            if not due:
                self._table.forget(keys)
            return self.expire(now)

        def put_off(error: CimError, now: float) -> list[Effect]:
            self._is_expiring = False
            return self._put_off(error, now)

        if due:
            return self.acknowledge(due, go_on, put_off)
        return [Persist(Forgotten(keys), go_on, put_off)]
