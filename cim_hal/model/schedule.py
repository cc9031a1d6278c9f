"""The pump schedule of a run, and which amplitudes to record during it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from cim_hal.errors import ModelError, ScheduleError
from cim_hal.model.conversion import real_array, real_number, whole_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MAX_TRACE_BYTES", "PumpSchedule", "TraceRequest"]

MAX_ROUND_TRIPS = 10_000_000
MAX_KNOTS = 1024
# Amplitudes of one job's trace; the same for every machine.
MAX_TRACE_BYTES = 64 * 1024**2


@dataclass(frozen=True)
class PumpSchedule:
    """Pump rate of a run, linear between equally spaced knots.

    Parameters
    ----------
    pump : tuple of float
        Pump rate at the knots, the first and the last round trip included, in units of the
        oscillation threshold (p = 1).
    round_trips : int
        Length of a run, in round trips of the cavity.

    Raises
    ------
    ScheduleError
        No knot, a value that is no number, negative or infinite, or less than one round trip.

    Examples
    --------
    >>> PumpSchedule.linear(0.0, 2.0, round_trips=5).sample()
    array([0. , 0.5, 1. , 1.5, 2. ])
    """

    pump: tuple[float, ...]
    round_trips: int

    def __post_init__(self) -> None:
        knots = real_array("pump", self.pump, ScheduleError)
        round_trips = whole_number("round_trips", self.round_trips, ScheduleError)
        if knots.ndim != 1:
            raise ScheduleError(f"pump has the shape {knots.shape}", hint="pass a list of numbers")
        object.__setattr__(self, "pump", tuple(knots.tolist()))
        object.__setattr__(self, "round_trips", round_trips)
        if not 1 <= len(self.pump) <= MAX_KNOTS:
            raise ScheduleError(
                f"the schedule has {len(self.pump)} knots", hint=f"between 1 and {MAX_KNOTS}"
            )
        for at, value in enumerate(self.pump):
            if not (np.isfinite(value) and value >= 0):
                raise ScheduleError(f"pump[{at}] = {value}", hint="must be finite and at least 0")
        if not 1 <= self.round_trips <= MAX_ROUND_TRIPS:
            raise ScheduleError(
                f"round_trips = {self.round_trips}", hint=f"between 1 and {MAX_ROUND_TRIPS}"
            )

    @classmethod
    def constant(cls, pump: float, *, round_trips: int) -> Self:
        """Return a schedule of constant pump rate."""
        return cls((pump,), round_trips)

    @classmethod
    def linear(cls, start: float, stop: float, *, round_trips: int) -> Self:
        """Return a linear ramp from `start` to `stop` thresholds."""
        ends = real_number("start", start, ScheduleError), real_number("stop", stop, ScheduleError)
        return cls(ends, round_trips)

    @classmethod
    def through(cls, pump: Sequence[float], *, round_trips: int) -> Self:
        """Return a schedule through equally spaced knots."""
        return cls(pump, round_trips)  # pyright: ignore[reportArgumentType]  a tuple afterwards

    def stretched(self, round_trips: int) -> Self:
        """Return the same shape over another number of round trips."""
        return type(self)(self.pump, round_trips)

    def sample(self) -> NDArray[np.float64]:
        """Return the pump rate of every round trip, float64, shape (round_trips,)."""
        at = np.linspace(0.0, len(self.pump) - 1.0, self.round_trips)
        return np.interp(at, np.arange(len(self.pump)), self.pump)


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
        One of them is less than 1, or no integer.

    Examples
    --------
    >>> TraceRequest(every=4, runs=1).frames(10)
    array([ 4,  8, 10])
    """

    every: int
    runs: int = 1

    def __post_init__(self) -> None:
        for name in ("every", "runs"):
            count = whole_number(f"trace.{name}", getattr(self, name), ModelError, 1)
            object.__setattr__(self, name, count)

    def n_frames(self, round_trips: int) -> int:
        """Return the number of frames of a run."""
        return -(-whole_number("round_trips", round_trips, ModelError) // self.every)

    def frames(self, round_trips: int) -> NDArray[np.int64]:
        """Return the round trips after which frames are taken, int64, shape (k,)."""
        return np.minimum(np.arange(1, self.n_frames(round_trips) + 1) * self.every, round_trips)

    def n_bytes(self, round_trips: int, n_runs: int, n_spins: int) -> int:
        """Return the size of the amplitudes, 4 bytes each."""
        n_runs = min(self.runs, whole_number("n_runs", n_runs, ModelError))
        n_spins = whole_number("n_spins", n_spins, ModelError)
        return 4 * self.n_frames(round_trips) * n_runs * n_spins
