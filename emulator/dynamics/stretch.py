"""Blocks that make their round trips a stretch at a time, in one call of compiled code.

Calling takes 10 microseconds, as long as a round trip of 100 spins; and while one thread calls,
the others wait for Python's lock.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from emulator.dynamics.base import Block
from emulator.dynamics.look import look

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.dynamics.look import Watch

__all__ = ["StretchBlock", "WatchedBlock"]

# A stretch is as many round trips as make this many spin-updates, within bounds: 81 of 100 spins
# and 64 runs.
STRETCH_UPDATES = 2**19
SHORTEST_STRETCH, LONGEST_STRETCH = 16, 128


class StretchBlock(Block):
    """A block that is told its pump and moves when it is looked at, or after a stretch.

    Parameters
    ----------
    size : int
        Spins times runs.
    """

    def __init__(self, size: int) -> None:
        self._ahead: list[float] = []
        self._longest = min(max(SHORTEST_STRETCH, STRETCH_UPDATES // size), LONGEST_STRETCH)

    def advance(self, pump: float) -> None:
        """Make one round trip, by and by."""
        self._ahead.append(pump)
        if len(self._ahead) == self._longest:
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


class WatchedBlock(StretchBlock):
    """A block whose loop looks at its own energies on the way.

    Parameters
    ----------
    x : array, shape (n, at least runs)
        Amplitudes, which `_advance_through` changes; it must `look_after` each round trip.
    n_runs : int

    Attributes
    ----------
    watch : Watch or None
        Looks at the energies from now on.
    """

    def __init__(self, x: NDArray[Any], n_runs: int) -> None:
        super().__init__(x.size)
        self.watch: Watch | None = None
        self._x, self._n_runs = x, n_runs

    @property
    def x(self) -> NDArray[Any]:
        """Amplitudes (n, runs)."""
        self.catch_up()
        return self._x[:, : self._n_runs]

    def amplitudes(self) -> NDArray[Any]:
        """Return x."""
        return self.x

    def look(self) -> None:
        """Look once more, if there is a watch."""
        self.catch_up()
        if self.watch is not None:
            look(self.watch, self._x)
