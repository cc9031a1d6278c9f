"""The picture of a study: what stands in which panel.

Up to three curves share a panel, with bars that can be told apart. Of more, each level has a panel
of its own with a band, and the other levels in grey: bands on one another cannot be read. So it is
too where levels differ in what rounding or a control does. Maps of two factors are below.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cim_hal.cli.sweep_panels import (
    LETTER,
    RETUNED,
    SERIES,
    Scale,
    Series,
    draw_cliff,
    draw_control,
    draw_map,
    draw_pale,
    draw_rounded,
    draw_series,
    outline,
    wrapped,
)
from cim_hal.study.cliffs import others_of
from cim_hal.study.figures import FIGURES
from cim_hal.study.plan import ONE_AT_A_TIME
from cim_hal.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["MAX_MAPS", "MAX_PANELS", "figure_of", "is_cut"]

MAX_PANELS, MAX_MAPS = 24, 6
SUCCESS = "success probability"
OF_TRAININGS = ("infeasibility", "calls")  # drawn below their accuracy
LINE = 0.2  # inches, of text
SIZES = {1: (4.8, 3.0), 2: (3.6, 2.4), 3: (2.7, 1.9)}  # inches of a panel, by the columns
BESIDE, COLOURS = 0.75, 0.9  # inches, of the name of an axis with its numbers, and of the colours

Points = list[dict[str, Any]]


def figure_of(summary: dict[str, Any]) -> Figure:
    """Return the curves of a study, and maps: of two factors, or of the safe region of more."""
    import matplotlib as mpl

    with mpl.rc_context({"text.parse_math": False, "font.size": 10, "axes.titlesize": 10}):
        return _figure(summary)


def _figure(summary: dict[str, Any]) -> Figure:
    from matplotlib.figure import Figure  # no pyplot: it would choose a window

    parts = [part for part in _parts(summary) if part.panels]
    width = max(part.columns * SIZES[part.columns][0] for part in parts)
    heights = [part.height for part in parts]
    figure = Figure(figsize=(width, sum(heights)), dpi=160, layout="constrained")
    places = figure.subfigures(len(parts), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, place in zip(parts, places, strict=True):
        place.suptitle(wrapped(part.heading, 0.85 * width), x=0.02, ha="left", fontsize=11)
        axes = place.subplots(part.rows, part.columns, squeeze=False).ravel()
        for axis in axes[len(part.panels) :]:
            axis.remove()
        part.draw(place, list(axes[: len(part.panels)]), width)
    return figure


def is_cut(summary: dict[str, Any]) -> bool:
    """Return whether there are more panels than are drawn."""
    return any(part.is_cut for part in _parts(summary))


# ---- what there is to draw ------------------------------------------------------------------


def _parts(summary: dict[str, Any]) -> list[Curves | Maps]:
    return [_curves(summary), *map(_curves, _of_other_figures(summary)), _maps(summary)]


def _of_other_figures(summary: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield summaries of trainings with another figure in the place of accuracy.

    One that is the same at all points, as calls often are, is only in the table.
    """
    for name in () if summary["figure"] == SUCCESS else OF_TRAININGS:
        keys = FIGURES[name].keys
        points = [
            p | dict(zip(FIGURES["accuracy"].keys, (p[key] for key in keys), strict=True))
            for p in summary["points"]
            if p[keys[0]] is not None
        ]
        if len({(p["success_probability"], p["high"]) for p in points}) > 1:
            other = {"figure": FIGURES[name].title, "points": points, "control": []}
            yield summary | other


def _varied(summary: dict[str, Any]) -> list[str]:
    """Return the factors with several levels: that of a cliff first, names last; else any."""
    points, cliffs = summary["points"], [found["factor"] for found in summary["cliffs"]]
    levels = {name: {point["factors"][name] for point in points} for name in points[0]["factors"]}
    names = [name for name, found in levels.items() if len(found) > 1]
    is_named = {name: Scale.of(summary, name).is_text for name in names}
    return sorted(names, key=lambda name: (name not in cliffs, is_named[name])) or [*levels][:1]


def _groups(points: Points, scales: Sequence[Scale]) -> list[tuple[str, Points]]:
    """Return the points at each combination of levels, and what it is called."""

    def order(point: dict[str, Any]) -> list[float]:
        return [scale.place(point["factors"][scale.name]) for scale in scales]

    found = itertools.groupby(sorted(points, key=order), key=order)
    groups = [list(group) for _, group in found]
    return [
        (", ".join(scale.named(group[0]["factors"][scale.name]) for scale in scales), group)
        for group in groups
    ]


