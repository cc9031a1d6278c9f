"""Random faults of whole messages; a seed does the same to the n-th message each time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from cim_hal.errors import ModelError

if TYPE_CHECKING:
    from collections import Counter

__all__ = ["DeliveredCopy", "FaultSampler", "MessageFaults"]


@dataclass(frozen=True, kw_only=True)
class MessageFaults:
    """Probabilities of faults of a message; they are independent.

    Attributes
    ----------
    drop : float
        The message is lost.
    duplicate : float
        It arrives twice; either copy may be delayed or reordered.
    delay : float
        It arrives `late_s` later, and later messages of its peer wait behind it.
    reorder : float
        It arrives `late_s` later, and later messages overtake it.
    late_s : float
        Seconds.

    Raises
    ------
    ModelError
        A probability outside 0 to 1, or a negative time.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    reorder: float = 0.0
    late_s: float = 0.05

    def __post_init__(self) -> None:
        for field in fields(self):
            value, is_time = getattr(self, field.name), field.name == "late_s"
            if not 0 <= value <= (np.inf if is_time else 1):
                rule = "it must be 0 or more" if is_time else "it must be between 0 and 1"
                raise ModelError(f"{field.name} = {value!r}", hint=rule)


@dataclass(frozen=True)
class DeliveredCopy:
    """A copy of a message: its delay, and whether later messages have to wait for it."""

    late_s: float
    keeps_place: bool


class FaultSampler:
    """Draws the faults of one message after another.

    Parameters
    ----------
    faults : MessageFaults
    seed : sequence of int
    counts : Counter
        Counts what was drawn.
    """

    def __init__(self, faults: MessageFaults, seed: list[int], counts: Counter[str]) -> None:
        self._faults = faults
        self._rng = np.random.default_rng(seed)
        self._counts = counts

    def draw(self) -> list[DeliveredCopy]:
        """Return the copies of the next message that arrive: none, one or two."""
        faults = self._faults
        # Always six numbers, so that one probability does not change what the others hit.
        drop, duplicate, *both = self._rng.random(6)
        self._counts["messages"] += 1
        if drop < faults.drop:
            self._counts["dropped"] += 1
            return []
        copies = [self._copy(*both[:2])]
        if duplicate < faults.duplicate:
            self._counts["duplicated"] += 1
            copies.append(self._copy(*both[2:]))
        return copies

    def _copy(self, delay: float, reorder: float) -> DeliveredCopy:
        if reorder < self._faults.reorder:
            self._counts["reordered"] += 1
            return DeliveredCopy(self._faults.late_s, keeps_place=False)
        if delay < self._faults.delay:
            self._counts["delayed"] += 1
            return DeliveredCopy(self._faults.late_s, keeps_place=True)
        return DeliveredCopy(0.0, keeps_place=True)
