"""Traces: amplitudes of some runs at regular intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cim_hal.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.model.ising import IsingModel

__all__ = ["MAX_TRACE_BYTES", "Trace", "TraceRequest"]

# Amplitudes of one job's trace; the same for every machine.
MAX_TRACE_BYTES = 64 * 1024**2


@dataclass(frozen=True)
class TraceRequest:
    """Which amplitudes to record during a job.

    A frame is taken after round trips `every`, 2 `every`, … and after the last one.

    Parameters
    ----------
    every : int
        Round trips between two frames.
    runs : int
        Number of first runs to record, at most.

    Raises
    ------
    ModelError
        One of them is less than 1.

    Examples
    --------
    >>> TraceRequest(every=4, runs=1).frames(10)
    array([ 4,  8, 10])
    """

    every: int
    runs: int = 1

    def __post_init__(self) -> None:
        for name in ("every", "runs"):
            if getattr(self, name) < 1:
                raise ModelError(f"trace.{name} = {getattr(self, name)}", hint="at least 1")

    def n_frames(self, round_trips: int) -> int:
        """Return the number of frames of a run."""
        return -(-round_trips // self.every)

    def frames(self, round_trips: int) -> NDArray[np.int64]:
        """Return the round trips after which frames are taken, int64, shape (k,)."""
        return np.minimum(np.arange(1, self.n_frames(round_trips) + 1) * self.every, round_trips)

    def n_bytes(self, round_trips: int, n_runs: int, n_spins: int) -> int:
        """Return the size of the amplitudes, 4 bytes each."""
        return 4 * self.n_frames(round_trips) * min(self.runs, n_runs) * n_spins


@dataclass(frozen=True, eq=False)
class Trace:
    """Amplitudes during the first runs of a job.

    Runs are in the order of the job, not sorted by energy as in a `SampleSet`.

    Attributes
    ----------
    round_trips : int64 array, shape (k,)
        Round trip after which each frame was taken, increasing; the first round trip is 1.
    pump : float64 array, shape (k,)
        Pump rate of these round trips, in thresholds.
    amplitudes : float32 array, shape (k, runs, n)
        Analog in-phase amplitudes; their signs are the spins.
    """

    round_trips: NDArray[np.int64]
    pump: NDArray[np.float64]
    amplitudes: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.round_trips)

    @property
    def n_runs(self) -> int:
        """Number of recorded runs."""
        return self.amplitudes.shape[1]

    @property
    def spins(self) -> NDArray[np.int8]:
        """Spins (k, runs, n): the sign of the amplitudes, an exact zero counts as +1."""
        return np.where(self.amplitudes < 0, -1, 1).astype(np.int8)

    def energies(self, model: IsingModel) -> NDArray[np.float64]:
        """Return the energies of `model` at every frame, float64, shape (k, runs).

        Raises
        ------
        ModelError
            The model has another number of spins.
        """
        # frame by frame: all at once would take 8 bytes for each of the amplitudes
        return np.array([model.energy(np.where(x < 0, -1, 1)) for x in self.amplitudes])
