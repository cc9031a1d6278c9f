"""A study as papers draw it: curves with bands, a heat map, and one HTML file without a network."""

from __future__ import annotations

import html
import io
import itertools
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.study.plan import level_text
from cim_hal.study.quantiles import TOO_FEW
from cim_hal.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["report"]

# Okabe and Ito's colours, which colour-blind readers tell apart; markers and dashes say the same.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
MARKERS, DASHES = "osD^vPX", ("-", "--", "-.", ":")
INK, SUCCESS = "#26303c", "success probability"
MAX_LINES, MAX_PANELS, MAX_BANDS = 7, 6, 4
WIDE = 10  # from this ratio of levels on their axis is logarithmic

INTERVALS = (
    "Intervals are of 95 %, models are clusters: they hold for all models of the kind from which "
    "these were drawn."
)
BOUNDS = (
    "Where fewer than ten models, or all of them, have a success and a failure, the interval is a "
    "bound that takes one observation from each model."
)
MACHINES = (
    "Machines are drawn as models are: intervals hold for all machines of the kind too. Quantiles "
    "over models are not told, for each machine has its own."
)
ROUNDED = (
    "The thick pale line is the success of an exact optimizer of the rounded model. It is no bound "
    "for the machine, whose runs are ranked by the energies of the model itself: an excited state "
    "of the rounded model may be the optimum."
)
CUT = f"Of curves {MAX_LINES} are drawn, in {MAX_PANELS} panels; all points are in the table."
DRIVER = (
    "The machine does not say how long a round trip takes: the time of a run is what its driver "
    "took, over all runs of a job."
)

STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
figure { margin: 1.5rem 0; background: #fff; border-radius: 6px }
svg { max-width: 100%; height: auto }
.wide { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; text-align: right; white-space: nowrap }
tr { border-bottom: 1px solid #8886 }
pre { overflow-x: auto; border: 1px solid #8886; padding: .7rem; border-radius: 6px }
@media print { body { max-width: none } }
"""


def _figure(summary: dict[str, Any]) -> Figure:
    """Return the curves of a study, and a heat map where it has two factors."""
    from matplotlib.figure import Figure  # no pyplot: it would choose a window

    x, *others = _varied(summary["points"])
    summary, names = _none_last(summary, x)
    points = summary["points"]
    groups = _groups(points, others[1:])[:MAX_PANELS]
    has_map = len(others) == 1
    n = len(groups) + has_map
    rows, columns = -(-n // 2), min(n, 2)
    figure = Figure(figsize=(6.4 * columns, 4.4 * rows), dpi=120, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (at, group) in zip(axes, groups, strict=False):
        _curves(axis, group, summary["retuned"].get("points", []), x, others[:1], at)
        axis.set_ylabel(summary["figure"])
        what = "models" if summary["figure"] == SUCCESS else "trainings"
        seeds = len(summary["machine_seeds"])
        machines = f" on {seeds} machines" if seeds else ""
        label = f"{points[0]['n_instances']} {what}{machines}, 95 %"
        axis.set_title(label, loc="right", fontsize=9, color=INK)
        axis.set_ylim(_limits([*points, *summary["retuned"].get("points", [])]))
        if names:
            axis.set_xticks(list(names), list(names.values()))
    if has_map:
        _map(figure, axes[n - 1], summary, x, others[0])
        _outline(axes[n - 1], summary, x, others[0])
        if names:
            axes[n - 1].set_xticks(range(len(names)), list(names.values()))
    for axis in axes[n:]:
        axis.set_axis_off()
    return figure


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

    ordered = sorted(points, key=at)
    return [(name, list(group)) for name, group in itertools.groupby(ordered, key=at)]


def _curves(  # noqa: PLR0917  what is drawn, and by what
    axis: Axes,
    points: list[dict[str, Any]],
    tuned: list[dict[str, Any]],
    x: str,
    by: Sequence[str],
    title: str,
) -> None:
    groups = _groups(points, by)[:MAX_LINES]
    for k, (label, group) in enumerate(groups):
        line = sorted(group, key=lambda point: point["factors"][x])
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
        if k == 0 or "lowering" in by:
            _rounded_line(axis, line, x, COLOURS[k] if "lowering" in by else INK, is_first=k == 0)
    axis.set(xlabel=x, title=title)
    levels = [level for p in points if not isinstance(level := p["factors"][x], str)]
    if levels and min(levels) > 0 and max(levels) >= WIDE * min(levels):
        axis.set_xscale("log")
    axis.legend(fontsize=9)


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


def _map(figure: Figure, axis: Axes, summary: dict[str, Any], x: str, y: str) -> None:
    points = summary["points"]
    across, up = (sorted({p["factors"][name] for p in points}) for name in (x, y))
    values = np.full((len(up), len(across)), np.nan)
    for p in points:
        place = up.index(p["factors"][y]), across.index(p["factors"][x])
        values[place] = p["success_probability"]
    least, most = float(np.nanmin(values)), float(np.nanmax(values))
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


def _outline(axis: Axes, summary: dict[str, Any], x: str, y: str) -> None:
    """Draw a border and hatching around the cells of the safe region."""
    from matplotlib.patches import Rectangle

    if not summary["safe"]:
        return
    points = [point["factors"] for point in summary["points"]]
    across, up = (sorted({point[name] for point in points}) for name in (x, y))
    style: dict[str, Any] = {"fill": False, "edgecolor": "#fff", "linewidth": 2.5}
    for point in summary["safe"]["points"]:
        corner = across.index(point[x]) - 0.46, up.index(point[y]) - 0.46
        axis.add_patch(Rectangle(corner, 0.92, 0.92, **style))
        axis.add_patch(Rectangle(corner, 0.92, 0.92, **style | {"edgecolor": INK, "linewidth": 1}))
        axis.add_patch(Rectangle(corner, 0.92, 0.12, hatch="////", fill=False, linewidth=0))
    wanted = summary["safe"]
    label = f"hatched: at least {wanted['at_least']:g}, {100 * wanted['confidence']:g} % for all"
    axis.set_title(label, loc="right", fontsize=9, color=INK)


# ---- the page -------------------------------------------------------------------------------


def report(summary: dict[str, Any], study: str) -> dict[str, bytes]:
    """Return the files of the report by their suffixes: a page, and its picture as SVG and PNG.

    `study` is the text of the study file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    # Not by `savefig`, which draws each twice, and lays it out twice: that takes most of the time.
    figure, png, svg = _figure(summary), io.BytesIO(), io.StringIO()
    FigureCanvasAgg(figure).print_png(png)
    figure.set_layout_engine("none")  # the layout is kept
    FigureCanvasSVG(figure).print_svg(svg)
    page = _page(summary, study, svg.getvalue())
    return {"html": page.encode(), "svg": svg.getvalue().encode(), "png": png.getvalue()}


def _page(summary: dict[str, Any], study: str, svg: str) -> str:
    title, machine = (
        html.escape(printable(summary["study"])),
        json.dumps(summary["machine"], indent=1),
    )
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<style>{STYLE}</style><h1>{title}</h1>",
        *(f"<p>{html.escape(line)}</p>" for line in _facts(summary)),
        f"<figure>{svg[svg.index('<svg') :]}</figure>",
        _list("Safe region", [summary["safe"]["verdict"]] if summary["safe"] else []),
        _list("Time to solution", [found["verdict"] for found in summary["time_to_solution"]]),
        _list("Verdicts", [found["verdict"] for found in summary["verdicts"]]),
        _list("Where other settings suit each level", summary["retuned"].get("warnings", [])),
        _list("Cliffs", list(map(_cliff, summary["cliffs"]))),
        _table(summary),
        _quantiles(summary["points"]),
        f"<h2>The study</h2><pre>{html.escape(study)}</pre>",
        f"<h2>The machine</h2><pre>{html.escape(machine)}</pre></html>",
    ]
    return "\n".join(parts)


def _facts(summary: dict[str, Any]) -> list[str]:
    points = summary["points"]
    runs = sum(point["n_runs"] for point in points)
    searched = sum(source == "tabu search" for source in summary["targets"].values())
    beaten = len(summary["targets_beaten"])
    wide = f"{len(summary['too_wide'])} of {len(points)}"
    lines = {
        f"{summary['device']}: {len(points)} points, {runs} runs. {INTERVALS}": True,
        MACHINES: bool(summary["machine_seeds"]),
        BOUNDS: any(point["is_bounded"] for point in points),
        f"The targets of {searched} models are the best of a tabu search, not proved.": searched,
        f"Runs of {beaten} models were lower than their target: give better targets.": beaten,
        ROUNDED: any("rounded" in point for point in points),
        DRIVER: points[0]["r99"] is not None and summary["run_s_from"] == "driver",
        CUT: _is_cut(points),
        f"{wide} intervals are wider than was asked for.": not summary["is_complete"],
    }
    return [line for line, is_so in lines.items() if is_so]


def _is_cut(points: Sequence[dict[str, Any]]) -> bool:
    """Return whether there are more panels, or more curves in them, than are drawn."""
    _, *others = _varied(points)
    panels = len(_groups(points, others[1:]))
    return panels > MAX_PANELS or len(_groups(points, others[:1])) > MAX_LINES


def _cliff(found: dict[str, Any]) -> str:
    at = ", ".join(f"{name} = {level_text(level)}" for name, level in found["at"].items())
    what = f"{found['factor']}{', ' + at if at else ''}: success crosses {found['threshold']:g}"
    if found["level"] is None:
        return f"{what} nowhere between the levels"
    return f"{what} at {found['level']:.4g}, between {found['low']:.4g} and {found['high']:.4g}"


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<h2>{title}</h2><ul>{items}</ul>"


def _table(summary: dict[str, Any]) -> str:
    points = summary["points"]
    is_stated = {str(found["at"]): found["is_bracketed"] for found in summary["time_to_solution"]}
    columns = ["figure", "95 %", "R99", "95 %", "TTS, s", "95 %", "gap", "models", "runs"]
    rows = [_cells(p, is_stated=is_stated.get(str(_without_length(p)), False)) for p in points]
    return _tabulated("Points", [*points[0]["factors"], *columns], rows)


def _tabulated(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    lines = ["".join(f"<td>{html.escape(value)}</td>" for value in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<h2>{title}</h2><div class='wide'><table><tr>{head}</tr>{body}</table></div>"


def _without_length(point: dict[str, Any]) -> dict[str, float]:
    return {name: level for name, level in point["factors"].items() if name != "round_trips"}


def _levels(point: dict[str, Any]) -> list[str]:
    return list(map(level_text, point["factors"].values()))


def _cells(point: dict[str, Any], *, is_stated: bool) -> list[str]:
    values = [f"{point['success_probability']:.3f}", f"{point['low']:.3f} – {point['high']:.3f}"]
    if point["r99"] is None:  # of a training
        values += [""] * 5
    else:
        values += [f"{point['r99']:.3g}", f"{point['r99_low']:.3g} – {point['r99_high']:.3g}"]
        values += _time(point, is_stated=is_stated)
        values += [f"{point['energy_gap']:.2%}"]
    return [*_levels(point), *values, str(point["n_instances"]), str(point["n_runs"])]


def _time(point: dict[str, Any], *, is_stated: bool) -> list[str]:
    """Return the time to solution; of a length of which the best is not known, its bound."""
    if not is_stated:
        return [f"≤ {point['tts_high']:.3g}", "a bound only"]
    return [f"{point['tts']:.3g}", f"{point['tts_low']:.3g} – {point['tts_high']:.3g}"]


def _quantiles(points: Sequence[dict[str, Any]]) -> str:
    """Return the quantiles of R99 over models."""
    if not points[0].get("r99_quantiles"):
        return ""
    rows = [
        [*_levels(point), *itertools.chain(*map(_quantile, point["r99_quantiles"]))]
        for point in points
    ]
    quantiles = [f"{100 * found['quantile']:g} %" for found in points[0]["r99_quantiles"]]
    columns = itertools.chain(*((f"R99 of {name}", "95 %") for name in quantiles))
    return _tabulated("Quantiles over models", [*points[0]["factors"], *columns], rows)


def _quantile(found: dict[str, Any]) -> tuple[str, str]:
    if found["low"] is None:
        return f"{found['r99']:.3g}", TOO_FEW
    return f"{found['r99']:.3g}", f"{found['low']:.3g} – {found['high']:.3g}"
