"""Couplings of jobs that a server before this one accepted: fitted again, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cim_hal.errors import CimError
from cim_hal.protocol.effects import Effect, Lower
from cim_hal.protocol.jobs.program import program_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.protocol.couplings.content import LoweredCouplings
    from cim_hal.protocol.couplings.library import CouplingStore
    from cim_hal.protocol.jobs.job import JobEntry
    from cim_hal.protocol.jobs.table import JobTable
    from cim_hal.protocol.wire.limits import Limits

__all__ = ["Relowering"]


class Relowering:
    """Gives queued jobs their programs after a restart; those that cannot have one fail."""

    def __init__(
        self,
        book: JobTable,
        library: CouplingStore,
        capabilities: Capabilities,
        limits: Limits,
        new_token: Callable[[], str],
    ) -> None:
        self._book = book
        self._library = library
        self._capabilities = capabilities
        self._limits = limits
        self._new_token = new_token
        self._task: Lower | None = None

    def is_for(self, ticket: str) -> bool:
        """Return whether a `Lower` was asked for here."""
        return self._task is not None and self._task.ticket == ticket

    def next(self) -> list[Effect]:
        """Fit the couplings that the first job without a program waits for, one at a time."""
        waiting = self._waiting()
        if self._task is not None or not waiting:
            return []
        self._task = Lower(self._new_token(), waiting[0].request.coupling, None)
        return [self._task]

    def fitted(self, outcome: LoweredCouplings | CimError, now: float) -> list[Effect]:
        """Take what became of the `Lower`."""
        effects: list[Effect] = []
        task, self._task = self._task, None
        if task is None:
            return effects
        if not isinstance(outcome, CimError):
            self._library.keep(task.coupling, outcome)
        for job in self._waiting():
            if job.request.coupling != task.coupling:
                continue
            try:
                if isinstance(outcome, CimError):
                    raise outcome
                capabilities, limits = self._capabilities, self._limits
                job.program = program_of(job.request, outcome.lowering, capabilities, limits)
            except CimError as error:
                effects += self._book.fail(job, error, now)
        return [*effects, *self._book.start_next(now)]

    def _waiting(self) -> list[JobEntry]:
        return [job for job in self._book.waiting if job.program is None]
