"""How long a job will take, from those the machine has done."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["JobSize", "RunTimeEstimator"]

MEMORY = 0.8  # of the rate known before, at each new job


@dataclass(frozen=True)
class JobSize:
    """What a job asks of a machine: spins of the machine, runs, and round trips of each."""

    n_spins: int
    n_runs: int
    round_trips: int


class RunTimeEstimator:
    """Device seconds of one round trip of one run, for machines and for emulators.

    Optical machines take the same time for any model, emulated ones more for larger models; so
    the rate is kept for each size, in powers of two of the spins.

    Examples
    --------
    >>> pace = RunTimeEstimator()
    >>> pace.learn(JobSize(n_spins=100, n_runs=10, round_trips=1000), 0.5)
    >>> pace.estimate(JobSize(n_spins=90, n_runs=4, round_trips=1000))
    0.2
    """

    def __init__(self) -> None:
        self._rates: dict[int, float] = {}

    def learn(self, work: JobSize, seconds: float) -> None:
        """Take what a job took of the machine."""
        size, rate = work.n_spins.bit_length(), seconds / (work.n_runs * work.round_trips)
        self._rates[size] = MEMORY * self._rates.get(size, rate) + (1 - MEMORY) * rate

    def estimate(self, work: JobSize) -> float | None:
        """Return the device seconds of a job, or None where the machine has done none yet.

        Of a size that was not there yet the nearest one tells, which may be far off.
        """
        if not self._rates:
            return None
        nearest = min(self._rates, key=lambda size: abs(size - work.n_spins.bit_length()))
        return self._rates[nearest] * work.n_runs * work.round_trips
