"""The panels of a study's picture: curves over a factor, with intervals, and maps of two factors.

A factor has the name that the study gives it, with the unit that the machine tells; pure numbers,
and names that end in their unit (`adc.bits`), have none.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.study.plan import level_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from cim_hal.study.plan import Level

__all__ = [
    "LETTER",
    "RETUNED",
    "SERIES",
    "Scale",
    "Series",
    "Style",
    "draw_cliff",
    "draw_control",
    "draw_map",
    "draw_pale",
    "draw_rounded",
    "draw_series",
    "outline",
    "wrapped",
]

INK, PALE = "#26303c", "#b4bac2"
WIDE = 10  # from this ratio of levels on their axis is logarithmic
LETTER = 0.072  # inches, of a small letter
LONGEST = 22  # letters of a level
APART = 5.0  # points, between the bars of neighbouring series


@dataclass(frozen=True)
class Style:
    """How a series is drawn: each of colour, marker, filling and dashes tells it apart."""

    colour: str
    marker: str
    dashes: str
    is_filled: bool


# Okabe and Ito's colours, which colour-blind readers tell apart; the rest tells it on paper.
SERIES = (
    Style("#0072b2", "o", "-", is_filled=True),
    Style("#d55e00", "s", "--", is_filled=False),
    Style("#009e73", "D", "-.", is_filled=True),
)
RETUNED = SERIES[1]


# ---- a factor -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """The levels of a factor in their order, with places on an axis and texts."""

    name: str
    unit: str
    levels: tuple[Level, ...]

    @classmethod
    def of(cls, summary: dict[str, Any], name: str) -> Scale:
        """Return the levels of all points: numbers ascending, names as the study has them."""
        found = dict.fromkeys(point["factors"][name] for point in summary["points"])
        plain = cls(name, _unit(summary, name), tuple(found))
        if plain.is_text:
            return plain
        ordered = sorted(found, key=lambda level: (plain.is_none(level), level))
        return cls(name, plain.unit, tuple(ordered))

    @property
    def is_text(self) -> bool:
        """Whether levels are names, between which there is nothing."""
        return any(isinstance(level, str | bool) for level in self.levels)

    @property
    def title(self) -> str:
        """The name of an axis."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def is_none(self, level: Level) -> bool:
        """Return whether a level stands for no rounding: 0 bits are an ideal converter."""
        return self.name.endswith("bits") and level == 0

    def text(self, level: Level) -> str:
        """Return a level as a label."""
        text = "none" if self.is_none(level) else level_text(level)
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 9]}…{text[-8:]}"

    def named(self, level: Level) -> str:
        """Return a level with its name."""
        return f"{self.name} = {self.text(level)}"

    def at(self, level: Level) -> str:
        """Return a level with its name and unit."""
        is_bare = not self.unit or self.is_none(level)
        return self.named(level) if is_bare else f"{self.named(level)} {self.unit}"

    def place(self, level: Level) -> float:
        """Return where a level is on an axis; that of no rounding is behind all others."""
        if self.is_text:
            return float(self.levels.index(level))
        if not self.is_none(level):
            return float(level)
        most = max(self._numbers, default=0.0)
        return most + max(1.0, most // 4)

    @property
    def is_log(self) -> bool:
        """Whether the axis is logarithmic."""
        numbers = self._numbers
        return bool(numbers) and 0 < WIDE * numbers[0] <= numbers[-1]

    @property
    def is_dense(self) -> bool:
        """Whether neighbours are so near that bars beside each other would cover those of both."""
        places = np.sort(self._along)
        return len(places) > 1 and bool(np.diff(places).min() < 0.04 * np.ptp(places))

    @property
    def _along(self) -> NDArray[np.float64]:
        """Where levels are on paper, in any unit."""
        places = np.array([self.place(level) for level in self.levels])
        return np.log(places) if self.is_log else places

    @property
    def _numbers(self) -> list[float]:
        if self.is_text:
            return []
        return [float(level) for level in self.levels if not self.is_none(level)]

    def draw(self, axis: Axes, inches: float) -> None:
        """Set ends, ticks and name of an x axis that is so wide."""
        places = np.array([self.place(level) for level in self.levels])
        if self.is_log:
            axis.set_xscale("log")
            axis.minorticks_off()
        along = self._along
        margin = 0.5 if self.is_text else 0.07 * float(np.ptp(along)) or 0.5
        ends = np.array([along.min() - margin, along.max() + margin])
        axis.set_xlim(*(np.exp(ends) if self.is_log else ends))
        texts = [self.text(level) for level in self.levels]
        kept = range(len(texts))
        if not self.is_text:
            kept = list(_that_fit(along / np.ptp(ends) * inches, texts))
        axis.set_xticks(places[kept], [texts[k] for k in kept])
        if self.is_text:
            lean(axis, texts, inches)
        axis.set_xlabel(wrapped(self.title, inches))


def _unit(summary: dict[str, Any], name: str) -> str:
    """Return the unit that the machine tells of a factor; empty where its name has it."""
    described = [*summary["machine"].get("settings", ()), *summary["machine"].get("options", ())]
    found = [one["unit"] for one in described if one["name"] == name.removeprefix("options.")]
    unit = found[0] if found else ""
    is_said = unit == "1" or name.endswith(unit.replace(" ", "_"))
    return "" if is_said else unit


def _that_fit(places: Any, texts: Sequence[str]) -> Iterator[int]:
    """Yield the labels that do not touch each other, by places in inches; both ends are kept."""
    widths = [LETTER * (len(text) + 2) for text in texts]
    last, end = 0, len(texts) - 1

    def touch(j: int, k: int) -> bool:
        return places[k] - places[j] < 0.5 * (widths[j] + widths[k])

    yield 0
    for k in range(1, end):
        if not touch(last, k) and not touch(k, end):
            yield k
            last = k
    if end:
        yield end


def lean(axis: Axes, texts: Sequence[str], inches: float) -> None:
    """Turn the names below an axis where they would touch."""
    if LETTER * (max(map(len, texts)) + 2) * len(texts) > inches:
        axis.tick_params(axis="x", labelrotation=35)
        for label in axis.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")


def wrapped(text: str, inches: float) -> str:
    """Return a text in lines that are not longer than this; its own ends of lines stay."""
    letters = max(int(inches / LETTER), 12)
    lines = [textwrap.fill(one, letters, break_on_hyphens=False) for one in text.split("\n")]
    return "\n".join(lines)


# ---- curves ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Series:
    """Points of a study that belong together, and what they are called."""

    label: str
    points: list[dict[str, Any]]
    style: Style
    is_retuned: bool = False


def _line(
    scale: Scale, points: Sequence[dict[str, Any]], *keys: str
) -> tuple[list[float], list[list[float]]]:
    """Return places in their order, and the figures there."""
    ordered = sorted(points, key=lambda point: scale.place(point["factors"][scale.name]))
    places = [scale.place(point["factors"][scale.name]) for point in ordered]
    return places, [[point[key] for point in ordered] for key in keys]


def draw_series(axis: Axes, scale: Scale, all_of_them: Sequence[Series]) -> None:
    """Draw one series with a band, or some with bars that stand a little beside each other."""
    middle = 0.5 * (len(all_of_them) - 1)
    for k, series in enumerate(all_of_them):
        is_band = len(all_of_them) == 1 and len(series.points) > 1 and not scale.is_text
        _one_series(axis, scale, series, None if is_band else APART * (k - middle))


def _one_series(axis: Axes, scale: Scale, series: Series, aside: float | None) -> None:
    """Draw a series with bars so many points aside, or with a band."""
    from matplotlib.transforms import ScaledTranslation

    keys = ("success_probability", "low", "high")
    places, (values, low, high) = _line(scale, series.points, *keys)
    high = np.nan_to_num(high, posinf=1e3 * max(*values, 1.0))  # a bar out of the panel
    style: dict[str, Any] = {
        "color": series.style.colour,
        "marker": series.style.marker,
        "markersize": 5.5,
        "markerfacecolor": series.style.colour if series.style.is_filled else "#fff",
        "linestyle": "none" if scale.is_text else series.style.dashes,
        "label": series.label,
    }
    if aside is None:
        axis.plot(places, values, **style)
        axis.fill_between(places, low, high, color=series.style.colour, alpha=0.18, linewidth=0)
        return
    moved = ScaledTranslation(aside / 72, 0, axis.figure.dpi_scale_trans)
    bars = np.array([np.subtract(values, low), np.subtract(high, values)])
    style |= {"elinewidth": 1.2, "capsize": 2, "transform": axis.transData + moved}
    axis.errorbar(places, values, yerr=bars.clip(0), **style)


def draw_pale(axis: Axes, scale: Scale, points: Sequence[dict[str, Any]], label: str) -> None:
    """Draw a series that has a panel of its own, to compare with."""
    places, (values,) = _line(scale, points, "success_probability")
    style: dict[str, Any] = {"marker": "."}  # of a single level too
    if scale.is_text:
        style = {"linestyle": "none", "marker": "_"}
    axis.plot(places, values, color=PALE, linewidth=1, label=label, zorder=1, **style)


def draw_rounded(axis: Axes, scale: Scale, points: Sequence[dict[str, Any]]) -> None:
    """Draw what an exact optimizer of the rounded models would do."""
    known = [
        *{p["factors"][scale.name]: p for p in points if "rounded" in p}.values()
    ]  # the same whatever the other factors
    if not known:
        return
    places, (share, within) = _line(scale, known, "rounded", "rounded_within_10")
    thick: dict[str, Any] = {"color": INK, "linewidth": 3, "alpha": 0.45}
    thin: dict[str, Any] = {"color": INK, "linewidth": 1.2, "alpha": 0.7, "linestyle": ":"}
    is_apart = scale.name == "coupling_bits" and np.diff(places).max(initial=0.0) > 1
    if len(set(places)) == 1 or scale.is_text or is_apart:  # what lies between is not known
        thick |= {"linestyle": "none", "marker": "_", "markersize": 16, "markeredgewidth": 3}
        thin |= {"linestyle": "none", "marker": "_", "markersize": 16}
    axis.plot(places, share, label="optimum of the rounded model", **thick)
    axis.plot(places, within, label="among its 10 lowest states", **thin)


def draw_control(axis: Axes, scale: Scale, controls: Sequence[dict[str, Any]]) -> None:
    """Draw what trainings have to beat, with its interval."""
    if not controls:
        return
    label = f"to beat: {controls[0]['control']['method']}"
    style: dict[str, Any] = {"color": INK, "linestyle": (0, (1, 1)), "linewidth": 1.5}
    shade: dict[str, Any] = {"color": INK, "alpha": 0.08, "linewidth": 0}
    places, (values, low, high) = _line(scale, controls, "accuracy", "low", "high")
    if len(set(values)) == 1:
        axis.axhline(values[0], label=label, **style)
        axis.axhspan(low[0], high[0], **shade)
        return
    axis.plot(places, values, label=label, **style)
    axis.fill_between(places, low, high, **shade)


def draw_cliff(axis: Axes, cliff: dict[str, Any], style: Style, above: float) -> None:
    """Draw a threshold, and where a curve crosses it with its interval, so many points above."""
    from matplotlib.transforms import ScaledTranslation

    threshold = cliff["threshold"]
    label = f"threshold {threshold:g}, crossed within the thick bars"
    axis.axhline(threshold, color=INK, linewidth=0.8, linestyle=(0, (6, 3)), label=label)
    ends = np.clip([cliff["low"], cliff["high"]], *axis.get_xlim())
    moved = ScaledTranslation(0, above / 72, axis.figure.dpi_scale_trans)
    place: dict[str, Any] = {"color": style.colour, "transform": axis.transData + moved}
    axis.plot(
        ends, [threshold] * 2, linewidth=4, alpha=0.6, zorder=1.5, solid_capstyle="butt", **place
    )
    axis.plot([cliff["level"]], [threshold], marker="|", markersize=11, mew=2, **place)


# ---- maps -----------------------------------------------------------------------------------


def draw_map(  # noqa: PLR0917  what is drawn, and over what
    axis: Axes,
    points: Sequence[dict[str, Any]],
    x: Scale,
    y: Scale,
    ends: tuple[float, float],
    inches: tuple[float, float],
) -> None:
    """Draw the figure of each pair of levels, in colours between these ends, and in numbers."""
    values = np.full((len(y.levels), len(x.levels)), math.nan)
    for point in points:
        at = point["factors"]
        if at[x.name] in x.levels and at[y.name] in y.levels:
            place = y.levels.index(at[y.name]), x.levels.index(at[x.name])
            values[place] = point["success_probability"]
    style: dict[str, Any] = {"origin": "lower", "aspect": "auto", "cmap": "cividis"}
    axis.imshow(values, vmin=ends[0], vmax=ends[1], **style)
    cell = inches[0] / len(x.levels), inches[1] / len(y.levels)
    if cell[0] > 5 * LETTER and cell[1] > 0.17:
        _numbers(axis, values, ends)
    _name_cells(axis, x, y, inches)


def _numbers(axis: Axes, values: Any, ends: tuple[float, float]) -> None:
    for (i, j), value in np.ndenumerate(values):
        ink = "#fff" if value < 0.5 * sum(ends) else "#000"
        text = "–" if math.isnan(value) else f"{value:.2f}"
        axis.text(j, i, text, ha="center", va="center", color=ink, fontsize=9)


def _name_cells(axis: Axes, x: Scale, y: Scale, inches: tuple[float, float]) -> None:
    across, up = (list(map(one.text, one.levels)) for one in (x, y))
    letters = LETTER * (max(map(len, across)) + 1)
    every = 1 if x.is_text else math.ceil(letters * len(across) / inches[0])
    axis.set_xticks(range(0, len(across), every), across[::every])
    every = math.ceil(0.17 * len(up) / inches[1])
    axis.set_yticks(range(0, len(up), every), up[::every])
    axis.set_xlabel(wrapped(x.title, inches[0]))
    axis.set_ylabel(wrapped(y.title, max(inches[1], 1.5)))
    if x.is_text:
        lean(axis, across, inches[0])


def outline(axis: Axes, safe: Sequence[dict[str, Any]], x: Scale, y: Scale) -> None:
    """Draw a border and hatching around the cells of safe points."""
    from matplotlib.patches import Rectangle

    style: dict[str, Any] = {"fill": False, "edgecolor": "#fff", "linewidth": 2.5}
    for at in safe:
        corner = x.levels.index(at[x.name]) - 0.46, y.levels.index(at[y.name]) - 0.46
        axis.add_patch(Rectangle(corner, 0.92, 0.92, **style))
        axis.add_patch(Rectangle(corner, 0.92, 0.92, **style | {"edgecolor": INK, "linewidth": 1}))
        axis.add_patch(Rectangle(corner, 0.92, 0.12, hatch="////", fill=False, linewidth=0))
