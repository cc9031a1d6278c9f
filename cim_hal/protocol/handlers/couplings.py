"""Handlers of the requests about couplings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cim_hal.errors import CimError
from cim_hal.protocol.effects import Audit, Effect, Lower
from cim_hal.protocol.jobs.entry import program_of
from cim_hal.protocol.wire import messages
from cim_hal.protocol.wire.errors import to_wire

if TYPE_CHECKING:
    from cim_hal.protocol.couplings.content import LoweredCouplings
    from cim_hal.protocol.effects import Answer, Asked, Handlers
    from cim_hal.protocol.jobs.entry import JobEntry
    from cim_hal.protocol.server_state import ServerState

__all__ = ["CouplingHandlers"]


class CouplingHandlers:
    """Answers requests about couplings; some of the answers come when they have been lowered."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._store = state.couplings
        self._lowering: dict[Lower, dict[bytes, Asked]] = {}  # who waits, by id of the request
        self._relowering = _Relowering(state)
        self.next_relowering = self._relowering.next
        self.handlers: Handlers = {
            messages.BeginCouplings: self._begin,
            messages.CouplingChunk: self._chunk,
            messages.StatCouplings: self._stat,
            messages.CommitCouplings: self._commit,
            messages.ListCouplings: lambda _asked, ask, _now: self._store.listing(ask.first),
            messages.DropCouplings: self._drop,
        }

    def lowered(
        self, task: Lower, outcome: LoweredCouplings | CimError, now: float
    ) -> list[Effect]:
        """Handle the outcome of a `Lower` effect: answer the requests that waited for it."""
        if task is self._relowering.task:
            return self._relowering.lowered(task, outcome, now)
        waiters = list(self._lowering[task].values())
        if isinstance(outcome, CimError):
            self._store.refuse(task)
            body: messages.Message = to_wire(outcome)
        else:
            users = {asked.user.name for asked in waiters}
            body = self._store.keep(task.coupling, outcome, users)
        del self._lowering[task]  # now: where the above fails, an error is told instead
        for asked in waiters:
            self._state.sessions.touch(asked.session, now)
        return [asked.reply(body) for asked in waiters]

    def _begin(self, asked: Asked, begin: messages.BeginCouplings, now: float) -> Answer:
        return self._lower(asked, self._store.begin(asked.session, asked.user.name, begin, now))

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
        return self._lower(asked, self._store.commit(asked.user.name, commit.upload, now))

    def _drop(self, asked: Asked, drop: messages.DropCouplings, _now: float) -> list[Effect]:
        user = asked.user
        of_others = user.role >= messages.DropCouplings.of_others
        dropped = self._store.drop(user.name, drop.digest, of_others=of_others)
        audit = Audit("couplings dropped", user, {"coupling": drop.digest})
        return [asked.reply(dropped), audit]

    def _lower(self, asked: Asked, outcome: messages.Message | Lower) -> Answer:
        """Return an outcome that is the answer; otherwise answer when the couplings are lowered."""
        if not isinstance(outcome, Lower):
            return outcome
        for task, waiters in self._lowering.items():
            if task.coupling == outcome.coupling and task.source is outcome.source:
                waiters[asked.packet.id] = asked  # asked again, or by two: it is done once
                return []
        self._lowering[outcome] = {asked.packet.id: asked}
        return [outcome]


class _Relowering:
    """Gives queued jobs their programs after a restart; those that cannot have one fail."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self.task: Lower | None = None  # what was asked for

    def next(self) -> list[Effect]:
        """Fit the couplings that the first job without a program waits for, one at a time."""
        waiting = self._waiting()
        if self.task is not None or not waiting:
            return []
        self.task = Lower(waiting[0].request.coupling, None)
        return [self.task]

    def lowered(
        self, task: Lower, outcome: LoweredCouplings | CimError, now: float
    ) -> list[Effect]:
        """Handle the outcome of the `Lower` effect."""
        effects: list[Effect] = []
        self.task = None
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
        jobs = self._state.jobs.waiting
        return [job for job in jobs if job.program is None and not job.is_moving]
