"""The report of a study: its picture and what it says, one HTML file without a network."""

from __future__ import annotations

import html
import io
import itertools
import json
from collections.abc import Sequence
from math import inf
from typing import Any

from cim_hal.cli.sweep_figure import MAX_MAPS, MAX_PANELS, figure_of, is_cut
from cim_hal.study.figures import FIGURES
from cim_hal.study.plan import level_text
from cim_hal.study.quantiles import TOO_FEW
from cim_hal.text import counted, printable

__all__ = ["report"]

INTERVALS = (
    "Intervals are of 95 %, models are clusters: they hold for all models of the kind from which "
    "these were drawn."
)
OF_TRAININGS = "Intervals are of 95 % and hold for all trainings of the kind, whatever their seed."
BOUNDS = (
    "Where runs say nothing about how {0}s differ ({1}), the interval is a bound that takes one "
    "observation from each {0}."
)
ERRORS = (
    "Each kind of verdict (degrades, improves, as good) has Holm's correction over the study: the "
    "stated error of each is 5 % of studies. As good is wrong more often where few models lose "
    "much (docs/explanation/intervals.md says how often). The intervals beside them have none, so "
    "one without zero may stand beside undecided. Undecided is no statement."
)
CONTROLS = (
    "Better and worse have Holm's correction over the study: the stated error is 5 % of "
    "studies (docs/explanation/intervals.md); the intervals beside them have none. Undecided is "
    "no statement."
)
MACHINES = (
    "Machines are drawn as models are: intervals hold for all machines of the kind too. Quantiles "
    "over models are not told, for each machine has its own."
)
ROUNDED = (
    "The thick pale line is the success of an exact optimizer of the rounded model. It is no bound "
    "for the machine, whose runs are ranked by the energies of the model itself: an excited state "
    "of the rounded model may be the optimum. The dotted line is the share of models whose optimum "
    "is among the ten lowest states of the rounded one. Both are marks only where numbers of bits "
    "between them were not measured. Where couplings are disturbed it is so in their levels, as "
    "the mean over machines that are drawn."
)
CUT = f"Of the panels {MAX_PANELS} are drawn, of maps {MAX_MAPS}; all points are in the table."
NO_GAP = (
    "The gap is a share of the size of the target: a point has none if the target of a model is 0."
)
FAMILIES = (
    "Models are of several kinds or sizes. The figures of the points, the curves and the verdicts "
    'are of all together, as of one kind: see the table of each kind. With model = "each" in '
    "[factors], each has all figures of its own."
)
DRIVER = (
    "The machine does not say how long a round trip takes: the time of a run is what its driver "
    "took, the median over jobs."
)

STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
figure { margin: 1.5rem 0; background: #fff; border-radius: 6px; overflow-x: auto }
svg { max-width: 100%; min-width: var(--least); height: auto }
.wide { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; text-align: right; white-space: nowrap }
tr { border-bottom: 1px solid #8886 }
pre { overflow-x: auto; border: 1px solid #8886; padding: .7rem; border-radius: 6px }
@media print { body { max-width: none } svg { min-width: 0 } }
"""


# ---- the page -------------------------------------------------------------------------------


def report(summary: dict[str, Any], study: str) -> dict[str, bytes]:
    """Return the files of the report by their suffixes: a page, and its picture as SVG and PNG.

    `study` is the text of the study file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    # Not by `savefig`, which draws each twice, and lays it out twice: that takes most of the time.
    figure, png, svg = figure_of(summary), io.BytesIO(), io.StringIO()
    FigureCanvasAgg(figure).print_png(png)
    figure.set_layout_engine("none")  # the layout is kept
    FigureCanvasSVG(figure).print_svg(svg)
    page = _page(summary, study, svg.getvalue(), width=figure.get_figwidth())
    return {"html": page.encode(), "svg": svg.getvalue().encode(), "png": png.getvalue()}


def _page(summary: dict[str, Any], study: str, svg: str, width: float) -> str:
    """Return the page; `width` is that of the picture, in inches."""
    title = html.escape(printable(summary["study"]))
    machines = json.dumps(summary["machines"] or summary["machine"], indent=1)
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<style>{STYLE}</style><h1>{title}</h1>",
        *(f"<p>{html.escape(line)}</p>" for line in _facts(summary)),
        # on a phone it is as wide as its letters need, and scrolls
        f"<figure style='--least: {4 * width:.1f}rem'>{svg[svg.index('<svg') :]}</figure>",
        _list("Safe region", [summary["safe"]["verdict"]] if summary["safe"] else []),
        _list("Time to solution", [found["verdict"] for found in summary["time_to_solution"]]),
        _list("Verdicts", [found["verdict"] for found in summary["verdicts"]], ERRORS),
        _list("Against the control", [found["verdict"] for found in summary["control"]], CONTROLS),
        _list("Where other settings suit each level", summary["retuned"].get("warnings", [])),
        _list("Cliffs", [found["verdict"] for found in summary["cliffs"]]),
        _table(summary),
        _families(summary["points"]),
        _quantiles(summary["points"]),
        f"<h2>The study</h2><pre>{html.escape(study)}</pre>",
        f"<h2>The machine</h2><pre>{html.escape(machines)}</pre>",
        f"<h2>How it was made</h2><p>{html.escape(_made(summary))}</p></html>",
    ]
    return "\n".join(parts)


def _facts(summary: dict[str, Any]) -> list[str]:
    points = summary["points"]
    runs = sum(point["n_runs"] for point in points)
    size = f"{counted(runs, 'run', ',')}. {INTERVALS}"
    if _is_of_trainings(summary):
        size = f"{counted(points[0]['n_instances'], 'training')} at each. {OF_TRAININGS}"
    searched = sum(source == "tabu search" for source in summary["targets"].values())
    beaten = len(summary["targets_beaten"])
    wide = f"{len(summary['too_wide'])} of {len(points)}"
    lines = {
        f"{summary['device']}: {counted(len(points), 'point')}, {size}": True,
        MACHINES: bool(summary["machine_seeds"]),
        **_bounds(summary),
        f"The targets of {counted(searched, 'model')}"
        f" are the best of a tabu search, not proved.": searched,
        f"Runs of {counted(beaten, 'model')}"
        f" were lower than their target: give better targets.": beaten,
        ROUNDED: any("rounded" in point for point in points),
        DRIVER: not _is_of_trainings(summary) and summary["run_s_from"] == "driver",
        FAMILIES: any(point["families"] for point in points),
        NO_GAP: not _is_of_trainings(summary) and any(p["energy_gap"] is None for p in points),
        CUT: is_cut(summary),
        f"{wide} intervals are wider than was asked for.": not summary["is_complete"],
    }
    return [line for line, is_so in lines.items() if is_so]


def _bounds(summary: dict[str, Any]) -> dict[str, bool]:
    """Return why intervals are bounds, and whether some are for that reason."""
    bounded = [point for point in summary["points"] if point["is_bounded"]]
    single = [point for point in bounded if point["n_instances"] == 1]
    one, why = "model", "none succeeds, or none fails"
    if _is_of_trainings(summary):
        one, why = "training", "no answer is right, or none is wrong"
    elif summary["machine_seeds"]:
        why = "fewer than ten models, or machines, have a success and a failure"
    return {
        BOUNDS.format(one, f"there is one {one} only"): bool(single),
        BOUNDS.format(one, why): len(bounded) > len(single),
    }


def _is_of_trainings(summary: dict[str, Any]) -> bool:
    return summary["points"][0]["r99"] is None


def _made(summary: dict[str, Any]) -> str:
    return (
        f"Rows by {'; '.join(summary['software'])}. cim-hal sweep --row N DIR runs the job of a "
        "row again, and says whether it gave the same."
    )


def _list(title: str, lines: Sequence[str], note: str = "") -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    note = f"<p>{html.escape(note)}</p>" if note else ""
    return f"<h2>{title}</h2><ul>{items}</ul>{note}"


def _table(summary: dict[str, Any]) -> str:
    points = summary["points"]
    is_stated = {str(found["at"]): found["is_bracketed"] for found in summary["time_to_solution"]}
    columns = ["figure", "95 %", "R99", "95 %", "TTS, s", "95 %"]
    columns += ["gap", "95 %", "different samples of a job", "95 %", "models", "runs"]
    if _is_of_trainings(summary):
        columns = ["accuracy", "95 %", "infeasibility", "95 %", "calls", "95 %"]
        columns += ["trainings", "test samples of all"]
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
    values = _share(point)
    if point["r99"] is not None:  # else of a training
        values += [f"{point['r99']:.3g}", f"{point['r99_low']:.3g} – {point['r99_high']:.3g}"]
        values += _time(point, is_stated=is_stated)
        values += _gap(point)
        values += _different(point)
    else:
        values += [*_mean(point, "infeasibility"), *_mean(point, "calls")]
    return [*_levels(point), *values, str(point["n_instances"]), str(point["n_runs"])]


def _share(found: dict[str, Any]) -> list[str]:
    return [f"{found['success_probability']:.3f}", f"{found['low']:.3f} – {found['high']:.3f}"]


def _mean(point: dict[str, Any], name: str) -> list[str]:
    """Return a figure of trainings, or why there is none."""
    value, low, high = (point[key] for key in FIGURES[name].keys)
    if value is None:
        return ["none", point["no_infeasibility"] if name == "infeasibility" else ""]
    ends = f"{low:.3g} – {high:.3g}" if high < inf else _not_known(value, "training")
    return [f"{value:.3g}", ends]


def _gap(point: dict[str, Any]) -> list[str]:
    if point["energy_gap"] is None:
        return ["none", "target 0"]
    value, low, high = (point[key] for key in FIGURES["energy_gap"].keys)
    ends = f"{low:.2%} – {high:.2%}" if high < inf else _not_known(value, "model")
    return [f"{value:.2%}", ends]


def _not_known(value: float, one: str) -> str:
    """Return why the interval of a mean has no upper end."""
    if value <= 0:
        return "not known: none is above 0"
    return f"not known: there is one {one} only"


def _different(point: dict[str, Any]) -> list[str]:
    value, low, high = (point[f"configurations{end}"] for end in ("", "_low", "_high"))
    return [f"{value:.3g}", f"{low:.3g} – {high:.3g}"]


def _time(point: dict[str, Any], *, is_stated: bool) -> list[str]:
    """Return the time to solution; of a length of which the best is not known, its bound."""
    if not is_stated:
        has_end = point["tts_high"] < inf
        return (
            [f"≤ {point['tts_high']:.3g}", "a bound only"]
            if has_end
            else ["not known", "no upper end"]
        )
    return [f"{point['tts']:.3g}", f"{point['tts_low']:.3g} – {point['tts_high']:.3g}"]


def _families(points: Sequence[dict[str, Any]]) -> str:
    """Return the figure of each kind of models."""
    rows = [
        [*_levels(point), each["name"], str(each["n_instances"]), *_share(each)]
        for point in points
        for each in point["families"]
    ]
    columns = [*points[0]["factors"], "kind", "models", "figure", "95 %"]
    return _tabulated("Each kind of models", columns, rows) if rows else ""


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
