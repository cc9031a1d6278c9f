"""The rules of a server: a message and the time in, effects out. Sends, sleeps, locks nothing."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from cim_hal.errors import CimError, PermissionDeniedError, RemoteProtocolError
from cim_hal.protocol.couplings.library import CouplingStore
from cim_hal.protocol.couplings.relowering import Relowering
from cim_hal.protocol.effects import Audit, Effect, Reply
from cim_hal.protocol.handlers.couplings import CouplingHandlers
from cim_hal.protocol.handlers.instruments import InstrumentHandlers
from cim_hal.protocol.handlers.jobs import JobHandlers
from cim_hal.protocol.handlers.locks import LockHandlers
from cim_hal.protocol.handlers.safety import SafetyHandlers
from cim_hal.protocol.handlers.status import StatusHandlers
from cim_hal.protocol.jobs.table import JobTable
from cim_hal.protocol.monitoring.events import EventLog
from cim_hal.protocol.sharing.epochs import EpochLog
from cim_hal.protocol.sharing.locks import LockTable
from cim_hal.protocol.sharing.quotas import RateLimiter
from cim_hal.protocol.sharing.sessions import SessionTable
from cim_hal.protocol.wire.errors import to_wire
from cim_hal.protocol.wire.evolution import as_of
from cim_hal.protocol.wire.limits import Limits
from cim_hal.protocol.wire.messages import (
    Bye,
    Describe,
    Description,
    EmergencyStop,
    Farewell,
    Hello,
    Message,
    MetricsReport,
    Ping,
    Pong,
    RunCalibration,
    StatusReport,
    Welcome,
)
from cim_hal.protocol.wire.packet import Kind, Packet, answer
from cim_hal.protocol.wire.roles import LOCAL, User, check_role
from cim_hal.protocol.wire.version import agree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.protocol.couplings.content import LoweredCouplings
    from cim_hal.protocol.jobs.idempotency import IdempotencyRules
    from cim_hal.protocol.jobs.job import JobEntry
    from cim_hal.protocol.jobs.records import EpochRecord, Saved
    from cim_hal.protocol.wire.messages import Progress
    from cim_hal.protocol.wire.results import Result
    from cim_hal.protocol.wire.version import Version

__all__ = ["ServerCore"]

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
    meters : Counters
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
        self._capabilities = capabilities
        self._limits = limits or Limits()
        self._new_token = new_token
        self._instance = new_token()
        self._sessions = SessionTable(self._limits, new_token)
        self.instruments = InstrumentHandlers(capabilities, self._limits, self._user_of)
        self._activity = EventLog()
        self.counters = self._activity.counters
        self._jobs = JobTable(self._limits, keys, may_start=self._may_start)
        in_use = self._jobs.couplings_in_use
        self._library = CouplingStore(capabilities, self._limits, new_token, in_use)
        self._loading = CouplingHandlers(self._library, self._session_of)
        self._refitting = Relowering(
            self._jobs, self._library, capabilities, self._limits, new_token
        )
        self._controls = EpochLog(self._jobs.saver, first_epoch)
        self._leases = LockTable(self._limits, self._controls)
        self._locking = LockHandlers(self._leases, self._jobs, self._user_of, self._controls)
        self._safety = SafetyHandlers(self._jobs, self._user_of, self._controls)
        self._rates = RateLimiter(self._limits.user_messages_per_s)
        self._desk = StatusHandlers(
            self._activity,
            self.instruments,
            self._leases,
            self._safety,
            device=capabilities.name,
            software=software,
            instance=self._instance,
        )
        jobs = JobHandlers(
            self._jobs,
            self._library,
            self._sessions,
            capabilities,
            self._limits,
            check=self._check_new_job,
        )
        self._handlers: dict[type[Message], Callable[[bytes, Packet, Any, float], list[Effect]]] = {
            Ping: self._ping,
            Bye: self._bye,
            Describe: self._describe,
            **self._loading.handlers,
            **jobs.handlers,
            **self.instruments.handlers,
            **self._locking.handlers,
            **self._safety.handlers,
            **self._desk.handlers,
        }

    def receive(
        self, peer: bytes, request: Packet, now: float, *, user: User = LOCAL
    ) -> list[Effect]:
        """Take a request of `peer`; `now` is in seconds of any clock that only grows."""
        self._activity.asked(peer, request, now)
        effects: list[Effect]
        try:
            effects = self._dispatch(peer, request, now, user)
        except PermissionDeniedError as error:
            denied = Audit("denied", user, error.details)
            effects = [Reply(peer, answer(request, to_wire(error))), denied]
        except CimError as error:
            effects = [Reply(peer, answer(request, to_wire(error)))]
        return self._activity.noted(effects, now)

    def lowered(
        self, ticket: str, outcome: LoweredCouplings | CimError, now: float
    ) -> list[Effect]:
        """Take what became of a `Lower`."""
        if self._refitting.is_for(ticket):
            return self._activity.noted(self._refitting.fitted(outcome, now), now)
        requests, effects = self._loading.lowered(ticket, outcome)
        for request in requests:
            self._sessions.touch(request.session, now)
        return self._activity.noted(effects, now)

    def finish(self, job: str, outcome: Result | CimError, now: float) -> list[Effect]:
        """Take what became of a `Run`."""
        return self._activity.noted(self._jobs.finish(job, outcome, now), now)

    def deliver(self, job: str, result: Result, now: float) -> list[Effect]:
        """Take the runs of a `Run` that are finished while it goes on, all of them so far."""
        return self._activity.noted(self._jobs.deliver(job, result, now), now)

    def progress(self, job: str, progress: Progress, now: float) -> list[Effect]:
        """Take how far a `Run` is."""
        self._activity.progressed(job, progress.done, progress.total)
        return self._activity.noted(self._jobs.report(job, progress, now), now)

    def saved(self, ticket: str, now: float) -> list[Effect]:
        """Go on after a `Persist` whose record was written."""
        return self._activity.noted(self._jobs.saver.saved(ticket, now), now)

    def unsaved(self, ticket: str, error: CimError, now: float) -> list[Effect]:
        """Go on after a `Persist` whose record could not be written, for `error`."""
        return self._activity.noted(self._jobs.saver.unsaved(ticket, error, now), now)

    def restore(
        self, saved: Iterable[Saved], now: float, *, controls: EpochRecord | None = None
    ) -> list[Effect]:
        """Take what the journal of the server before this one knew, oldest job first."""
        if controls is not None:
            self._controls.restore(controls)
        effects = [*self._jobs.restore(saved, now), *self._refitting.next()]
        return self._activity.noted(effects, now)

    def tick(self, now: float) -> list[Effect]:
        """Let time pass: waits end; silent sessions, uploads and old results are forgotten."""
        effects = [
            *self._jobs.tick(now),
            *self.instruments.tick(now),
            *self._locking.tick(now),
            *self._refitting.next(),
        ]
        self._library.tick(now)
        self._rates.tick(now)
        for session in self._sessions.silent(now):
            effects += self._end_session(session, now)
        return self._activity.noted(effects, now)

    def reports(self, now: float) -> tuple[StatusReport, MetricsReport]:
        """Return what goes on and what was counted, for those in the same process."""
        return self._desk.status(now), self._desk.metrics(now)

    def _dispatch(self, peer: bytes, request: Packet, now: float, user: User) -> list[Effect]:
        if request.kind is not Kind.REQUEST:
            raise RemoteProtocolError("a client must not send replies, nor events")
        check_role(user, request.body)
        if not isinstance(request.body, EmergencyStop | Bye):
            self._rates.count(user, now)
        if isinstance(request.body, Hello):
            return self._hello(peer, request, request.body, now, user)
        self._sessions.get(request.session, user, now)
        self._leases.renew(self._locking.caller(request), now)
        if isinstance(request.body, RunCalibration):  # a job is looked at when it is a new one
            self._leases.check(self._locking.caller(request), now)
            self._safety.check()
        return self._handlers[type(request.body)](peer, request, request.body, now)

    def _hello(
        self, peer: bytes, request: Packet, hello: Hello, now: float, user: User
    ) -> list[Effect]:
        session, is_new = self._sessions.open(user, request.id, agree(hello.protocols), now)
        welcome = Welcome(
            protocol=session.version,
            server=SERVER,
            instance=self._instance,
            session=session.token,
            limits=as_of(self._limits, session.version),
            capabilities=as_of(self._capabilities, session.version),
        )
        facts = {"client": hello.client, "session": session.token[-8:]}
        audit = [Audit("session", user, facts)] if is_new else []
        return [Reply(peer, answer(request, welcome)), *audit]

    def _ping(self, peer: bytes, request: Packet, _ping: Ping, _now: float) -> list[Effect]:
        return [Reply(peer, answer(request, Pong()))]

    def _bye(self, peer: bytes, request: Packet, _bye: Bye, now: float) -> list[Effect]:
        return [
            *self._end_session(request.session, now),
            Reply(peer, answer(request, Farewell())),
        ]

    def _describe(self, peer: bytes, request: Packet, _ask: Describe, _now: float) -> list[Effect]:
        capabilities = as_of(self._capabilities, self._sessions[request.session].version)
        description = Description(
            capabilities=capabilities, queued=self._jobs.queued, busy=self._jobs.busy
        )
        return [Reply(peer, answer(request, description))]

    # ---- sessions ---------------------------------------------------------------------------

    def _user_of(self, request: Packet) -> User:
        return self._sessions[request.session].user

    def _session_of(self, session: str) -> tuple[User, Version]:
        known = self._sessions[session]
        return known.user, known.version

    def _end_session(self, session: str, now: float) -> list[Effect]:
        user = self._sessions.end(session).user
        self._library.forget_session(session)
        cancelled = self._jobs.end_session(session, now)
        given_back = self._locking.end_session(session, now)
        ended = Audit("session ended", user, {"session": session[-8:]})
        return [*cancelled, *given_back, ended]

    def _check_new_job(self, request: Packet, now: float) -> None:
        self.instruments.check(now)
        self._leases.check(self._locking.caller(request), now)

    def _may_start(self, job: JobEntry) -> bool:
        return self._safety.stopped is None and self._leases.allows(job.epoch)
