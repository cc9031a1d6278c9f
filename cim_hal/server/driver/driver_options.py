"""Timeouts and restart policy of the driver process."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Backoff", "DriverOptions"]


@dataclass(frozen=True)
class Backoff:
    """Exponential back-off: each pause before a restart is twice the last one, up to a bound.

    Parameters
    ----------
    first_s, most_s : float
        The first pause and the longest, in seconds.
    broken_after : int
        Failed starts in a row after which jobs are refused instead of waiting.

    Examples
    --------
    >>> [Backoff(0.1, 0.5).pause_s(failures) for failures in range(1, 6)]
    [0.1, 0.2, 0.4, 0.5, 0.5]
    """

    first_s: float = 0.1
    most_s: float = 30.0
    broken_after: int = 5

    def pause_s(self, failures: int) -> float:
        """Return the pause after this many failures in a row, in seconds."""
        return min(self.first_s * 2.0 ** min(failures - 1, 60), self.most_s)


@dataclass(frozen=True)
class DriverOptions:
    """Limits beyond which the process of a driver is ended; times in seconds.

    Parameters
    ----------
    start_s : float
        From the start of the process until the driver has described itself.
    hang_s : float
        Without a heartbeat, which shows that Python runs in the process.
    grace_s : float
        From the request to stop a call until the call ends.
    run_s : float or None
        Length of a run; None for `max_run_s` of the capabilities.
    calibrate_s : float
        Length of a calibration.
    memory_bytes : int or None
        Resident memory of the process; None for no limit. Linux only.
    backoff : Backoff
    """

    start_s: float = 120.0
    hang_s: float = 30.0
    grace_s: float = 5.0
    run_s: float | None = None
    calibrate_s: float = 3600.0
    memory_bytes: int | None = None
    backoff: Backoff = Backoff()
