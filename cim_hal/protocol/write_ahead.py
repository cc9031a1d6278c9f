"""Changes that wait for the journal: what is not saved has not happened."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeAlias

from cim_hal.protocol.effects import Effect, Persist
from cim_hal.protocol.jobs.records import EpochRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from cim_hal.errors import CimError
    from cim_hal.protocol.jobs.records import Record, Stopped

__all__ = ["EpochLog", "Otherwise", "Then", "WriteAhead"]

Then: TypeAlias = "Callable[[float], list[Effect]]"
Otherwise: TypeAlias = "Callable[[CimError, float], list[Effect]]"


class WriteAhead:
    """Asks for records to be written, and continues once they are."""

    def __init__(self) -> None:
        self._tickets = itertools.count(1)
        self._waiting: dict[str, tuple[Then, Otherwise]] = {}

    def ask(self, record: Record, then: Then, otherwise: Otherwise) -> list[Effect]:
        """Return the effect that has `record` written; one of the two is called after it."""
        ticket = str(next(self._tickets))
        self._waiting[ticket] = (then, otherwise)
        return [Persist(ticket, record)]

    def saved(self, ticket: str, now: float) -> list[Effect]:
        """Continue after the record of a ticket was written."""
        then, _ = self._waiting.pop(ticket)
        return then(now)

    def unsaved(self, ticket: str, error: CimError, now: float) -> list[Effect]:
        """Give up, or postpone, what needed a record that could not be written."""
        _, otherwise = self._waiting.pop(ticket)
        return otherwise(error, now)


class EpochLog:
    """Gives out numbers, each larger than all before, and has them written.

    Parameters
    ----------
    write_ahead : WriteAhead
    first : int
        The first number: larger than those of the server's earlier lives.

    Attributes
    ----------
    stopped : Stopped or None
        The emergency stop that holds.
    """

    def __init__(self, write_ahead: WriteAhead, first: int) -> None:
        self._write_ahead = write_ahead
        self._last = first - 1
        self.stopped: Stopped | None = None

    def __iter__(self) -> EpochLog:
        return self

    def __next__(self) -> int:
        self._last += 1
        return self._last

    def keep(self, stopped: Stopped | None, then: Then, otherwise: Otherwise) -> list[Effect]:
        """Have the last number and a stop written, and go on."""
        return self._write_ahead.ask(EpochRecord(self._last, stopped), then, otherwise)

    def restore(self, kept: EpochRecord) -> None:
        """Go on from what an earlier server wrote."""
        self._last = max(self._last, kept.number)
        self.stopped = kept.stopped
