"""Moves that wait for the journal: what is not saved has not happened."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeAlias

from cim_hal.protocol.effects import Effect, Persist

if TYPE_CHECKING:
    from collections.abc import Callable

    from cim_hal.errors import CimError
    from cim_hal.protocol.jobs.records import Record

__all__ = ["Otherwise", "Then", "WriteAhead"]

Then: TypeAlias = "Callable[[float], list[Effect]]"
Otherwise: TypeAlias = "Callable[[CimError, float], list[Effect]]"


class WriteAhead:
    """Asks for records to be written, and goes on where they are."""

    def __init__(self) -> None:
        self._tickets = itertools.count(1)
        self._waiting: dict[str, tuple[Then, Otherwise]] = {}

    def ask(self, record: Record, then: Then, otherwise: Otherwise) -> list[Effect]:
        """Return the effect that has `record` written; one of the two is called after it."""
        ticket = str(next(self._tickets))
        self._waiting[ticket] = (then, otherwise)
        return [Persist(ticket, record)]

    def saved(self, ticket: str, now: float) -> list[Effect]:
        """Make the move whose record was written."""
        then, _ = self._waiting.pop(ticket)
        return then(now)

    def unsaved(self, ticket: str, error: CimError, now: float) -> list[Effect]:
        """Give up, or put off, the move whose record could not be written."""
        _, otherwise = self._waiting.pop(ticket)
        return otherwise(error, now)
