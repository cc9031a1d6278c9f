"""The verdict on one check, the report on a machine, and how a check ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["CheckFailed", "Level", "NotApplicable", "Outcome", "Report", "Verdict", "require"]

Level: TypeAlias = Literal["basic", "sampling", "reproducible", "timing", "extras"]
Outcome: TypeAlias = Literal["passed", "failed", "skipped"]


class CheckFailed(Exception):  # noqa: N818  a finding, and no fault of this program
    """The machine is not what it says; the text says how."""


class NotApplicable(Exception):  # noqa: N818
    """There is nothing to check here; the text says why."""


def require(holds: bool, said: str) -> None:  # noqa: FBT001  reads as an assertion
    """Raise `CheckFailed` with what was seen, unless it `holds`."""
    if not holds:
        raise CheckFailed(said)


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
