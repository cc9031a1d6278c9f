"""Figures of points, and cliffs: levels of a factor at which a figure crosses a threshold."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.study.figures import FIGURES
from cim_hal.study.job_factors import OPTION, WHOLE_JOB_FACTORS
from cim_hal.study.plan import named_levels
from cim_hal.study.rows import key_of
from cim_hal.study.shares import Interval, mean_of, repeats
from cim_hal.text import counted

if TYPE_CHECKING:
    from cim_hal.study.figures import Figure
    from cim_hal.study.plan import Cliff, Level, Point, Study
    from cim_hal.study.rows import Row
    from cim_hal.study.sweep import Sweep

__all__ = [
    "Crossing",
    "cliff_of",
    "figure_at",
    "find_cliff",
    "find_cliffs",
    "next_level",
    "others_of",
    "places_of",
    "takes_whole",
]


# Quantities of a job of which the mean over models is a figure; None where a job has none.
MEANS: Mapping[str, Callable[[Row], float | None]] = MappingProxyType(
    {
        "energy_gap": lambda row: row.gap,
        "infeasibility": lambda row: row.infeasibility,
        "calls": lambda row: row.calls,
    }
)


def figure_at(sweep: Sweep, point: Point, rows: dict[str, Row], name: str) -> Interval | None:
    """Return a figure of a point with its interval; None where a model, or training, has none.

    The gap has none where the target of a model is about 0: there is nothing to compare with.
    """
    if name in MEANS:
        return _mean(sweep, point, rows, MEANS[name])
    share = sweep.share(point, rows).of_family
    return repeats(share) if name == "r99" else share


def _mean(
    sweep: Sweep, point: Point, rows: dict[str, Row], value_of: Callable[[Row], float | None]
) -> Interval | None:
    """Return the mean over models, and machines where they are drawn, of the means of their jobs.

    It is in one order whatever that of the rows: sums of floating-point numbers depend on it.
    """
    places, instances = sweep.on_machines(point), sweep.instances_at(point)
    means = np.empty((len(instances), len(places)))
    for i, instance in enumerate(instances):
        for k, place in enumerate(places):
            values = [value_of(row) for row in _jobs(rows, place, instance.name)]
            known = [value for value in values if value is not None]
            if not values or len(known) < len(values):
                return None
            means[i, k] = np.mean(known)
    return mean_of(means[:, 0] if len(places) == 1 else means)


def _jobs(rows: dict[str, Row], point: Point, model: str) -> Iterator[Row]:
    batch = 0
    while row := rows.get(key_of(point, model, batch)):
        yield row
        batch += 1


# ---- cliffs ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crossing:
    """Where a figure crosses a threshold: between two levels, the interval of the crossing."""

    inside: tuple[float, float]  # neighbouring levels whose estimates lie on either side
    low: float
    high: float
    is_enough_below: bool  # whether the figure is enough at the lower of the neighbours


def cliff_of(
    levels: dict[float, Interval], threshold: float, enough: str = "above"
) -> Crossing | None:
    """Return where the figure at these levels crosses the threshold; None where it does not.

    Of several crossings it is the one that fewest levels contradict, the lowest of these. A figure
    that is at the threshold is enough.

    The interval is for a figure that crosses once, and has 95 % at any number of levels: tests in
    a fixed order, here from either end inwards until one does not reject, need no correction. Its
    ends are the last levels up to which each is surely on its side.
    """
    at = sorted(levels)
    values = [levels[level].value for level in at]
    sides = [v >= threshold if enough == "above" else v <= threshold for v in values]
    crossing = _least_contradicted(sides)
    if crossing is None:
        return None
    sure = [
        None if _holds(levels[level], threshold) else side
        for level, side in zip(at, sides, strict=True)
    ]
    n_low = _n_surely(sure, on=sides[crossing])
    n_high = _n_surely(sure[::-1], on=sides[crossing + 1])
    low = at[n_low - 1] if n_low else -math.inf
    high = at[-n_high] if n_high else math.inf
    return Crossing((at[crossing], at[crossing + 1]), low, high, sides[crossing])


def _least_contradicted(sides: Sequence[bool]) -> int | None:
    """Return the level before the crossing that fewest levels contradict, if there is one."""

    def contradicted(k: int) -> int:
        return sides[: k + 1].count(not sides[k]) + sides[k + 1 :].count(sides[k])

    crossings = [k for k in range(len(sides) - 1) if sides[k] != sides[k + 1]]
    return min(crossings, key=contradicted, default=None)


def _n_surely(sure: Sequence[bool | None], *, on: bool) -> int:
    """Return how many of the first levels are surely on a side, before one that is not."""
    return next((n for n, side in enumerate(sure) if side is not on), len(sure))


def takes_whole(sweep: Sweep, name: str) -> bool:
    """Return whether the levels of a factor are whole numbers.

    Fields of a recipe and options of a driver take them if the levels of the file are whole.
    """
    if name.startswith(OPTION) or name in sweep.of_recipe:
        return all(isinstance(level, int) for level in sweep.study.numbers(name))
    whole = [setting.name for setting in sweep.capabilities.settings if setting.integer]
    return name in (*WHOLE_JOB_FACTORS, *whole)


def next_level(
    found: Crossing, cliff: Cliff, levels: Sequence[float], *, is_whole: bool
) -> float | None:
    """Return the level to measure next, the middle of the bracket.

    None where the bracket is fine enough, or no level lies between its ends.
    """
    low, high = found.inside
    finest = cliff.resolution or (1.0 if is_whole else 0.01 * (max(levels) - min(levels)))
    if high - low <= finest:
        return None
    middle = low + 0.5 * (high - low)
    middle = math.floor(middle) if is_whole else middle
    return middle if low < middle < high else None


def places_of(study: Study, cliff: Cliff) -> list[Point]:
    """Return the combinations of other factors at which a cliff is sought.

    They are those at which the study file has two levels of its factor or more: what other cliffs
    add lies at levels that came by chance.
    """
    counts = Counter(others_of(dict(point), cliff.factor) for point in study.points())
    return [others for others, count in counts.items() if count > 1]


def find_cliffs(study: Study, points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what ``summary.json`` says of each cliff at each of its places."""
    return [
        find_cliff(cliff, others, points, study.figure_of(cliff))
        for cliff in study.cliff
        for others in places_of(study, cliff)
    ]


