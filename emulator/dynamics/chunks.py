"""Blocks that make their round trips in chunks, each in one call of compiled code.

A call takes 10 microseconds, as long as a round trip of 100 spins, and holds the interpreter's
lock, for which other threads wait.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from emulator.dynamics.base import Block
from emulator.dynamics.energy_tracking import track

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.dynamics.energy_tracking import EnergyTracker

__all__ = ["ChunkedBlock", "TrackedBlock"]

# A chunk is as many round trips as make this many spin-updates, within bounds: 81 of 100 spins
# and 64 runs.
CHUNK_UPDATES = 2**19
SHORTEST_CHUNK, LONGEST_CHUNK = 16, 128


class ChunkedBlock(Block):
    """A block that collects pump rates until it is read or a chunk is full.

    Parameters
    ----------
    size : int
        Spins times runs.
    """

    def __init__(self, size: int) -> None:
        self._ahead: list[float] = []
        self._longest = min(max(SHORTEST_CHUNK, CHUNK_UPDATES // size), LONGEST_CHUNK)

    def advance(self, pump: float) -> None:
        """Schedule one round trip."""
        self._ahead.append(pump)
        if len(self._ahead) == self._longest:
            self.catch_up()

    def catch_up(self) -> None:
        """Make the scheduled round trips."""
        if self._ahead:
            pumps = np.array(self._ahead)
            self._ahead.clear()
            self._advance_through(pumps)

    @abstractmethod
    def _advance_through(self, pumps: NDArray[np.float64]) -> None:
        """Make a round trip at each of the pump rates."""


class TrackedBlock(ChunkedBlock):
    """A block whose kernel tracks its energies.

    Parameters
    ----------
    x : array, shape (n, at least runs)
        Amplitudes, changed by `_advance_through`, which calls `track_after` after each round trip.
    n_runs : int

    Attributes
    ----------
    tracker : EnergyTracker or None
        Tracks energies from now on.
    """

    def __init__(self, x: NDArray[Any], n_runs: int) -> None:
        super().__init__(x.size)
        self.tracker: EnergyTracker | None = None
        self._x, self._n_runs = x, n_runs

    @property
    def x(self) -> NDArray[Any]:
        """Amplitudes (n, runs)."""
        self.catch_up()
        return self._x[:, : self._n_runs]

    def amplitudes(self) -> NDArray[Any]:
        """Return x."""
        return self.x

    def track(self) -> None:
        """Track the current energies, if there is a tracker."""
        self.catch_up()
        if self.tracker is not None:
            track(self.tracker, self._x)
