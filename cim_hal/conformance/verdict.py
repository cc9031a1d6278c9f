"""What a check is, and what may come of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from cim_hal.conformance.bench import Bench

__all__ = ["Broken", "Check", "Level", "NotApplicable", "Outcome", "Report", "Verdict", "require"]

Level: TypeAlias = Literal["basic", "sampling", "reproducible", "timing", "extras"]
Outcome: TypeAlias = Literal["passed", "failed", "skipped"]


class Broken(Exception):  # noqa: N818  a finding, and no fault of this program
    """The machine is not what it says; the text says how."""


class NotApplicable(Exception):  # noqa: N818
    """There is nothing to check here; the text says why."""


def require(holds: bool, said: str) -> None:  # noqa: FBT001  reads as an assertion
    """Raise `Broken` with what was seen, unless it `holds`."""
    if not holds:
        raise Broken(said)


@dataclass(frozen=True)
class Check:
    """One promise of a driver.

    Attributes
    ----------
    name : str
        Short, stable, with hyphens.
    level : Level
        What kind of promise it is.
    promise : str
        The promise, as a sentence.
    run : callable
        Keeps quiet, or returns a figure worth telling; raises `Broken` or `NotApplicable`.
    """

    name: str
    level: Level
    promise: str
    run: Callable[[Bench], str | None]


@dataclass(frozen=True)
class Verdict:
    """What came of a check.

    Attributes
    ----------
    name, level, promise
        Those of the check.
    outcome : Outcome
    said : str
        What was seen: a figure, what is wrong, or why it was skipped.
    seconds : float
    """

    name: str
    level: Level
    promise: str
    outcome: Outcome
    said: str
    seconds: float


@dataclass(frozen=True)
class Report:
    """All verdicts on a machine.

    Attributes
    ----------
    device : str
        Name the machine gave itself.
    seed : int
    verdicts : tuple of Verdict
    """

    device: str
    seed: int
    verdicts: tuple[Verdict, ...]

    @property
    def conforms(self) -> bool:
        """Whether nothing failed, and something passed."""
        return self.count("failed") == 0 and self.count("passed") > 0

    def count(self, outcome: Outcome) -> int:
        """Return how many checks ended so."""
        return sum(verdict.outcome == outcome for verdict in self.verdicts)
