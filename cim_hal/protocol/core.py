"""The rules of a server: a message and the time in, effects out. Sends, sleeps, locks nothing."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from cim_hal.errors import CimError, PermissionDeniedError, RemoteProtocolError
from cim_hal.protocol.effects import Audit, Effect, Reply, reply
from cim_hal.protocol.handlers.couplings import CouplingHandlers
from cim_hal.protocol.handlers.instruments import InstrumentHandlers
from cim_hal.protocol.handlers.jobs import JobHandlers
from cim_hal.protocol.handlers.locks import LockHandlers
from cim_hal.protocol.handlers.safety import SafetyHandlers
from cim_hal.protocol.handlers.status import StatusHandlers
from cim_hal.protocol.server_state import ServerState
from cim_hal.protocol.sharing.quotas import RateLimiter
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.messages import (
    REQUESTS,
    Bye,
    Describe,
    Description,
    EmergencyStop,
    Farewell,
    Hello,
    Ping,
    Pong,
    Request,
    RunCalibration,
    Welcome,
)
from cim_hal.protocol.wire.packet import Packet, answer
from cim_hal.protocol.wire.roles import LOCAL, User
from cim_hal.protocol.wire.version import ADDED, agree, as_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.protocol.couplings.content import LoweredCouplings
    from cim_hal.protocol.effects import Handlers
    from cim_hal.protocol.jobs.idempotency import IdempotencyRules
    from cim_hal.protocol.jobs.records import EpochRecord, Saved
    from cim_hal.protocol.wire.messages import MetricsReport, Progress, StatusReport
    from cim_hal.protocol.wire.results import Result

__all__ = ["ServerCore", "registered"]

SERVER = "cim-hal"


def _new_token() -> str:
    return secrets.token_hex(16)


class ServerCore:
    """One machine, its sessions, couplings and jobs.

    Parameters
    ----------
    capabilities : Capabilities
        What the driver described.
    limits : Limits
    keys : IdempotencyRules
        How long idempotency keys are remembered.
    new_token : callable
        Makes ids: 32 hexadecimal digits, never the same twice.
    software : str
        Name and version of the server, for those who watch it.
    first_epoch : int
        The first number for a lock or an emergency stop. It must be larger than all that this
        server ever gave, in earlier lives too: milliseconds since 1970 are.

    Attributes
    ----------
    instruments : InstrumentHandlers
        Takes what the driver says of itself, and says whether it may run.
    counters : Counters
        What was counted; whoever moves the packets counts there too.
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
        state = ServerState.of(capabilities, limits, keys, new_token, first_epoch)
        self._state = state
        self.counters = state.events.counters
        self._rates = RateLimiter(limits.user_messages_per_s)
        self.instruments = InstrumentHandlers(state)
        self._couplings = CouplingHandlers(state)
        self._locks = LockHandlers(state)
        self._safety = SafetyHandlers(state)
        self._status = StatusHandlers(
            state, self.instruments, self._safety, software=software, instance=self._instance
        )
        self._handlers = registered(
            {Ping: self._ping, Bye: self._bye, Describe: self._describe},
            JobHandlers(state, self.instruments.check).handlers,
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
        effects: list[Effect]
        try:
            effects = self._dispatch(peer, request, now, user)
        except PermissionDeniedError as error:
            denied = Audit("denied", user, error.details)
            effects = [reply(peer, request, to_wire(error)), denied]
        except CimError as error:
            effects = [reply(peer, request, to_wire(error))]
        return self._noted(effects, now)

    # ---- outcomes of effects ----------------------------------------------------------------

    def lowered(
        self, ticket: str, outcome: LoweredCouplings | CimError, now: float
    ) -> list[Effect]:
        """Handle the outcome of a `Lower` effect."""
        return self._noted(self._couplings.lowered(ticket, outcome, now), now)

    def finish(self, job: str, outcome: Result | CimError, now: float) -> list[Effect]:
        """Handle the outcome of a `Run` effect."""
        return self._noted(self._state.jobs.finish(job, outcome, now), now)

    def deliver(self, job: str, result: Result, now: float) -> list[Effect]:
        """Take the runs of a job that are finished while it goes on, all of them so far."""
        return self._noted(self._state.jobs.deliver(job, result, now), now)

    def progress(self, job: str, progress: Progress, now: float) -> list[Effect]:
        """Take how far a running job is."""
        self._state.events.progressed(job, progress.done, progress.total)
        return self._noted(self._state.jobs.report(job, progress, now), now)

    def saved(self, ticket: str, now: float) -> list[Effect]:
        """Go on after a `Persist` effect whose record was written."""
        return self._noted(self._state.write_ahead.saved(ticket, now), now)

    def unsaved(self, ticket: str, error: CimError, now: float) -> list[Effect]:
        """Go on after a `Persist` effect whose record could not be written, for `error`."""
        return self._noted(self._state.write_ahead.unsaved(ticket, error, now), now)

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
        effects = [*self._state.jobs.restore(saved, now), *self._couplings.next_relowering()]
        return self._noted(effects, now)

    def tick(self, now: float) -> list[Effect]:
        """Let time pass: waits end; silent sessions, uploads and old results are forgotten."""
        state = self._state
        effects = [
            *state.jobs.tick(now),
            *self.instruments.tick(now),
            *self._locks.tick(now),
            *self._couplings.next_relowering(),
        ]
        state.couplings.tick(now)
        self._rates.tick(now)
        for session in state.sessions.silent(now):
            effects += self._end_session(session, now)
        return self._noted(effects, now)

    def reports(self, now: float) -> tuple[StatusReport, MetricsReport]:
        """Return what goes on and what was counted, for those in the same process."""
        return self._status.status(now), self._status.metrics(now)

    # ---- requests ---------------------------------------------------------------------------

    def _dispatch(self, peer: bytes, request: Packet, now: float, user: User) -> list[Effect]:
        if not isinstance(request.body, Request):
            raise RemoteProtocolError("a client must not send replies, nor events")
        request.body.check(user)
        if not isinstance(request.body, EmergencyStop | Bye):
            self._rates.count(user, now)
        if isinstance(request.body, Hello):
            return self._hello(peer, request, request.body, now, user)
        self._state.sessions.get(request.session, user, now)
        owner = self._state.owner(request)
        self._state.locks.renew(owner, now)
        if isinstance(request.body, RunCalibration):  # a job is checked when it is a new one
            self._state.locks.check(owner, now)
            self._safety.check()
        return self._handlers[type(request.body)](peer, request, request.body, now)

    def _hello(
        self, peer: bytes, request: Packet, hello: Hello, now: float, user: User
    ) -> list[Effect]:
        state = self._state
        session, is_new = state.sessions.open(user, request.id, agree(hello.protocols), now)
        welcome = Welcome(
            protocol=session.version,
            server=SERVER,
            instance=self._instance,
            session=session.token,
            limits=state.limits,
            capabilities=state.capabilities,
        )
        facts = {"client": hello.client, "session": session.token[-8:]}
        audit = [Audit("session", user, facts)] if is_new else []
        return [Reply(peer, answer(request, welcome), session.token), *audit]

    def _ping(self, peer: bytes, request: Packet, _ping: Ping, _now: float) -> list[Effect]:
        return [reply(peer, request, Pong())]

    def _bye(self, peer: bytes, request: Packet, _bye: Bye, now: float) -> list[Effect]:
        return [*self._end_session(request.session, now), reply(peer, request, Farewell())]

    def _describe(self, peer: bytes, request: Packet, _ask: Describe, _now: float) -> list[Effect]:
        jobs = self._state.jobs
        description = Description(
            capabilities=self._state.capabilities, queued=jobs.queued, busy=jobs.busy
        )
        return [reply(peer, request, description)]

    def _end_session(self, session: str, now: float) -> list[Effect]:
        user = self._state.sessions.end(session).user
        self._state.couplings.forget_session(session)
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
        if not isinstance(effect, Reply) or effect.session not in self._state.sessions:
            return effect
        body = as_of(effect.packet.body, self._state.sessions[effect.session].version)
        return replace(effect, packet=replace(effect.packet, body=body))


def registered(*groups: Handlers) -> Handlers:
    """Return the handlers of all groups.

    Raises
    ------
    ValueError
        Two groups have a handler for the same message, or a request has none.
    """
    handlers = {kind: handler for group in groups for kind, handler in group.items()}
    if len(handlers) < sum(map(len, groups)):
        raise ValueError("a message has two handlers")
    missing = set(REQUESTS) - set(handlers) - {Hello}
    if missing:
        raise ValueError(f"no handler for {missing}")
    return handlers
