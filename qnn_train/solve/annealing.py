"""What changes from sweep to sweep of a descent."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Annealing"]


@dataclass(frozen=True, kw_only=True)
class Annealing:
    """What changes from sweep to sweep, from a first to a last value in equal ratios.

    Parameters
    ----------
    sweeps : int
        Visits of every block; from the last of them on, the last values are kept.
    batch : tuple of int
        Images in a step, all of them where there are no more. Few images are what temperature is
        elsewhere: the best samples for them are not the best for all.
    width : tuple of float
        Of the smeared slopes, in units of the spread of a layer's sums.
    restarts : bool
        Whether after `sweeps` all begins again, from another random network.
    """

    sweeps: int = 24
    batch: tuple[int, int] = (1000, 20_000)
    width: tuple[float, float] = (1.0, 0.25)
    restarts: bool = False

    def at(self, sweep: int) -> tuple[int, float]:
        """Return batch and width of a sweep, the first of which is 0."""
        sweep = sweep % self.sweeps if self.restarts else sweep
        done = min(1.0, sweep / max(1, self.sweeps - 1))
        batch, width = (a ** (1 - done) * b**done for a, b in (self.batch, self.width))
        return round(batch), width

    def halves(self) -> tuple[Annealing, Annealing]:
        """Return two that follow on each other and together are this one."""
        middle, width = self.at(self.sweeps // 2)
        first = replace(
            self,
            sweeps=self.sweeps // 2,
            batch=(self.batch[0], middle),
            width=(self.width[0], width),
        )
        second = replace(
            self,
            sweeps=self.sweeps - first.sweeps,
            batch=(middle, self.batch[1]),
            width=(width, self.width[1]),
        )
        return first, second

    def begins(self, sweep: int) -> bool:
        """Tell whether a sweep starts from a new random network."""
        return sweep == 0 or (self.restarts and sweep % self.sweeps == 0)
