"""The picture of a study: curves with bands, maps of two factors, the safe region."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.study.plan import ONE_AT_A_TIME, level_text
from cim_hal.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cim_hal.study.plan import Level

__all__ = ["MAX_LINES", "MAX_PANELS", "figure_of", "is_cut"]

# Okabe and Ito's colours, which colour-blind readers tell apart; markers and dashes say the same.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
MARKERS, DASHES = "osD^vPX", ("-", "--", "-.", ":")
INK, SUCCESS = "#26303c", "success probability"
MAX_LINES, MAX_PANELS, MAX_BANDS = 7, 6, 4
WIDE = 10  # from this ratio of levels on their axis is logarithmic


def figure_of(summary: dict[str, Any]) -> Figure:
    """Return the curves of a study, and maps: of two factors, or of the safe region of more."""
    from matplotlib.figure import Figure  # no pyplot: it would choose a window

    x, *others = _varied(summary["points"])
    summary, names = _none_last(summary, x)
    panels = _panels(summary, x, others)[:MAX_PANELS]
    maps = _maps(summary, others)[:MAX_PANELS]
    n = len(panels) + len(maps)
    rows, columns = -(-n // 2), min(n, 2)
    figure = Figure(figsize=(6.4 * columns, 4.8 * rows), dpi=120, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (factor, by, title, group) in zip(axes, panels, strict=False):
        _curves(axis, group, summary, factor, by, title)
        if names and factor == x:
            axis.set_xticks(list(names), list(names.values()))
    for axis, (title, group) in zip(axes[len(panels) :], maps, strict=False):
        _map(figure, axis, summary, group, x, others[0])
        _outline(axis, summary, group, x, others[0], title)
        if names:
            axis.set_xticks(range(len(names)), list(names.values()))
    for axis in axes[n:]:
        axis.set_axis_off()
    return figure


Panel = tuple[str, Sequence[str], str, list[dict[str, Any]]]  # factor, curves by, title, points


def _panels(summary: dict[str, Any], x: str, others: Sequence[str]) -> list[Panel]:
    """Return the panels of curves: of one factor over levels of the others, or of each alone."""
    points = summary["points"]
    if summary["design"] != ONE_AT_A_TIME:
        return [(x, others[:1], at, group) for at, group in _groups(points, others[1:])]
    base = points[0]["factors"]
    return [
        (factor, (), "", [p for p in points if _differs(p["factors"], base) <= {factor}])
        for factor in (x, *others)
    ]


def _differs(factors: dict[str, Any], base: dict[str, Any]) -> set[str]:
    return {name for name, level in factors.items() if level != base[name]}


def _maps(summary: dict[str, Any], others: Sequence[str]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the maps of two factors; of more there are some only where a region is to be seen."""
    is_drawn = len(others) == 1 or (len(others) > 1 and summary["safe"])
    if not is_drawn or summary["design"] == ONE_AT_A_TIME:
        return []
    return _groups(summary["points"], others[1:])


def is_cut(summary: dict[str, Any]) -> bool:
    """Return whether there are more panels, or more curves in them, than are drawn."""
    x, *others = _varied(summary["points"])
    panels, maps = _panels(summary, x, others), _maps(summary, others)
    lines = len(_groups(summary["points"], others[:1]))
    return max(len(panels), len(maps)) > MAX_PANELS or lines > MAX_LINES


def _varied(points: Sequence[dict[str, Any]]) -> list[str]:
    """Return the factors with more than one level, the first if there is none."""
    names = list(points[0]["factors"])
    return [n for n in names if len({p["factors"][n] for p in points}) > 1] or names[:1]


