"""What the handlers of a server share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from cim_hal.protocol.couplings.store import CouplingStore
from cim_hal.protocol.jobs.lifecycle import JobLifecycle
from cim_hal.protocol.monitoring.events import EventLog
from cim_hal.protocol.sharing.locks import LockTable, Owner
from cim_hal.protocol.sharing.sessions import SessionTable
from cim_hal.protocol.write_ahead import EpochLog, WriteAhead

if TYPE_CHECKING:
    from collections.abc import Callable

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.protocol.jobs.idempotency import IdempotencyRules
    from cim_hal.protocol.sharing.sessions import ClientSession
    from cim_hal.protocol.wire.limits import Limits
    from cim_hal.protocol.wire.packet import Packet
    from cim_hal.protocol.wire.roles import User

__all__ = ["ServerState"]


@dataclass(frozen=True, eq=False)
class ServerState:
    """One machine, its sessions, locks, couplings and jobs."""

    capabilities: Capabilities
    limits: Limits
    new_token: Callable[[], str]
    events: EventLog
    sessions: SessionTable
    write_ahead: WriteAhead
    epochs: EpochLog
    locks: LockTable
    jobs: JobLifecycle
    couplings: CouplingStore

    @classmethod
    def of(
        cls,
        capabilities: Capabilities,
        limits: Limits,
        rules: IdempotencyRules | None,
        new_token: Callable[[], str],
        first_epoch: int,
    ) -> Self:
        """Return the state of a server that has just started."""
        write_ahead = WriteAhead()
        epochs = EpochLog(write_ahead, first_epoch)
        locks = LockTable(limits, epochs)
        jobs = JobLifecycle(
            write_ahead,
            limits,
            rules,
            may_start=lambda job: epochs.stopped is None and locks.allows(job.epoch),
        )
        couplings = CouplingStore(capabilities, limits, new_token, jobs.couplings_in_use)
        sessions = SessionTable(limits, new_token)
        events = EventLog()
        return cls(
            capabilities,
            limits,
            new_token,
            events,
            sessions,
            write_ahead,
            epochs,
            locks,
            jobs,
            couplings,
        )

    def session(self, request: Packet) -> ClientSession:
        """Return the session of a request."""
        return self.sessions[request.session]

    def user(self, request: Packet) -> User:
        """Return who sent a request."""
        return self.sessions[request.session].user

    def owner(self, request: Packet) -> Owner:
        """Return who sent a request, with the epoch that it carries."""
        return Owner(request.session, self.user(request), request.epoch)
