"""The verdict on one check, the report on a machine, and how a check ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["CheckFailed", "Level", "NotApplicable", "Outcome", "Report", "Verdict", "require"]

Level: TypeAlias = Literal["basic", "sampling", "reproducible", "timing", "extras"]
Outcome: TypeAlias = Literal["passed", "failed", "skipped"]


class CheckFailed(Exception):  # noqa: N818  a finding, not an error of this program
    """The machine breaks its promise; the message says how."""


class NotApplicable(Exception):  # noqa: N818
    """The check does not apply to this machine; the message says why."""


def require(holds: bool, said: str) -> None:  # noqa: FBT001  reads as an assertion
    """Raise `CheckFailed` with the observation `said`, unless the promise `holds`."""
    if not holds:
        raise CheckFailed(said)


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check.

    Attributes
    ----------
    name, level, promise
        As of the check.
    outcome : Outcome
    said : str
        What was observed, what is wrong, or why the check was skipped.
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
        Name of the machine.
    seed : int
    verdicts : tuple of Verdict
    """

    device: str
    seed: int
    verdicts: tuple[Verdict, ...]

    @property
    def conforms(self) -> bool:
        """Whether no check failed, and at least one passed."""
        return self.count("failed") == 0 and self.count("passed") > 0

    def count(self, outcome: Outcome) -> int:
        """Return the number of checks with this outcome."""
        return sum(verdict.outcome == outcome for verdict in self.verdicts)