def _none_last(summary: dict[str, Any], x: str) -> tuple[dict[str, Any], dict[float, str]]:
    """Return the summary with 0 bits, an ideal converter, behind all others, and names of levels.

    There are no names where no level is 0 bits.
    """
    found = {point["factors"][x] for point in summary["points"]}
    if not x.endswith("bits") or 0 not in found:
        return summary, {}
    levels = sorted(found)
    none = levels[-1] + max(1, levels[-1] // 4)

    def of_point(factors: dict[str, Any]) -> dict[str, Any]:
        return factors | {x: factors[x] or none}

    def moved(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [point | {"factors": of_point(point["factors"])} for point in points]

    safe = summary["safe"] or {"points": []}
    drawn = {
        "points": moved(summary["points"]),
        "retuned": {"points": moved(summary["retuned"].get("points", []))},
        "safe": summary["safe"] and safe | {"points": list(map(of_point, safe["points"]))},
    }
    names = {level: f"{level:g}" for level in levels[1:]} | {none: "none"}
    return summary | drawn, names


def _limits(points: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Return the range of all that is drawn, a little wider, and zero if it is near."""
    low = min(min(p["low"], p.get("rounded", 1.0)) for p in points)
    high = max(max(p["high"], p.get("rounded", 0.0)) for p in points)
    margin = 0.1 * (high - low) + 0.01
    bottom = low - margin if low > 0.5 else -0.03 * high
    return bottom, min(high + margin, 1.03)


def _groups(
    points: Sequence[dict[str, Any]], names: Sequence[str]
) -> list[tuple[str, list[dict[str, Any]]]]:
    def at(point: dict[str, Any]) -> str:
        return ", ".join(f"{name} = {level_text(point['factors'][name])}" for name in names)

    ordered = sorted(points, key=lambda point: [_place(point["factors"][n]) for n in names])
    return [(name, list(group)) for name, group in itertools.groupby(ordered, key=at)]


def _levels(points: Sequence[dict[str, Any]], name: str) -> list[Level]:
    """Return the levels of a factor, in the order in which they are drawn."""
    return sorted({point["factors"][name] for point in points}, key=_place)


def _place(level: Level) -> Any:
    """Return what levels are sorted by: numbers in a text as numbers, so that 8 is before 16."""
    if not isinstance(level, str):
        return level
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", level)]


def _curves(  # noqa: PLR0917  what is drawn, and by what
    axis: Axes,
    points: list[dict[str, Any]],
    summary: dict[str, Any],
    x: str,
    by: Sequence[str],
    title: str,
) -> None:
    tuned = summary["retuned"].get("points", [])
    groups = _groups(points, by)[:MAX_LINES]
    for k, (label, group) in enumerate(groups):
        line = sorted(group, key=lambda point: _place(point["factors"][x]))
        levels = [point["factors"][x] for point in line]
        style: dict[str, Any] = {
            "color": COLOURS[k],
            "marker": MARKERS[k],
            "linestyle": DASHES[k % len(DASHES)],
        }
        values = [point["success_probability"] for point in line]
        axis.plot(levels, values, label=label or "machine", **style)
        low, high = ([point[end] for point in line] for end in ("low", "high"))
        alpha = 0.15 if len(groups) <= MAX_BANDS else 0.05  # more on one another are a grey wall
        axis.fill_between(levels, low, high, color=COLOURS[k], alpha=alpha, linewidth=0)
        _retuned_line(axis, line, tuned, x, COLOURS[k])
        has_own = not {"lowering", "model"}.isdisjoint(by)  # else the line is that of all curves
        if k == 0 or has_own:
            _rounded_line(axis, line, x, COLOURS[k] if has_own else INK, is_first=k == 0)
    axis.set(xlabel=x, title=title)
    levels = [level for p in points if not isinstance(level := p["factors"][x], str)]
    if levels and min(levels) > 0 and max(levels) >= WIDE * min(levels):
        axis.set_xscale("log")
    _control_line(axis, summary, points)
    _legend(axis)
    _labels(axis, summary)


def _legend(axis: Axes) -> None:
    """Put the legend below the axis and its name, where it covers no point."""
    from matplotlib.transforms import ScaledTranslation

    below = axis.transAxes + ScaledTranslation(0, -0.45, axis.figure.dpi_scale_trans)  # inches
    style = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "bbox_transform": below}
    axis.legend(fontsize=9, ncols=2, frameon=False, **style)


def _labels(axis: Axes, summary: dict[str, Any]) -> None:
    points, seeds = summary["points"], len(summary["machine_seeds"])
    what = "models" if summary["figure"] == SUCCESS else "trainings"
    machines = f" on {counted(seeds, 'machine')}" if seeds else ""
    numbers = [point["n_instances"] for point in points]
    least, most = min(numbers), max(numbers)
    label = f"{least if least == most else f'{least} to {most}'} {what}{machines}, 95 %"
    axis.set_title(label, loc="right", fontsize=9, color=INK)
    axis.set_ylabel(summary["figure"])
    drawn = [{"low": one["low"], "high": one["high"]} for one in summary["control"]]
    axis.set_ylim(_limits([*points, *summary["retuned"].get("points", []), *drawn]))


def _control_line(axis: Axes, summary: dict[str, Any], points: list[dict[str, Any]]) -> None:
    """Draw what the trainings of a panel have to beat, where it is the same for all."""
    at = [point["factors"] for point in points]
    found = {one["accuracy"]: one for one in summary["control"] if one["factors"] in at}
    for value, one in found.items() if len(found) == 1 else ():
        label = f"to beat: {one['control']['method']}"
        axis.axhline(value, color=INK, linestyle=(0, (1, 1)), linewidth=1.5, label=label)
        axis.axhspan(one["low"], one["high"], color=INK, alpha=0.07, linewidth=0)


def _retuned_line(
    axis: Axes, line: list[dict[str, Any]], tuned: list[dict[str, Any]], x: str, colour: str
) -> None:
    """Draw the curve where other settings suit each level, thin and without markers."""
    of_point = {str(point["factors"]): point for point in tuned}
    found = [of_point[str(p["factors"])] for p in line if str(p["factors"]) in of_point]
    if found:
        levels = [point["factors"][x] for point in found]
        low, high = ([point[end] for point in found] for end in ("low", "high"))
        values = [point["success_probability"] for point in found]
        axis.plot(levels, values, color=colour, linestyle=":", marker="x", label="re-tuned")
        axis.fill_between(levels, low, high, color=colour, alpha=0.08, linewidth=0)


def _rounded_line(
    axis: Axes, points: list[dict[str, Any]], x: str, colour: str, *, is_first: bool
) -> None:
    line = [point for point in points if "rounded" in point]
    if line:
        levels, values = zip(*((p["factors"][x], p["rounded"]) for p in line), strict=True)
        axis.plot(
            levels,
            values,
            color=colour,
            linewidth=2.5,
            alpha=0.5,
            label="optimum of the rounded model" if is_first else None,
        )
        values = [p["rounded_within_10"] for p in line]
        label = "among its 10 lowest states" if is_first else None
        axis.plot(levels, values, color=colour, linewidth=1, alpha=0.6, linestyle=":", label=label)


def _map(  # noqa: PLR0917  what is drawn, and over what
    figure: Figure,
    axis: Axes,
    summary: dict[str, Any],
    points: list[dict[str, Any]],
    x: str,
    y: str,
) -> None:
    across, up = (_levels(points, name) for name in (x, y))
    values = np.full((len(up), len(across)), np.nan)
    for p in points:
        place = up.index(p["factors"][y]), across.index(p["factors"][x])
        values[place] = p["success_probability"]
    shown = [p["success_probability"] for p in summary["points"]]  # maps have one scale
    least, most = min(shown), max(shown)
    least = least if least > 0.5 else 0.0
    style: dict[str, Any] = {"origin": "lower", "aspect": "auto", "cmap": "cividis"}
    image = axis.imshow(values, vmin=least, vmax=most, **style)
    for i, j in np.argwhere(np.isfinite(values)):
        ink = "#fff" if values[i, j] < 0.5 * (least + most) else "#000"
        axis.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", color=ink, fontsize=9)
    axis.set_xticks(range(len(across)), list(map(level_text, across)))
    axis.set_yticks(range(len(up)), list(map(level_text, up)))
    axis.set(xlabel=x, ylabel=y)
    figure.colorbar(image, ax=axis, label=summary["figure"])


def _outline(  # noqa: PLR0917  what is drawn, and over what
    axis: Axes, summary: dict[str, Any], group: list[dict[str, Any]], x: str, y: str, title: str
) -> None:
    """Draw a border and hatching around the cells of the safe region."""
    from matplotlib.patches import Rectangle

    axis.set_title(title, loc="left", fontsize=10)
    if not summary["safe"]:
        return
    points = [point["factors"] for point in group]
    across, up = (_levels(group, name) for name in (x, y))
    style: dict[str, Any] = {"fill": False, "edgecolor": "#fff", "linewidth": 2.5}
    for point in [one for one in summary["safe"]["points"] if one in points]:
        corner = across.index(point[x]) - 0.46, up.index(point[y]) - 0.46
        axis.add_patch(Rectangle(corner, 0.92, 0.92, **style))
        axis.add_patch(Rectangle(corner, 0.92, 0.92, **style | {"edgecolor": INK, "linewidth": 1}))
        axis.add_patch(Rectangle(corner, 0.92, 0.12, hatch="////", fill=False, linewidth=0))
    wanted = summary["safe"]
    label = f"hatched: at least {wanted['at_least']:g}, {100 * wanted['confidence']:g} % for all"
    axis.set_title(label, loc="right", fontsize=9, color=INK)
