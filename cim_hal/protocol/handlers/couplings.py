"""Handlers of the requests about couplings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cim_hal.errors import CimError
from cim_hal.protocol.effects import Audit, Effect, Lower
from cim_hal.protocol.jobs.entry import expected_bytes, program_of
from cim_hal.protocol.wire import messages
from cim_hal.protocol.wire.errors import to_wire

if TYPE_CHECKING:
    from cim_hal.protocol.couplings.content import LoweredCouplings
    from cim_hal.protocol.couplings.turns import LoweringTurns, PendingLowering
    from cim_hal.protocol.effects import Answer, Asked, Handlers
    from cim_hal.protocol.jobs.entry import JobEntry
    from cim_hal.protocol.server_state import ServerState

__all__ = ["CouplingHandlers"]


class CouplingHandlers:
    """Answers requests about couplings; some of the answers come when they have been lowered."""

    def __init__(self, state: ServerState, turns: LoweringTurns) -> None:
        self._state = state
        self._store = state.couplings
        self._turns = turns
        self.handlers: Handlers = {
            messages.BeginCouplings: self._begin,
            messages.CouplingChunk: self._chunk,
            messages.StatCouplings: self._stat,
            messages.CommitCouplings: self._commit,
            messages.ListCouplings: lambda _asked, ask, _now: self._store.listing(ask.first),
            messages.DropCouplings: self._drop,
        }

    def restore(self, now: float) -> list[Effect]:
        """Lower the couplings once more that queued jobs wait for after a restart."""
        for job in self._state.jobs.waiting:
            if job.program is None:
                task = Lower(job.request.coupling, None)
                self._turns.request(task, job.owner, is_owed=True).jobs.append(job)
        return self._next(now)

    def lowered(
        self, task: Lower, outcome: LoweredCouplings | CimError, now: float
    ) -> list[Effect]:
        """Handle the outcome of a `Lower` effect: answer who waits for it, and begin the next."""
        pending = self._turns.pending(task)
        if isinstance(outcome, CimError):
            self._store.refuse(task)
            body: messages.Message = to_wire(outcome)
        else:
            body = self._store.keep(task.coupling, outcome, pending.users_of_all())
        self._turns.end(pending, now)  # now: where the above fails, an error is told instead
        return [
            *self._tell(pending, body, now),
            *self._give_programs(pending.jobs, outcome, now),
            *self._next(now),
        ]

    def _next(self, now: float) -> list[Effect]:
        """Begin the next lowering; one that was made meanwhile for another request is answered."""
        effects: list[Effect] = []
        while (pending := self._turns.next(now)) is not None:
            report = None if pending.jobs else self._store.report(pending.task.coupling)
            if report is None:
                return [*effects, pending.task]
            self._turns.end(pending, now)
            effects += self._tell(pending, report, now)
        return effects

    def _tell(self, pending: PendingLowering, body: messages.Message, now: float) -> list[Effect]:
        for asked in pending.asked.values():
            self._state.sessions.touch(asked.session, now)
        return [asked.reply(body) for asked in pending.asked.values()]

    def _give_programs(
        self, jobs: Iterable[JobEntry], outcome: LoweredCouplings | CimError, now: float
    ) -> list[Effect]:
        """Give queued jobs their programs after a restart; those that cannot have one fail."""
        effects: list[Effect] = []
        for job in jobs:
            if job.has_ended:
                continue
            try:
                if isinstance(outcome, CimError):
                    raise outcome
                capabilities, limits = self._state.capabilities, self._state.limits
                job.program = program_of(job.request, outcome.lowering, capabilities, limits)
                job.expects = expected_bytes(job.program, capabilities)
                self._state.jobs.table.results.update(job)
            except CimError as error:
                effects += self._state.jobs.fail(job, error, now)
        return [*effects, *self._state.jobs.start_next(now)]

    def _begin(self, asked: Asked, begin: messages.BeginCouplings, now: float) -> Answer:
        outcome = self._store.begin(asked.session, asked.user.name, begin, now)
        return self._lower(asked, outcome, now)

    def _chunk(
        self, asked: Asked, chunk: messages.CouplingChunk, now: float
    ) -> messages.ChunkTaken:
        data = asked.packet.buffers[0]
        received = self._store.uploads.take(asked.user.name, chunk, data, now)
        return messages.ChunkTaken(upload=chunk.upload, received=received)

    def _stat(
        self, asked: Asked, stat: messages.StatCouplings, now: float
    ) -> messages.MissingBytes:
        upload = self._store.uploads.get(asked.user.name, stat.upload, now)
        ranges = upload.missing(self._state.limits.chunk_bytes)
        return messages.MissingBytes(upload=stat.upload, ranges=tuple(ranges))

    def _commit(self, asked: Asked, commit: messages.CommitCouplings, now: float) -> Answer:
        return self._lower(asked, self._store.commit(asked.user.name, commit.upload, now), now)

    def _drop(self, asked: Asked, drop: messages.DropCouplings, _now: float) -> list[Effect]:
        user = asked.user
        of_others = user.role >= messages.DropCouplings.of_others
        dropped = self._store.drop(user.name, drop.digest, of_others=of_others)
        audit = Audit("couplings dropped", user, {"coupling": drop.digest})
        return [asked.reply(dropped), audit]

    def _lower(self, asked: Asked, outcome: messages.Message | Lower, now: float) -> Answer:
        """Return an outcome that is the answer; otherwise answer when the couplings are lowered."""
        if not isinstance(outcome, Lower):
            return outcome
        pending = self._turns.request(outcome, asked.user.name)  # asked twice, it is done once
        pending.asked[asked.peer, asked.packet.id] = asked
        return self._next(now)
