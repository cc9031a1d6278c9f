"""Tasks of a study beside sampling: other packages bring them, as entry points."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cim_hal.errors import StudyError
from cim_hal.extras import FULL_INSTALL, offered

if TYPE_CHECKING:
    from cim_hal.client.session import Session

__all__ = ["GROUP", "TrainTask", "Trained", "train_task"]

GROUP = "cim_hal.study_tasks"


@dataclass(frozen=True)
class Trained:
    """A training on a machine, and how well it went.

    Attributes
    ----------
    correct, tested : int
        Test samples.
    objective : float
        Of the training, at its end.
    n_spins : int
        Of the problems that were sent to the machine.
    sha256 : str
        Of the network.
    infeasibility : float or None
        How far its constraints are violated, at its end.
    no_infeasibility : str
        Why there is none, empty where there is one.
    calls : int
        Oracle calls that it paid for.
    """

    correct: int
    tested: int
    objective: float
    n_spins: int
    sha256: str
    infeasibility: float | None
    no_infeasibility: str
    calls: int


class TrainTask(Protocol):
    """Training of a network, for studies with ``task = "train"``."""

    factors: Collection[str]  # levels of these go to `train`, of others to the machine

    def check(
        self,
        session: Session,
        options: Mapping[str, Any],
        levels: Mapping[str, Collection[Any]],
    ) -> None:
        """Raise a `StudyError` unless each training can begin on the machine, without a job."""
        ...

    def n_tested(self, options: Mapping[str, Any]) -> int:
        """Return on how many samples trainings of these options are tested."""
        ...

    def no_infeasibility(self, options: Mapping[str, Any]) -> str:
        """Return why trainings of these options have no constraints; empty where they have."""
        ...

    def train(
        self, session: Session, options: Mapping[str, Any], levels: Mapping[str, Any], seed: int
    ) -> Trained:
        """Train a network on a machine."""
        ...


def train_task() -> TrainTask:
    """Return what is installed for trainings; `StudyError` if there is nothing."""
    for point in offered(GROUP).select(name="train"):
        return point.load()
    raise StudyError("no package for trainings is installed", hint=FULL_INSTALL)