def _limits(summary: dict[str, Any]) -> tuple[float, float]:
    """Return the range of all that is drawn, a little wider, and zero if it is near."""
    points = summary["points"]
    ends = [*points, *summary["retuned"].get("points", []), *summary["control"]]
    lines = [p[name] for p in points for name in ("rounded", "rounded_within_10") if name in p]
    low, high = min([*(p["low"] for p in ends), *lines]), max([*(p["high"] for p in ends), *lines])
    if summary["figure"] in {FIGURES[name].title for name in OF_TRAININGS}:
        ends = [(p["high"], 1.5 * p["success_probability"]) for p in points]
        high = max(end if end < math.inf else value for end, value in ends) or 1.0
        return -0.03 * high, 1.1 * high
    margin = 0.1 * (high - low) + 0.01
    bottom = low - margin if low > 0.5 else -0.03 * high
    return bottom, min(high + margin, 1.03)


def _headline(summary: dict[str, Any]) -> str:
    return summary["figure"][:1].upper() + summary["figure"][1:]


def _note(summary: dict[str, Any]) -> str:
    points, seeds = summary["points"], len(summary["machine_seeds"])
    what = "models" if summary["figure"] == SUCCESS else "trainings"
    machines = f" on {counted(seeds, 'machine')}" if seeds else ""
    numbers = sorted({point["n_instances"] for point in points})
    least, most = numbers[0], numbers[-1]
    count = f"{least}" if least == most else f"{least} to {most}"
    return f"{count} {what}{machines}, intervals of 95 %"


# ---- curves ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Panel:
    """Curves over a factor, and what is pale behind them."""

    x: Scale
    title: str
    points: Points  # those of which rounding and a control are drawn
    series: list[Series]
    pale: Sequence[Points] = ()


