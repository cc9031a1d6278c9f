"""Settings that suit each level: a curve at one setting for all is also that of the mismatch.

A factor may look as if it mattered because another setting stays where it suits another level: an
ADC of 2 bits fails at the full scale of 8. Such settings, nuisance parameters, are chosen anew at
each point, on models that are kept apart from those of the figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.study.plan import level_text, named_levels
from cim_hal.study.rows import by_point
from cim_hal.study.shares import repeats
from cim_hal.study.verdicts import references_of, verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cim_hal.study.plan import Level, Point
    from cim_hal.study.rows import Row, RowFile
    from cim_hal.study.sweep import Sweep

__all__ = ["retune", "retuned_summary"]


def retune(
    machines: Sweep,
    rows: RowFile,
    points: Sequence[Point],
    report: Callable[[Row, int, int], None],
) -> dict[Point, Point]:
    """Measure each point where its nuisance parameters suit it; return where that is.

    Of all combinations of their levels it is the one with the most successes on the models that are
    kept apart, of equal ones that with the least mean energy gap.
    """
    nuisance = machines.study.nuisance
    if nuisance is None:
        return {}
    tried = {point: [(*point, *choice) for choice in nuisance.choices()] for point in points}
    machines.try_out(rows, [one for choices in tried.values() for one in choices], report)
    apart = {instance.name for instance in machines.apart}
    of_point = by_point(row for row in rows.rows.values() if row.model in apart)
    best = {
        point: min(choices, key=lambda one: _failure(of_point[one]))
        for point, choices in tried.items()
    }
    machines.run(rows, best.values(), report)
    return best


def retuned_summary(
    machines: Sweep, rows: dict[str, Row], best: dict[Point, Point], fixed: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return the figures of the curve that was tuned anew, and where it tells another story."""
    study = machines.study
    if study.nuisance is None:
        return {}
    apart = {instance.name for instance in machines.apart}
    of_point = by_point(row for row in rows.values() if row.model not in apart)
    chosen = [row for point in dict.fromkeys(best.values()) for row in of_point[point]]
    found = verdicts(chosen, references_of(study.factors, machines.capabilities))
    points = [_point(machines, rows, *pair) for pair in best.items()]
    return {
        "points": points,
        "verdicts": found,
        "runs_to_tune": sum(row.runs for row in rows.values() if row.model in apart),
        "warnings": _warnings(fixed, found, points),
    }


def _failure(rows: Sequence[Row]) -> tuple[float, float]:
    """Return how far runs fail: by successes, then by energies."""
    above = [row.energy_mean - row.target if row.gap is None else row.gap for row in rows]
    return -float(sum(row.successes for row in rows)), float(np.mean(above))


def _point(machines: Sweep, rows: dict[str, Row], point: Point, tuned: Point) -> dict[str, Any]:
    share = machines.share(tuned, rows)
    r99 = repeats(share.of_family)
    return {
        "factors": dict(point),
        "nuisance": {name: level for name, level in tuned if name not in dict(point)},
        "success_probability": share.of_family.value,
        "low": share.of_family.low,
        "high": share.of_family.high,
        "r99": r99.value,
        "r99_low": r99.low,
        "r99_high": r99.high,
    }


def _warnings(
    fixed: Sequence[dict[str, Any]],
    tuned: Sequence[dict[str, Any]],
    points: Sequence[dict[str, Any]],
) -> list[str]:
    """Return a sentence for each level whose loss is gone where other settings suit it."""
    left = {_place(found): found for found in tuned}
    return [
        f"{', '.join(named_levels(_place(found)))}: the loss of "
        f"{100 * found['lost']:.1f} points {_blame(found, left[key])} the factor's: with "
        f"{_chosen(points, dict(key))} it is "
        f"{100 * left[key]['lost']:.1f} "
        f"[{100 * left[key]['low']:.1f}, {100 * left[key]['high']:.1f}]"
        for found in fixed
        if found["degrades"] and (key := _place(found)) in left and not left[key]["degrades"]
    ]


def _place(found: dict[str, Any]) -> Point:
    """Return the level of which a verdict is, and the kind of models where that is a factor."""
    return ((found["factor"], found["level"]), *found["at"].items())


def _blame(fixed: dict[str, Any], tuned: dict[str, Any]) -> str:
    if tuned["equal"] or tuned["improves"]:
        return "is not"
    return "is not all" if tuned["high"] < fixed["low"] else "may not be"


def _chosen(points: Sequence[dict[str, Any]], at: dict[str, Level]) -> str:
    """Return the settings that were chosen at a level, at any levels of the other factors."""
    here = [point["nuisance"] for point in points if at.items() <= point["factors"].items()]
    chosen = {name: dict.fromkeys(level_text(each[name]) for each in here) for name in here[0]}
    return ", ".join(f"{name} = {' or '.join(levels)}" for name, levels in chosen.items())
