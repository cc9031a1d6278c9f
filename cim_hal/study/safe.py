"""The safe operating region: points at which success is shown to be enough, all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cim_hal.study.plan import level_text, named_levels
from cim_hal.study.verdicts import holm
from cim_hal.text import counted

if TYPE_CHECKING:
    from cim_hal.study.plan import Level

__all__ = ["safe_places", "said_of_region"]


def safe_places(
    lows: Sequence[Callable[[float], float]], at_least: float, confidence: float
) -> list[int]:
    """Return the places of the points that are safe, by Holm's procedure.

    `lows` take a confidence level and return the low end of an interval of success. That any point
    is called safe which is not has at most the probability 1 - `confidence`.
    """
    # intervals may have all of their error on one side
    tests = [lambda rate, low=low: low(1 - rate) >= at_least for low in lows]
    return [k for k, is_safe in enumerate(holm(tests, 1 - confidence)) if is_safe]


def said_of_region(
    points: Sequence[dict[str, Level]],
    safe: Sequence[int],
    at_least: float,
    confidence: float,
    figure: str,
) -> dict[str, Any]:
    """Return what ``summary.json`` says of the region."""
    inside = [points[k] for k in safe]
    what = f"{figure} is at least {at_least:g}, with {100 * confidence:g} % for all together"
    where = f": {'; '.join(_rows(inside))}" if inside else ""
    return {
        "at_least": at_least,
        "confidence": confidence,
        "points": inside,
        "verdict": f"{what}, at {len(inside)} of {counted(len(points), 'point')}{where}",
    }


def _rows(inside: Sequence[dict[str, Level]]) -> list[str]:
    """Return the levels of the first factor, for each combination of the others."""
    found: dict[tuple[str, str], list[str]] = {}
    for point in inside:
        (first, level), *others = point.items()
        at = ", ".join(named_levels(others))
        found.setdefault((first, at), []).append(level_text(level))
    return [
        f"{first} = {', '.join(levels)}" + (f" at {at}" if at else "")
        for (first, at), levels in found.items()
    ]
