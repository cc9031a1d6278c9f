"""How the process of a driver is: there, about to be, or given up for now."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DriverPhase", "DriverState", "Supervised"]


class DriverPhase(StrEnum):
    """Where a driver is."""

    READY = "ready"
    STARTING = "starting"
    BROKEN = "broken"


class DriverState(BaseModel):
    """How a driver is.

    Attributes
    ----------
    phase : DriverPhase
        ``ready``; ``starting`` after a crash, while jobs wait; ``broken`` after several starts
        that failed, while jobs are refused and it is tried again now and then.
    restarts : int
        How often it was started anew.
    fault : str
        Why it ended the last time; empty where it never did.
    retry_after_s : float
        Seconds to the next start of one that is broken, from the moment of this report.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: Annotated[DriverPhase, Field(strict=False)] = DriverPhase.READY
    restarts: Annotated[int, Field(ge=0)] = 0
    fault: Annotated[str, Field(max_length=2000)] = ""
    retry_after_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


@runtime_checkable
class Supervised(Protocol):
    """A driver that somebody restarts."""

    def subscribe(self, tell: Callable[[DriverState], None]) -> None:
        """Call `tell`, from any thread, with the condition now and at each change."""
        ...