def find_cliff(
    cliff: Cliff, others: Point, points: Sequence[dict[str, Any]], name: str
) -> dict[str, Any]:
    """Return what ``summary.json`` says of a cliff at one combination of the other factors.

    `name` is that of its figure.
    """
    figure, levels = FIGURES[name], dict[float, Interval]()
    here = [point for point in points if others_of(point["factors"], cliff.factor) == others]
    for point in here:
        value, low, high = (point[key] for key in figure.keys)
        if value is not None:
            levels[point["factors"][cliff.factor]] = Interval(value, low, high)
    found = cliff_of(levels, cliff.threshold, figure.enough)
    said = {"factor": cliff.factor, "figure": name, "threshold": cliff.threshold}
    said |= {"at": dict(others), "n_levels": len(levels)}
    n_unknown = len(here) - len(levels)
    unknown = f"not known at {n_unknown} of {counted(len(here), 'level')}" if n_unknown else ""
    what = f"{', '.join([cliff.factor, *named_levels(others)])}: {figure.title}"
    said["verdict"] = f"{what} {_said_of_cliff(cliff, found, figure, unknown)}"
    if found is None:
        return said | dict.fromkeys(("level", "low", "high", "fails"))
    ends = {"level": sum(found.inside) / 2, "low": found.low, "high": found.high}
    return said | ends | {"fails": "above" if found.is_enough_below else "below"}


def _said_of_cliff(cliff: Cliff, found: Crossing | None, figure: Figure, unknown: str) -> str:
    """Return where a figure crosses its threshold, and how from low levels to high ones."""
    threshold = f"{cliff.threshold:g}"
    if found is None:
        return f"is {unknown}" if unknown else f"crosses {threshold} nowhere between the levels"
    how = "falls below" if found.is_enough_below == (figure.enough == "above") else "rises above"
    low = "no lower bound" if found.low == -math.inf else f"from {found.low:.4g}"
    high = "no upper bound" if found.high == math.inf else f"to {found.high:.4g}"
    inside = "between {:.4g} and {:.4g}".format(*found.inside)
    reached = _reached(cliff, *found.inside)
    said = f"{how} {threshold} {inside}{reached}; 95 %: {low}, {high}"
    return f"{said}; {unknown}" if unknown else said


def _reached(cliff: Cliff, low: float, high: float) -> str:
    """Return what to say where no level is as fine as the resolution that was asked for."""
    if cliff.resolution is None or high - low <= cliff.resolution:
        return ""
    return f", to {high - low:.3g} and not {cliff.resolution:g}: no level lies between"


def _holds(interval: Interval, threshold: float) -> bool:
    return interval.low <= threshold <= interval.high


def others_of(factors: dict[str, Level], name: str) -> Point:
    """Return the levels of all factors but one."""
    return tuple((factor, level) for factor, level in factors.items() if factor != name)
