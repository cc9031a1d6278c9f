"""The rules of a server: a message and the time in, effects out. Sends, sleeps, locks nothing."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cim_hal.errors import (
    CapabilityError,
    CimError,
    PermissionDeniedError,
    RemoteProtocolError,
    UnknownReferenceError,
)
from cim_hal.protocol.activity import Activity
from cim_hal.protocol.effects import Audit, Effect, Reply
from cim_hal.protocol.evolution import as_of
from cim_hal.protocol.faults import as_fault
from cim_hal.protocol.instruments import Instruments
from cim_hal.protocol.jobs import Job, JobBook
from cim_hal.protocol.leases import Leases
from cim_hal.protocol.library import Library
from cim_hal.protocol.limits import Limits
from cim_hal.protocol.loading import Loading
from cim_hal.protocol.locking import Locking
from cim_hal.protocol.messages import (
    Bye,
    CancelJob,
    Describe,
    Description,
    EmergencyStop,
    Farewell,
    FetchResult,
    FetchTrace,
    Hello,
    Message,
    MetricsReport,
    Ping,
    Pong,
    ResultBatch,
    RunCalibration,
    Sample,
    StatusReport,
    TraceBatch,
    WaitJob,
    Welcome,
)
from cim_hal.protocol.packet import Kind, Packet, answer
from cim_hal.protocol.programs import program_of, record_of
from cim_hal.protocol.quotas import Rates, check_quota
from cim_hal.protocol.results import Measured, rows_from, trace_rows_from
from cim_hal.protocol.roles import LEAST_FOR_OTHERS, LOCAL, User, check_role
from cim_hal.protocol.safety import Safety
from cim_hal.protocol.status import StatusDesk
from cim_hal.protocol.version import agree

if TYPE_CHECKING:
    from collections.abc import Callable

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.protocol.couplings import Prepared
    from cim_hal.protocol.version import Version

__all__ = ["ServerCore"]

SERVER = "cim-hal"


def _new_token() -> str:
    return secrets.token_hex(16)


@dataclass
class _Session:
    version: Version
    seen: float
    user: User


class ServerCore:
    """One machine, its sessions, couplings and jobs.

    Parameters
    ----------
    capabilities : Capabilities
        What the driver described.
    limits : Limits
    new_token : callable
        Makes ids: 32 hexadecimal digits, never the same twice.
    software : str
        Name and version of the server, for those who watch it.
    first_epoch : int
        The first number for a lock or an emergency stop. It must be larger than all that this
        server ever gave, in earlier lives too: milliseconds since 1970 are.

    Attributes
    ----------
    instruments : Instruments
        Takes what the driver says of itself, and says whether it may run.
    meters : Meters
        What was counted; whoever moves the packets counts there too.
    """

    def __init__(
        self,
        capabilities: Capabilities,
        limits: Limits | None = None,
        *,
        new_token: Callable[[], str] = _new_token,
        software: str = SERVER,
        first_epoch: int = 1,
    ) -> None:
        self._capabilities = capabilities
        self._limits = limits or Limits()
        self._new_token = new_token
        self._instance = new_token()
        self._sessions: dict[str, _Session] = {}
        self.instruments = Instruments(capabilities, self._limits, self._user_of)
        self._activity = Activity()
        self.meters = self._activity.meters
        self._jobs = JobBook(self._limits, new_token, may_start=self._may_start)
        in_use = self._jobs.couplings_in_use
        self._library = Library(capabilities, self._limits, new_token, in_use)
        self._loading = Loading(self._library, self._speaker)
        numbers = itertools.count(first_epoch)
        self._leases = Leases(self._limits, numbers)
        self._locking = Locking(self._leases, self._jobs, self._user_of)
        self._safety = Safety(self._jobs, self._user_of, numbers)
        self._rates = Rates(self._limits.user_messages_per_s)
        self._desk = StatusDesk(
            self._activity,
            self.instruments,
            self._leases,
            self._safety,
            device=capabilities.name,
            software=software,
            instance=self._instance,
        )
        self._handlers: dict[type[Message], Callable[[bytes, Packet, Any, float], list[Effect]]] = {
            Ping: self._ping,
            Bye: self._bye,
            Describe: self._describe,
            **self._loading.handlers,
            Sample: self._sample,
            WaitJob: self._wait,
            CancelJob: self._cancel,
            FetchResult: self._fetch,
            FetchTrace: self._fetch_trace,
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
            effects = [Reply(peer, answer(request, as_fault(error))), denied]
        except CimError as error:
            effects = [Reply(peer, answer(request, as_fault(error)))]
        return self._activity.noted(effects, now)

    def prepared(self, ticket: str, outcome: Prepared | CimError, now: float) -> list[Effect]:
        """Take what became of a `Prepare`."""
        requests, effects = self._loading.prepared(ticket, outcome)
        for request in requests:
            if request.session in self._sessions:
                self._sessions[request.session].seen = now
        return self._activity.noted(effects, now)

    def finish(self, job: str, outcome: Measured | CimError, now: float) -> list[Effect]:
        """Take what became of a `Run`."""
        return self._activity.noted(self._jobs.finish(job, outcome, now), now)

    def tick(self, now: float) -> list[Effect]:
        """Let time pass: waits end; silent sessions, uploads and old results are forgotten."""
        effects = [
            *self._jobs.tick(now),
            *self.instruments.tick(now),
            *self._locking.tick(now),
        ]
        self._library.tick(now)
        self._rates.tick(now)
        oldest = now - self._limits.session_s
        for session in [t for t, known in self._sessions.items() if known.seen < oldest]:
            effects += self._end_session(session, now)
        return self._activity.noted(effects, now)

    def reports(self, now: float) -> tuple[StatusReport, MetricsReport]:
        """Return what goes on and what was counted, for those in the same process."""
        return self._desk.status(now), self._desk.metrics(now)

    def _dispatch(self, peer: bytes, request: Packet, now: float, user: User) -> list[Effect]:
        if request.kind is not Kind.REQUEST:
            raise RemoteProtocolError("a client must not send replies")
        check_role(user, request.body)
        if not isinstance(request.body, EmergencyStop | Bye):
            self._rates.count(user, now)
        if isinstance(request.body, Hello):
            welcome = self._hello(request.body, now, user)
            facts = {"client": request.body.client, "session": welcome.session[-8:]}
            return [Reply(peer, answer(request, welcome)), Audit("session", user, facts)]
        session = self._sessions.get(request.session)
        if session is None or session.user.name != user.name:
            raise UnknownReferenceError(
                "the server does not know that session", hint="say hello again", kind="session"
            )
        session.seen, session.user = now, user  # whose role may have changed
        self._leases.renew(self._locking.caller(request), now)
        if isinstance(request.body, RunCalibration):  # a job is looked at when it is a new one
            self._leases.check(self._locking.caller(request), now)
            self._safety.check()
        return self._handlers[type(request.body)](peer, request, request.body, now)

    def _hello(self, hello: Hello, now: float, user: User) -> Welcome:
        version = agree(hello.protocols)
        if len(self._sessions) >= self._limits.max_sessions:
            needs, available = len(self._sessions) + 1, self._limits.max_sessions
            raise CapabilityError("max_sessions", required=needs, available=available)
        own = sum(session.user.name == user.name for session in self._sessions.values()) + 1
        most, hint = self._limits.user_sessions, "close sessions that are not needed"
        check_quota(user.name, "user_sessions", used=own, available=most, hint=hint)
        session = self._new_token()
        self._sessions[session] = _Session(version, now, user)
        return Welcome(
            protocol=version,
            server=SERVER,
            instance=self._instance,
            session=session,
            limits=as_of(self._limits, version),
            capabilities=as_of(self._capabilities, version),
        )

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

    # ---- jobs -------------------------------------------------------------------------------

    def _sample(self, peer: bytes, request: Packet, sample: Sample, now: float) -> list[Effect]:
        job, audit = self._jobs.find(request.session, sample), []
        if job is None:
            self.instruments.check(now)
            lowering = self._library.lowering(sample.coupling)
            program = program_of(sample, lowering, self._capabilities, self._limits)
            user = self._user_of(request)
            self._leases.check(self._locking.caller(request), now)
            job = self._jobs.add(request.session, user, sample, program, now, epoch=request.epoch)
            audit = [Audit("job", user, job.facts())]
        effects = self._jobs.start_next(now)
        return [Reply(peer, answer(request, job.status())), *audit, *effects]

    def _wait(self, peer: bytes, request: Packet, wait: WaitJob, now: float) -> list[Effect]:
        job = self._jobs.get(request.session, wait.job)
        if job.has_ended or wait.timeout_s == 0:
            return [Reply(peer, answer(request, job.status()))]
        deadline = now + min(wait.timeout_s, self._limits.wait_s)
        self._jobs.wait(job, peer, request, deadline)
        return []

    def _cancel(self, peer: bytes, request: Packet, cancel: CancelJob, now: float) -> list[Effect]:
        user = self._sessions[request.session].user
        may_others = user.role >= LEAST_FOR_OTHERS[CancelJob]
        job = self._jobs.get(request.session, cancel.job, of_others=may_others)
        effects = self._jobs.cancel(job, now)
        facts = {"job": job.id, "owner": job.user.name, "state": job.state.value}
        reply = Reply(peer, answer(request, job.status()))
        return [*effects, reply, Audit("cancel", user, facts)]

    def _fetch(self, peer: bytes, request: Packet, fetch: FetchResult, _now: float) -> list[Effect]:
        job, measured = self._measured(request, fetch)
        _check_first(job, fetch.first, len(measured.spins))
        record = record_of(job, measured, self._capabilities.name)
        batch = ResultBatch(
            job=job.id,
            n_spins=measured.n_spins,
            n_runs=len(measured.spins),
            first=fetch.first,
            record=as_of(record, self._sessions[request.session].version),
        )
        return [Reply(peer, answer(request, batch, *rows_from(measured, fetch.first)))]

    def _fetch_trace(
        self, peer: bytes, request: Packet, fetch: FetchTrace, _now: float
    ) -> list[Effect]:
        job, measured = self._measured(request, fetch)
        trace = measured.trace
        if trace is None:
            raise RemoteProtocolError("the job was asked for no trace", job=job.id)
        n_frames, n_runs, n_spins = trace.amplitudes.shape
        _check_first(job, fetch.first, n_frames * n_runs)
        batch = TraceBatch(
            job=job.id, n_spins=n_spins, n_runs=n_runs, n_frames=n_frames, first=fetch.first
        )
        return [Reply(peer, answer(request, batch, *trace_rows_from(trace, fetch.first)))]

    def _measured(self, request: Packet, fetch: FetchResult | FetchTrace) -> tuple[Job, Measured]:
        job = self._jobs.get(request.session, fetch.job)
        measured = job.outcome
        if isinstance(measured, CimError):
            raise measured
        if measured is None:
            raise RemoteProtocolError(f"the job is {job.state}, it has no result yet", job=job.id)
        return job, measured

    def _user_of(self, request: Packet) -> User:
        return self._sessions[request.session].user

    def _speaker(self, session: str) -> tuple[User, Version]:
        known = self._sessions[session]
        return known.user, known.version

    def _end_session(self, session: str, now: float) -> list[Effect]:
        user = self._sessions.pop(session).user
        self._library.forget_session(session)
        cancelled = self._jobs.forget_session(session, now)
        given_back = self._locking.end_session(session, now)
        ended = Audit("session ended", user, {"session": session[-8:]})
        return [*cancelled, *given_back, ended]

    def _may_start(self, job: Job) -> bool:
        return self._safety.stopped is None and self._leases.allows(job.epoch)


def _check_first(job: Job, first: int, n_rows: int) -> None:
    if first >= n_rows:
        raise RemoteProtocolError(f"the result has {n_rows} rows", job=job.id)
