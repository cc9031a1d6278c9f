"""The state of a driver process, as its supervisor reports it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DriverPhase", "DriverState", "Supervised"]


class DriverPhase(StrEnum):
    """Phase of a driver process."""

    READY = "ready"
    STARTING = "starting"
    BROKEN = "broken"


class DriverState(BaseModel):
    """State of a driver process.

    Attributes
    ----------
    phase : DriverPhase
        ``ready``; ``starting`` after a crash, when jobs wait; ``broken`` after several failed
        starts, when jobs are refused and the start is tried again from time to time.
    restarts : int
        Number of restarts.
    fault : str
        Why it last ended; empty if it never has.
    retry_after_s : float
        Seconds from this report to the next start of a broken driver.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: Annotated[DriverPhase, Field(strict=False)] = DriverPhase.READY
    restarts: Annotated[int, Field(ge=0)] = 0
    fault: Annotated[str, Field(max_length=2000)] = ""
    retry_after_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


@runtime_checkable
class Supervised(Protocol):
    """A driver whose process is supervised and restarted."""

    def subscribe(self, tell: Callable[[DriverState], None]) -> None:
        """Call `tell`, from any thread, with the present state and at each change."""
        ...
