"""The numbers of locks and stops, and the stop that holds, kept beyond the end of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cim_hal.protocol.jobs.records import EpochRecord

if TYPE_CHECKING:
    from cim_hal.protocol.effects import Effect
    from cim_hal.protocol.jobs.records import Stopped
    from cim_hal.protocol.write_ahead import Otherwise, Then, WriteAhead

__all__ = ["EpochLog"]


class EpochLog:
    """Gives out numbers, each larger than all before, and has them written.

    Parameters
    ----------
    saver : WriteAhead
    first : int
        The first number: larger than those of the server's earlier lives.

    Attributes
    ----------
    stopped : Stopped or None
        The emergency stop that holds.
    """

    def __init__(self, saver: WriteAhead, first: int) -> None:
        self._saver = saver
        self._last = first - 1
        self.stopped: Stopped | None = None

    def __iter__(self) -> EpochLog:
        return self

    def __next__(self) -> int:
        self._last += 1
        return self._last

    def keep(self, stopped: Stopped | None, then: Then, otherwise: Otherwise) -> list[Effect]:
        """Have the last number and a stop written, and go on."""
        return self._saver.ask(EpochRecord(self._last, stopped), then, otherwise)

    def restore(self, kept: EpochRecord) -> None:
        """Go on from what an earlier server wrote."""
        self._last = max(self._last, kept.number)
        self.stopped = kept.stopped
