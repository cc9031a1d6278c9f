"""What the handlers of a server share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.protocol.couplings.store import CouplingStore
    from cim_hal.protocol.jobs.lifecycle import JobLifecycle
    from cim_hal.protocol.monitoring import EventLog
    from cim_hal.protocol.sharing.locks import EpochLog, LockTable
    from cim_hal.protocol.sharing.sessions import SessionTable
    from cim_hal.protocol.wire.limits import Limits

__all__ = ["ServerState"]


@dataclass(frozen=True, eq=False)
class ServerState:
    """One machine, its sessions, locks, couplings and jobs."""

    capabilities: Capabilities
    limits: Limits
    events: EventLog
    sessions: SessionTable
    epochs: EpochLog
    locks: LockTable
    jobs: JobLifecycle
    couplings: CouplingStore
