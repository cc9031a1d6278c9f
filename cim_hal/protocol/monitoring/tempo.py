"""How much was done lately: jobs, runs and busy seconds in stretches of equal length."""

from __future__ import annotations

from dataclasses import dataclass

from cim_hal.protocol.wire.messages.status import Throughput

__all__ = ["BUCKET_S", "N_BUCKETS", "ThroughputCounter"]

BUCKET_S = 5.0
N_BUCKETS = 60


@dataclass
class _Bucket:
    jobs: int = 0
    runs: int = 0
    busy_s: float = 0.0


class ThroughputCounter:
    """The last `n_buckets` stretches of `bucket_s` seconds each, the running one included."""

    def __init__(self, *, bucket_s: float = BUCKET_S, n_buckets: int = N_BUCKETS) -> None:
        self._bucket_s = bucket_s
        self._n_buckets = n_buckets
        self._now: float | None = None
        self._buckets: dict[int, _Bucket] = {}

    def advance(self, now: float, *, is_busy: bool) -> float:
        """Let time pass, in which the machine was busy or not; return the busy seconds."""
        since, self._now = now if self._now is None else self._now, now
        last = int(now // self._bucket_s)
        if not is_busy and last in self._buckets:
            return 0.0  # as it is most often: this is called for every message
        # After a long pause of the server all that is kept is of the pause.
        oldest = last - self._n_buckets + 1
        for index in range(max(int(since // self._bucket_s), oldest), last + 1):
            bucket = self._buckets.setdefault(index, _Bucket())
            begin, end = index * self._bucket_s, (index + 1) * self._bucket_s
            bucket.busy_s += max(min(now, end) - max(since, begin), 0.0) if is_busy else 0.0
        while next(iter(self._buckets)) < oldest:
            del self._buckets[next(iter(self._buckets))]
        return max(now - since, 0.0) if is_busy else 0.0

    def job_ended(self, n_runs: int) -> None:
        """Count a job that ended, and the runs it did."""
        if self._buckets:
            bucket = self._buckets[next(reversed(self._buckets))]
            bucket.jobs += 1
            bucket.runs += n_runs

    def report(self) -> Throughput:
        """Return the stretches, oldest first."""
        buckets = self._buckets.values()
        return Throughput(
            bucket_s=self._bucket_s,
            jobs=tuple(bucket.jobs for bucket in buckets),
            runs=tuple(bucket.runs for bucket in buckets),
            busy_s=tuple(bucket.busy_s for bucket in buckets),
        )
