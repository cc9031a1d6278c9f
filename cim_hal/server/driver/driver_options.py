"""How patient a server is with the process of its driver."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Backoff", "DriverOptions"]


@dataclass(frozen=True)
class Backoff:
    """Pauses before starts that follow failures: twice as long each time, up to a bound.

    Parameters
    ----------
    first_s, most_s : float
    broken_after : int
        Starts in a row that may fail before jobs are refused and do not wait any more.

    Examples
    --------
    >>> [Backoff(0.1, 0.5).pause_s(failures) for failures in range(1, 6)]
    [0.1, 0.2, 0.4, 0.5, 0.5]
    """

    first_s: float = 0.1
    most_s: float = 30.0
    broken_after: int = 5

    def pause_s(self, failures: int) -> float:
        """Return the pause after so many failures in a row."""
        return min(self.first_s * 2.0 ** min(failures - 1, 60), self.most_s)


@dataclass(frozen=True)
class DriverOptions:
    """What a driver may take before its process is ended; seconds.

    Parameters
    ----------
    start_s : float
        From the start of the process until the driver has described itself.
    hang_s : float
        Without any sign that Python runs in the process.
    grace_s : float
        From the moment a call is to end early until it does.
    run_s : float or None
        A run; what the capabilities say (`max_run_s`) where it is None.
    calibrate_s : float
        A calibration.
    memory_bytes : int or None
        Memory of the process; no bound where it is None, or on systems other than Linux.
    backoff : Backoff
    """

    start_s: float = 120.0
    hang_s: float = 30.0
    grace_s: float = 5.0
    run_s: float | None = None
    calibrate_s: float = 3600.0
    memory_bytes: int | None = None
    backoff: Backoff = Backoff()
