"""The rules of a server: a message and the time in, effects out. Sends, sleeps, locks nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from cim_hal.errors import (
    CimError,
    PermissionDeniedError,
    RemoteProtocolError,
    UnknownReferenceError,
)
from cim_hal.protocol.couplings.store import CouplingStore
from cim_hal.protocol.couplings.turns import LoweringTurns
from cim_hal.protocol.effects import Answer, Asked, Audit, Effect, Persist, Reply, answered
from cim_hal.protocol.handlers.control import LockHandlers, SafetyHandlers
from cim_hal.protocol.handlers.couplings import CouplingHandlers
from cim_hal.protocol.handlers.instruments import InstrumentHandlers
from cim_hal.protocol.handlers.jobs import JobHandlers
from cim_hal.protocol.handlers.status import StatusHandlers
from cim_hal.protocol.jobs.lifecycle import JobLifecycle
from cim_hal.protocol.monitoring import EventLog
from cim_hal.protocol.server_state import ServerState
from cim_hal.protocol.sharing.locks import EpochLog, LockTable
from cim_hal.protocol.sharing.sessions import RateLimiter, SessionTable
from cim_hal.protocol.wire import messages
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.roles import LOCAL, User
from cim_hal.protocol.wire.version import ADDED, OLDEST, agree, as_of

if TYPE_CHECKING:
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.protocol.couplings.content import LoweredCouplings
    from cim_hal.protocol.effects import Handlers, Lower
    from cim_hal.protocol.jobs.records import EpochRecord, Saved
    from cim_hal.protocol.jobs.table import IdempotencyRules
    from cim_hal.protocol.wire.packet import Packet
    from cim_hal.protocol.wire.results import Result

__all__ = ["ServerCore", "registered"]

SERVER = "cim-hal"


def _new_token() -> str:
    return secrets.token_hex(16)


class ServerCore:
    """One machine, its sessions, couplings and jobs.

    `new_token` makes ids: 32 hexadecimal digits, never the same twice. `software` is the name and
    version of the server, for those who watch it. `first_epoch` is the first number for a lock or
    an emergency stop: larger than all that this server ever gave, in earlier lives too, as
    milliseconds since 1970 are.
    """

    def __init__(
        self,
        capabilities: Capabilities,
        limits: Limits | None = None,
        *,
        keys: IdempotencyRules | None = None,
        new_token: Callable[[], str] = _new_token,
        software: str = SERVER,
        first_epoch: int = 1,
    ) -> None:
        limits = limits or Limits()
        self._instance = new_token()
        epochs = EpochLog(first_epoch)
        locks = LockTable(limits, epochs)
        jobs = JobLifecycle(
            limits,
            keys,
            may_start=lambda job: (
                epochs.stopped is None
                and not self.instruments.is_broken
                and locks.allows(job.epoch)
            ),
        )
        turns = LoweringTurns(limits)
        self._state = state = ServerState(
            capabilities=capabilities,
            limits=limits,
            events=EventLog(),
            sessions=SessionTable(limits, new_token),
            epochs=epochs,
            locks=locks,
            jobs=jobs,
            couplings=CouplingStore(
                capabilities, limits, new_token, lambda key: key in jobs.needs or turns.holds(key)
            ),
        )
        self.counters = state.events.counters
        self._rates = RateLimiter(limits.user_messages_per_s)
        self.instruments = InstrumentHandlers(state)
        self._jobs = JobHandlers(state, self.instruments.check)
        self._couplings = CouplingHandlers(state, turns)
        self._locks = LockHandlers(state)
        self._safety = SafetyHandlers(state)
        self._status = StatusHandlers(
            state, self.instruments, self._safety, software=software, instance=self._instance
        )
        self._handlers = registered(
            {
                messages.Ping: lambda *_: messages.Pong(),
                messages.Bye: self._bye,
                messages.Describe: self._describe,
            },
            self._jobs.handlers,
            self._couplings.handlers,
            self.instruments.handlers,
            self._locks.handlers,
            self._safety.handlers,
            self._status.handlers,
        )

    def receive(
        self, peer: bytes, request: Packet, now: float, *, user: User = LOCAL
    ) -> list[Effect]:
        """Handle a request of `peer`; `now` is in seconds of any clock that only grows."""
        self._state.events.asked(peer, request, now)
        asked = Asked(peer, request, user)
        effects: list[Effect]
        try:
            answer = self._dispatch(asked, now)
            effects = answer if isinstance(answer, list) else [asked.reply(answer)]
        except CimError as error:
            effects = asked.refuse(error)
            if isinstance(error, PermissionDeniedError):
                effects += [Audit("denied", user, error.details)]
        return self._noted(effects, now)

    # ---- outcomes of effects ----------------------------------------------------------------

    def lowered(
        self, effect: Lower, outcome: LoweredCouplings | CimError, now: float
    ) -> list[Effect]:
        """Handle the outcome of a `Lower` effect."""
        return self._noted(self._couplings.lowered(effect, outcome, now), now)

    def finish(self, job: str, outcome: Result | CimError, now: float) -> list[Effect]:
        """Handle the outcome of a `Run` effect."""
        return self._noted(self._state.jobs.finish(job, outcome, now), now)

    def drain(self, *, queue: bool) -> bool:
        """Take no new work, before the end: see `JobLifecycle.drain`; calibrations end as runs."""
        has_jobs = self._state.jobs.drain(queue=queue)
        return self.instruments.drain() or has_jobs

    def give_back(self, job: str = "") -> list[Effect]:
        """Let a job wait for the next server that never began: see `JobLifecycle.give_back`."""
        return self._state.jobs.give_back(job)

    def deliver(self, job: str, result: Result, now: float) -> list[Effect]:
        """Take the runs of a job that are finished while it goes on, all of them so far."""
        return self._noted(self._state.jobs.deliver(job, result, now), now)

    def progress(self, job: str, progress: messages.Progress, now: float) -> list[Effect]:
        """Take how far a running job is."""
        self._state.events.progressed(job, progress.done, progress.total)
        return self._noted(self._state.jobs.report(job, progress, now), now)

    def saved(self, effect: Persist, now: float) -> list[Effect]:
        """Go on after a `Persist` effect whose record was written."""
        return self._noted(effect.then(now), now)

    def unsaved(self, effect: Persist, error: CimError, now: float) -> list[Effect]:
        """Go on after a `Persist` effect whose record could not be written, for `error`."""
        return self._noted(effect.otherwise(error, now), now)

    # ---- start, time, reports ---------------------------------------------------------------

    def restore(
        self, saved: Iterable[Saved], now: float, *, controls: EpochRecord | None = None
    ) -> list[Effect]:
        """Take in what the journal of the server before this one kept, in any order.

        Called once, before the first request. Jobs that were running have failed; those that
        waited are queued again, the first accepted first.
        """
        if controls is not None:
            self._state.epochs.restore(controls)
        effects = [*self._state.jobs.restore(saved, now), *self._couplings.restore(now)]
        return self._noted(effects, now)

    def tick(self, now: float) -> list[Effect]:
        """Let time pass: waits end; silent sessions, uploads and old results are forgotten."""
        state = self._state
        state.events.advance(now)
        effects = [
            *state.jobs.tick(now),
            *self.instruments.tick(now),
            *self._locks.tick(now),
            *self._safety.tick(now),
        ]
        state.couplings.uploads.tick(now)
        self._rates.tick(now)
        for session in state.sessions.silent(now):
            effects += self._end_session(session, now)
        return self._noted(effects, now)

    def reports(self, now: float) -> tuple[messages.StatusReport, messages.MetricsReport]:
        """Return what goes on and what was counted, for those in the same process."""
        return self._status.status(now), self._status.metrics(now)

    # ---- requests ---------------------------------------------------------------------------

    def _dispatch(self, asked: Asked, now: float) -> Answer:
        body, user = asked.packet.body, asked.user
        if not isinstance(body, messages.Request):
            raise RemoteProtocolError("a client must not send replies, nor events")
        body.check(user)
        if body.safety:
            asked = self._in_own_session(asked, now)
        else:
            self._rates.count(user, now)
            if isinstance(body, messages.Hello):
                return self._hello(asked, body, now)
            self._state.sessions.get(asked.session, user, now)
        self._state.locks.renew(asked, now)
        if isinstance(body, messages.RunCalibration):  # a job is checked when it is a new one
            self._state.locks.check(asked, now)
            self._safety.check()
        handler = self._handlers[type(body)]
        if asked.packet.acknowledged:
            handle = partial(handler, asked, body)
            return self._jobs.drop(asked, lambda now: answered(asked, partial(handle, now)), now)
        return handler(asked, body, now)

    def _in_own_session(self, asked: Asked, now: float) -> Asked:
        """Return a request for safety, which needs no session, without one that is not its own."""
        try:
            self._state.sessions.get(asked.session, asked.user, now)
        except UnknownReferenceError:
            return replace(asked, packet=replace(asked.packet, session=""))
        return asked

    def _hello(self, asked: Asked, hello: messages.Hello, now: float) -> list[Effect]:
        state, user = self._state, asked.user
        session = state.sessions.opened(user, asked.packet.id, now)
        is_new, ended = session is None, []
        if session is None:
            version = agree(hello.protocols)
            ended = self._make_room(user, now)
            session = state.sessions.open(user, asked.packet.id, version, now)
        welcome = messages.Welcome(
            protocol=session.version,
            server=SERVER,
            instance=self._instance,
            session=session.token,
            limits=state.limits,
            capabilities=state.capabilities,
        )
        facts = {"client": hello.client, "session": session.token[-8:]}
        audit = [Audit("session", user, facts)] if is_new else []
        return [*ended, replace(asked.reply(welcome), session=session.token), *audit]

    def _make_room(self, user: User, now: float) -> list[Effect]:
        """End the session that is in the way of a new one, which costs its user no job.

        Its client may say hello again, and find them.
        """
        holder = self._state.locks.lock
        in_use = self._state.jobs.sessions_in_use() | ({holder.session} if holder else set())
        session = self._state.sessions.in_the_way(user, in_use, now)
        if session is None:
            return []
        self._state.jobs.keep_all(session)
        return self._end_session(session, now)

    def _bye(self, asked: Asked, _bye: messages.Bye, now: float) -> list[Effect]:
        self._state.sessions.get(asked.session, asked.user, now)
        self._state.couplings.uploads.forget_session(asked.session)
        return [*self._end_session(asked.session, now), asked.reply(messages.Farewell())]

    def _describe(
        self, _asked: Asked, _ask: messages.Describe, _now: float
    ) -> messages.Description:
        jobs = self._state.jobs
        return messages.Description(
            capabilities=self._state.capabilities, queued=jobs.queued, busy=jobs.busy
        )

    def _end_session(self, session: str, now: float) -> list[Effect]:
        user = self._state.sessions.end(session).user
        cancelled = self._state.jobs.end_session(session, now)
        given_back = self._locks.end_session(session, now)
        ended = Audit("session ended", user, {"session": session[-8:]})
        return [*cancelled, *given_back, ended]

    # ---- on the way out ---------------------------------------------------------------------

    def _noted(self, effects: list[Effect], now: float) -> list[Effect]:
        """Count what is done, and write replies in the version agreed with their session."""
        if ADDED:
            effects = [self._as_agreed(effect) for effect in effects]
        return self._state.events.noted(effects, now)

    def _as_agreed(self, effect: Effect) -> Effect:
        if not isinstance(effect, Reply):
            return effect
        sessions = self._state.sessions
        is_open = effect.session in sessions
        version = sessions[effect.session].version if is_open else OLDEST
        body = as_of(effect.packet.body, version)
        return replace(effect, packet=replace(effect.packet, body=body))


def registered(*groups: Handlers) -> Handlers:
    """Return the handlers of all groups; `ValueError` unless every request has exactly one."""
    handlers = {kind: handler for group in groups for kind, handler in group.items()}
    if len(handlers) < sum(map(len, groups)):
        raise ValueError("a message has two handlers")
    missing = set(messages.REQUESTS) - set(handlers) - {messages.Hello}
    if missing:
        raise ValueError(f"no handler for {missing}")
    return handlers