@dataclass(frozen=True)
class Curves:
    """Panels of curves, and how they are drawn."""

    heading: str
    all_panels: list[Panel]
    limits: tuple[float, float]
    summary: dict[str, Any]

    @property
    def panels(self) -> list[Panel]:
        return self.all_panels[:MAX_PANELS]

    @property
    def is_cut(self) -> bool:
        return len(self.all_panels) > MAX_PANELS

    @property
    def columns(self) -> int:
        """Three, two where there are two or four, or room is needed for names of axes."""
        n = len(self.panels)
        return min(n, 2 if n == 4 or not self._is_shared else 3)

    @property
    def rows(self) -> int:
        return -(-len(self.panels) // self.columns)

    @property
    def height(self) -> float:
        own = 0.0 if self._is_shared else 2 * LINE
        of_panel = SIZES[self.columns][1] + own + LINE * self._title_lines
        return self.rows * of_panel + LINE * (3 + self._legend_lines)

    @property
    def _legend_lines(self) -> int:
        """How many lines the legend has, at most."""
        is_rounded = any("rounded" in point for point in self.summary["points"])
        others = [is_rounded, is_rounded, self.summary["control"], self.summary["cliffs"]]
        labels = len(self._labels) + sum(map(bool, [*others, self.panels[0].pale]))
        return -(-labels // min(self.columns, 2))

    @property
    def _title_lines(self) -> int:
        inches = SIZES[self.columns][0] - 0.3
        return max(
            wrapped(panel.title, inches).count("\n") + bool(panel.title) for panel in self.panels
        )

    @property
    def _is_shared(self) -> bool:
        """Whether the panels have one x axis."""
        return len({panel.x.name for panel in self.panels}) == 1

    @property
    def _labels(self) -> list[str]:
        return list(dict.fromkeys(one.label for panel in self.panels for one in panel.series))

    def draw(self, place: SubFigure, axes: list[Axes], width: float) -> None:
        inches = (width - BESIDE) / self.columns - 0.15
        for k, (axis, panel) in enumerate(zip(axes, self.panels, strict=True)):
            panel.x.draw(axis, inches)
            self._draw_panel(axis, panel)
            if self._is_shared and k // self.columns < self.rows - 1:
                axis.set_xlabel("")
            axis.set_title(wrapped(panel.title, inches), loc="left")
            is_first = k % self.columns == 0
            axis.tick_params(labelleft=is_first)
            axis.set_ylabel(self.summary["figure"] if is_first else "")
            axis.set_ylim(self.limits)
        self._legend(place, axes, width)

    def _draw_panel(self, axis: Axes, panel: Panel) -> None:
        at = [point["factors"] for point in panel.points]
        draw_series(axis, panel.x, panel.series)
        for points in panel.pale:
            draw_pale(axis, panel.x, points, "the other levels")
        controls = [one for one in self.summary["control"] if one["factors"] in at]
        draw_control(axis, panel.x, controls)
        draw_rounded(axis, panel.x, panel.points)
        self._draw_cliffs(axis, panel)
        axis.tick_params(labelsize=9)

    def _draw_cliffs(self, axis: Axes, panel: Panel) -> None:
        """Draw the cliffs of the curves, if they are of the figure that is drawn."""
        name, found = panel.x.name, self.summary["cliffs"]
        of_this = [c for c in found if FIGURES[c["figure"]].title == self.summary["figure"]]
        for k, one in enumerate(series for series in panel.series if not series.is_retuned):
            at = [dict(others_of(point["factors"], name)) for point in one.points]
            for cliff in of_this:
                if cliff["factor"] == name and cliff["at"] in at and cliff["level"] is not None:
                    draw_cliff(axis, cliff, one.style, 5.0 * k)

    def _legend(self, place: SubFigure, axes: list[Axes], width: float) -> None:
        """Put the legend below all: levels ascending, then what they are to be compared with."""
        found: dict[str, Any] = {}
        for axis in axes:
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
                found.setdefault(label, handle)
        first = [label for label in self._labels if label]
        labels = [*first, *(label for label in found if label not in first)]
        if len(labels) < 2:
            return
        columns = 2 if LETTER * max(map(len, labels)) + 0.7 < width / 2 else 1
        style: dict[str, Any] = {"fontsize": 9, "ncols": columns, "frameon": False}
        place.legend([found[one] for one in labels], labels, loc="outside lower center", **style)


def _curves(summary: dict[str, Any]) -> Curves:
    names = _varied(summary)
    x, *others = (Scale.of(summary, name) for name in names)
    if summary["design"] == ONE_AT_A_TIME:
        panels = _one_at_a_time(summary, [x, *others])
        heading = f"{_headline(summary)}, one factor at a time\n{_note(summary)}"
        return Curves(heading, panels, _limits(summary), summary)
    by, groups = others[:1], _groups(summary["points"], others[1:])
    panels = list[Panel]()
    is_crowded = _is_crowded(summary, x, by, [group for _, group in groups])
    for at, group in groups:
        if is_crowded:
            panels += _apart(summary, x, others, group)
        else:
            panels.append(Panel(x, at, group, _series(summary, by, group)))
    each = others if is_crowded else others[1:]
    at_each = f" at each {' and '.join(scale.title for scale in each)}" if each else ""
    heading = f"{_headline(summary)} over {x.name}{at_each}\n{_note(summary)}"
    return Curves(heading, panels, _limits(summary), summary)


def _one_at_a_time(summary: dict[str, Any], scales: Sequence[Scale]) -> list[Panel]:
    points = summary["points"]
    base = points[0]["factors"]
    panels = list[Panel]()
    for scale in scales:
        here = [p for p in points if _differs(p["factors"], base) <= {scale.name}]
        panels.append(Panel(scale, f"over {scale.name}", here, _series(summary, (), here)))
    return panels


def _differs(factors: dict[str, Any], base: dict[str, Any]) -> set[str]:
    return {name for name, level in factors.items() if level != base[name]}


def _is_crowded(
    summary: dict[str, Any], x: Scale, by: Sequence[Scale], groups: Sequence[Points]
) -> bool:
    """Return whether each level needs a panel of its own."""
    curves = len(by[0].levels) if by else 1
    times = 2 if summary["retuned"].get("points") else 1
    controls = {str(one["factors"]): one["accuracy"] for one in summary["control"]}
    if curves > 1 and (curves * times > len(SERIES) or x.is_dense):
        return True
    for group in groups:
        behind: dict[Any, Any] = {}
        for p in group:
            here = p.get("rounded"), p.get("rounded_within_10"), controls.get(str(p["factors"]))
            if behind.setdefault(p["factors"][x.name], here) != here:
                return True
    return False


def _apart(
    summary: dict[str, Any], x: Scale, others: Sequence[Scale], group: Points
) -> list[Panel]:
    """Return a panel for each level, with the curves of the others of the group behind it."""
    found = _groups(group, others)
    return [
        Panel(
            x,
            at,
            points,
            _series(summary, (), points, "this level"),
            [other for one, other in found if one != at],
        )
        for at, points in found
    ]


def _series(
    summary: dict[str, Any], by: Sequence[Scale], points: Points, only: str = "machine"
) -> list[Series]:
    """Return a curve for each level, or the `only` one, and that of re-tuned settings."""
    tuned = {str(point["factors"]): point for point in summary["retuned"].get("points", [])}
    here = [tuned[str(p["factors"])] for p in points if str(p["factors"]) in tuned]
    fixed, retuned = only, "re-tuned"
    if here:
        names = ", ".join(here[0]["nuisance"])
        names = names if len(names) < 30 else "settings"
        fixed, retuned = f"{names} the same at all points", f"{names} re-tuned at each point"
    found = [Series(fixed, points, SERIES[0])]
    if by:
        groups = {group[0]["factors"][by[0].name]: group for _, group in _groups(points, by)}
        levels = [level for level in by[0].levels if level in groups]
        styles = dict(zip(by[0].levels, SERIES, strict=False))
        found = [Series(by[0].at(level), groups[level], styles[level]) for level in levels]
    return [*found, Series(retuned, here, RETUNED, is_retuned=True)] if here else found


# ---- maps -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Maps:
    """Maps of two factors, one for each combination of the others."""

    heading: str
    all_panels: list[tuple[str, Points]]
    scales: Sequence[Scale]
    ends: tuple[float, float]
    summary: dict[str, Any]

    @property
    def panels(self) -> list[tuple[str, Points]]:
        return self.all_panels[:MAX_MAPS]

    @property
    def is_cut(self) -> bool:
        return len(self.all_panels) > MAX_MAPS

    @property
    def columns(self) -> int:
        return min(len(self.panels), 2)

    @property
    def rows(self) -> int:
        return -(-len(self.panels) // self.columns)

    @property
    def height(self) -> float:
        return self.rows * (self._inches_up + 4 * LINE) + 3 * LINE

    @property
    def _inches_up(self) -> float:
        return min(max(0.32 * len(self.scales[1].levels), 1.2), 4.0)

    def draw(self, place: SubFigure, axes: list[Axes], width: float) -> None:
        x, y = self.scales
        inches = (width - COLOURS) / self.columns - BESIDE, self._inches_up
        safe = (self.summary["safe"] or {"points": []})["points"]
        for axis, (title, points) in zip(axes, self.panels, strict=True):
            draw_map(axis, points, x, y, self.ends, inches)
            at = [point["factors"] for point in points]
            outline(axis, [one for one in safe if one in at], x, y)
            axis.set_title(wrapped(title, inches[0]), loc="left")
            axis.tick_params(labelsize=9)
        place.colorbar(axes[0].images[0], ax=axes, label=self.summary["figure"], aspect=15)


def _maps(summary: dict[str, Any]) -> Maps:
    """Return the maps of two factors; of more there are some only where a region is to be seen."""
    x, *others = (Scale.of(summary, name) for name in _varied(summary))
    is_drawn = len(others) == 1 or (len(others) > 1 and summary["safe"])
    if not is_drawn or summary["design"] == ONE_AT_A_TIME:
        return Maps("", [], (), (0.0, 1.0), summary)
    shown = [point["success_probability"] for point in summary["points"]]  # maps have one scale
    least, most = min(shown), max(shown)
    ends = least if least > 0.5 else 0.0, most if most > 0 else 1.0
    scales = [_without_those_between(summary, scale) for scale in (x, others[0])]
    heading = f"{_headline(summary)} at each pair of levels"
    if wanted := summary["safe"]:
        sure = f"{100 * wanted['confidence']:g} %"
        heading += f"; hatched: at least {wanted['at_least']:g}, {sure} for all"
    return Maps(heading, _groups(summary["points"], others[1:]), scales, ends, summary)


def _without_those_between(summary: dict[str, Any], scale: Scale) -> Scale:
    """Return the levels without those that cliffs added between them, at few of the others."""
    if scale.name not in [found["factor"] for found in summary["cliffs"]]:
        return scale
    counts = dict.fromkeys(scale.levels, 0)
    for point in summary["points"]:
        counts[point["factors"][scale.name]] += 1
    most = max(counts.values())
    return Scale(scale.name, scale.unit, tuple(n for n in scale.levels if counts[n] == most))
