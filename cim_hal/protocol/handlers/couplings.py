"""Handlers of the requests about couplings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cim_hal.errors import CimError
from cim_hal.protocol.effects import Audit, Effect, Lower, reply
from cim_hal.protocol.jobs.program import program_of
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.messages import (
    BeginCouplings,
    CommitCouplings,
    CouplingChunk,
    DropCouplings,
    ListCouplings,
    Message,
    StatCouplings,
)

if TYPE_CHECKING:
    from cim_hal.protocol.couplings.content import LoweredCouplings
    from cim_hal.protocol.effects import Handlers
    from cim_hal.protocol.jobs.entry import JobEntry
    from cim_hal.protocol.server_state import ServerState
    from cim_hal.protocol.wire.packet import Packet

__all__ = ["CouplingHandlers"]


@dataclass(frozen=True, eq=False)
class _Waiter:
    peer: bytes
    request: Packet
    user: str


class CouplingHandlers:
    """Answers requests about couplings; some of the answers come when they have been lowered."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._store = state.couplings
        self._lowering: dict[str, tuple[Lower, dict[bytes, _Waiter]]] = {}
        self._relowering = _Relowering(state)
        self.next_relowering = self._relowering.next

    @property
    def handlers(self) -> Handlers:
        """What to call for each request."""
        return {
            BeginCouplings: self._begin,
            CouplingChunk: self._chunk,
            StatCouplings: self._stat,
            CommitCouplings: self._commit,
            ListCouplings: self._list,
            DropCouplings: self._drop,
        }

    def lowered(
        self, ticket: str, outcome: LoweredCouplings | CimError, now: float
    ) -> list[Effect]:
        """Handle the outcome of a `Lower` effect: answer the requests that waited for it."""
        if self._relowering.is_for(ticket):
            return self._relowering.lowered(outcome, now)
        task, waiting = self._lowering[ticket]
        waiters = list(waiting.values())
        if isinstance(outcome, CimError):
            self._store.refuse(task)
            body: Message = to_wire(outcome)
        else:
            body = self._store.keep(task.coupling, outcome, {w.user for w in waiters})
        del self._lowering[ticket]  # now: where the above fails, an error is told instead
        for waiter in waiters:
            self._state.sessions.touch(waiter.request.session, now)
        return [reply(w.peer, w.request, body) for w in waiters]

    def _begin(
        self, peer: bytes, request: Packet, begin: BeginCouplings, now: float
    ) -> list[Effect]:
        outcome = self._store.begin(request.session, self._name(request), begin, now)
        return self._answer_or_lower(peer, request, outcome)

    def _chunk(
        self, peer: bytes, request: Packet, chunk: CouplingChunk, now: float
    ) -> list[Effect]:
        taken = self._store.chunk(self._name(request), chunk, request.buffers[0], now)
        return [reply(peer, request, taken)]

    def _stat(self, peer: bytes, request: Packet, stat: StatCouplings, now: float) -> list[Effect]:
        missing = self._store.missing(self._name(request), stat.upload, now)
        return [reply(peer, request, missing)]

    def _commit(
        self, peer: bytes, request: Packet, commit: CommitCouplings, now: float
    ) -> list[Effect]:
        outcome = self._store.commit(self._name(request), commit.upload, now)
        return self._answer_or_lower(peer, request, outcome)

    def _list(self, peer: bytes, request: Packet, ask: ListCouplings, _now: float) -> list[Effect]:
        return [reply(peer, request, self._store.listing(ask.first))]

    def _drop(self, peer: bytes, request: Packet, drop: DropCouplings, _now: float) -> list[Effect]:
        user = self._state.user(request)
        of_others = user.role >= DropCouplings.of_others
        dropped = self._store.drop(user.name, drop.digest, of_others=of_others)
        audit = Audit("couplings dropped", user, {"coupling": drop.digest})
        return [reply(peer, request, dropped), audit]

    def _name(self, request: Packet) -> str:
        return self._state.user(request).name

    def _answer_or_lower(
        self, peer: bytes, request: Packet, outcome: Message | Lower
    ) -> list[Effect]:
        if not isinstance(outcome, Lower):
            return [reply(peer, request, outcome)]
        waiter = _Waiter(peer, request, self._name(request))
        for task, waiters in self._lowering.values():
            if task.coupling == outcome.coupling and task.source is outcome.source:
                waiters[request.id] = waiter  # asked again, or by two: it is done once
                return []
        self._lowering[outcome.ticket] = (outcome, {request.id: waiter})
        return [outcome]


class _Relowering:
    """Gives queued jobs their programs after a restart; those that cannot have one fail."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._task: Lower | None = None

    def is_for(self, ticket: str) -> bool:
        """Return whether a `Lower` was asked for here."""
        return self._task is not None and self._task.ticket == ticket

    def next(self) -> list[Effect]:
        """Fit the couplings that the first job without a program waits for, one at a time."""
        waiting = self._waiting()
        if self._task is not None or not waiting:
            return []
        self._task = Lower(self._state.new_token(), waiting[0].request.coupling, None)
        return [self._task]

    def lowered(self, outcome: LoweredCouplings | CimError, now: float) -> list[Effect]:
        """Handle the outcome of the `Lower` effect."""
        effects: list[Effect] = []
        task, self._task = self._task, None
        if task is None:
            return effects
        if not isinstance(outcome, CimError):
            self._state.couplings.keep(task.coupling, outcome)
        for job in self._waiting():
            if job.request.coupling != task.coupling:
                continue
            try:
                if isinstance(outcome, CimError):
                    raise outcome
                capabilities, limits = self._state.capabilities, self._state.limits
                job.program = program_of(job.request, outcome.lowering, capabilities, limits)
            except CimError as error:
                effects += self._state.jobs.fail(job, error, now)
        return [*effects, *self._state.jobs.start_next(now)]

    def _waiting(self) -> list[JobEntry]:
        return [job for job in self._state.jobs.waiting if job.program is None]
