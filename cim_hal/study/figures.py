"""The figures of a point that may cross a threshold."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from types import MappingProxyType
from typing import Literal, NamedTuple

__all__ = ["FIGURES", "Figure", "check_figure"]


class Figure(NamedTuple):
    """A figure of a point that may cross a threshold.

    Attributes
    ----------
    task : str
        Of the studies that have it.
    title : str
    keys : tuple of str
        Of its value and the ends of its interval, in ``summary.json``.
    enough : str
        On which side of the threshold it is enough: "above" or "below".
    range : tuple of float
        Of its thresholds: outside and at the ends of it nothing would be crossed.
    """

    task: str
    title: str
    keys: tuple[str, str, str]
    enough: Literal["above", "below"]
    range: tuple[float, float]


def _keys(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


_SHARE = ("success_probability", "low", "high")
FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "success_probability": Figure("sample", "success probability", _SHARE, "above", (0, 1)),
        "r99": Figure("sample", "R99", _keys("r99"), "below", (1, inf)),
        "energy_gap": Figure("sample", "energy gap", _keys("energy_gap"), "below", (0, inf)),
        "accuracy": Figure("train", "test accuracy", _SHARE, "above", (0, 1)),
        "infeasibility": Figure(
            "train", "infeasibility", _keys("infeasibility"), "below", (0, inf)
        ),
        "calls": Figure("train", "calls", _keys("calls"), "below", (0, inf)),
    }
)


def check_figure(name: str, task: str, threshold: float) -> None:
    """Refuse a figure that a task does not have, and a threshold that it cannot cross."""
    known = [each for each, figure in FIGURES.items() if figure.task == task]
    if name not in known:
        has = f"a study with task = {task!r} has {', '.join(known)}"
        raise ValueError(f"cliff.figure = {name!r}: {has}")
    low, high = FIGURES[name].range
    if not low < threshold < high:
        ends = f"above {low:g}" + (f" and below {high:g}" if high < inf else "")
        raise ValueError(f"cliff.threshold = {threshold:g}: one of {name} is {ends}")
