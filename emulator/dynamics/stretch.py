"""Blocks that make their round trips a stretch at a time, in one call of compiled code.

Calling takes 10 microseconds, as long as a round trip of 100 spins; and while one thread calls,
the others wait for Python's lock.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from emulator.dynamics.base import Block

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LONGEST_STRETCH", "StretchBlock"]

LONGEST_STRETCH = 16  # round trips


class StretchBlock(Block):
    """A block that is told its pump and moves when it is looked at, or after 16 round trips."""

    def __init__(self) -> None:
        self._ahead: list[float] = []

    def advance(self, pump: float) -> None:
        """Make one round trip, by and by."""
        self._ahead.append(pump)
        if len(self._ahead) == LONGEST_STRETCH:
            self.catch_up()

    def catch_up(self) -> None:
        """Make the round trips that are due."""
        if self._ahead:
            pumps = np.array(self._ahead)
            self._ahead.clear()
            self._advance_through(pumps)

    @abstractmethod
    def _advance_through(self, pumps: NDArray[np.float64]) -> None:
        """Make a round trip at each of the pump rates."""
