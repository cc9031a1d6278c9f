"""What trainings have to beat: another method, such as random networks, at as many calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.study.job_factors import METHOD
from cim_hal.study.plan import named_levels
from cim_hal.study.verdicts import Difference, decide, undecided, variance_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cim_hal.study.plan import Point
    from cim_hal.study.rows import Row, RowFile
    from cim_hal.study.sweep import Sweep

__all__ = ["control_summary", "controls_of", "measure_control"]


def _control_of(machines: Sweep, point: Point) -> Point:
    """Return the point of the control: no machine is asked, so what belongs to it is left out."""
    train = machines.study.train
    control = train.control if train else None
    if control is None:
        return ()
    kept = [item for item in point if item[0] in machines.of_recipe]
    return ((METHOD, control), *kept)


def controls_of(machines: Sweep, points: Sequence[Point]) -> list[Point]:
    """Return the points of controls: one wherever the recipes differ."""
    return [one for one in dict.fromkeys(_control_of(machines, point) for point in points) if one]


def measure_control(
    machines: Sweep,
    rows: RowFile,
    points: Sequence[Point],
    report: Callable[[Row, int, int], None],
) -> None:
    """Train by the control wherever the recipes differ, with the seeds of the trainings."""
    machines.run(rows, controls_of(machines, points), report)


def control_summary(
    machines: Sweep, rows: dict[str, Row], points: Sequence[Point], *, error_rate: float = 0.05
) -> list[dict[str, Any]]:
    """Compare each point with its control, paired by training; with Holm's correction.

    `better` and `worse` are the sides of one test, as in `verdicts`.
    """
    if not any(_control_of(machines, point) for point in points):
        return []
    found = [_compared(machines, rows, point) for point in points]
    decide(found, dict.fromkeys(("better", "worse"), error_rate / 2))
    return [each | {"verdict": _sentence(each)} for each in found]


def _compared(machines: Sweep, rows: dict[str, Row], point: Point) -> dict[str, Any]:
    control = _control_of(machines, point)
    share = machines.share(control, rows).of_family
    ours, theirs = (machines.counts(one, rows) for one in (point, control))
    gained = ours[0] / ours[1] - theirs[0] / theirs[1]
    of_runs = variance_of(*ours) + variance_of(*theirs)
    least = float(np.sqrt(of_runs.sum())) / len(gained)
    difference = Difference.of(gained, least, ours, theirs)
    low, high = difference.ends(0.95)
    return {
        "factors": dict(point),
        "control": dict(control),
        "accuracy": share.value,
        "low": share.low,
        "high": share.high,
        "gained": difference.mean,
        "gained_low": low,
        "gained_high": high,
        "better": difference.is_above(0.0),
        "worse": difference.is_below(0.0),
    }


def _sentence(found: dict[str, Any]) -> str:
    at = ", ".join(named_levels(found["factors"].items()))
    gained, low, high = (100 * found[name] for name in ("gained", "gained_low", "gained_high"))
    unknown = undecided(is_clear=not low <= 0 <= high)
    kind = "better" if found["better"] else "worse" if found["worse"] else unknown
    control = found["control"][METHOD]
    return (
        f"{at}: {kind} against the control {control}, {gained:.1f} points [{low:.1f}, {high:.1f}]"
    )
