"""A whole study: rows, cliffs, and what they say, in a folder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cim_hal.atomic_files import replace_text
from cim_hal.study.cliffs import cliff_of, figure_at, next_level, others_of, places_of, takes_whole
from cim_hal.study.control import control_summary, measure_control
from cim_hal.study.figures import FIGURES
from cim_hal.study.folder import (
    draw_apart,
    draw_models,
    keep_machines,
    prepare_folder,
    sole_study,
)
from cim_hal.study.plan import read_study
from cim_hal.study.retuning import retune, retuned_summary
from cim_hal.study.row_checks import check_rows
from cim_hal.study.rows import Row, RowFile, export_csv, export_parquet, writing
from cim_hal.study.summary import summary
from cim_hal.study.sweep import Sweep

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from cim_hal.study.plan import Cliff, Point, Study

__all__ = ["SUMMARY", "plain", "run_study"]

SUMMARY = "summary.json"

Report = Callable[[Row, int, int], None]


def run_study(
    file: str | Path,
    folder: str | Path,
    *,
    targets: Sequence[str] = (),
    jobs: int = 1,
    resume: bool = False,
    csv: bool = False,
    report: Report = lambda *_: None,
    keys: Mapping[str, Any] | None = None,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Run a study, and return what is in its ``summary.json``.

    Parameters
    ----------
    file : path
        Study file.
    folder : path
        Where rows come as their jobs end, then a table of them and the summary.
    targets : sequence of targets
        Machines that share the jobs, instead of that of the study.
    jobs : int
        Jobs at a time on each machine.
    resume : bool
        Whether to go on with the rows that are there.
    csv : bool
        Whether to write the table as CSV too; without the extra `parquet` it is CSV anyhow.
    report : callable
        Called after each job with its row, the number of rows, and how many are known to come.
    keys : mapping, optional
        `key` and `server_key` of `open_device`, for servers that ask for them.
    executor : concurrent.futures.Executor, optional
        What runs the jobs, instead of threads here: processes, or machines of a cluster, such as
        ``client.get_executor()`` of Dask. Each opens the machine anew; `jobs` is not used.

    Raises
    ------
    StudyError
        The study file is not right, or asks for what the machine cannot do; the folder holds rows
        of another study, or rows that are not to be resumed; another study runs there; it cannot
        be written, and the rows that are there are kept.
    CimError
        As of `open_device` and `Session.sample`; the rows that are there are kept.
    """
    file, folder = Path(file), Path(folder)
    study = read_study(file)
    how: dict[str, Any] = {"targets": targets, "jobs": jobs, "keys": keys, "executor": executor}
    with sole_study(folder):
        prepare_folder(study, file, folder, resume=resume)
        rows, found = _measure(study, folder, report, **how)
        with writing(folder):
            _write(rows, found, folder, csv=csv)
    return found


def _measure(
    study: Study, folder: Path, report: Report, **how: Any
) -> tuple[dict[str, Row], dict[str, Any]]:
    """Return the rows of a study in one order, and what is in its ``summary.json``."""
    instances, apart = list(draw_models(study, folder)), list(draw_apart(study))
    with Sweep(study, instances, apart=apart, **how) as machines:
        with writing(folder):
            devices = keep_machines(folder, machines.capabilities, machines.targets)
            rows = RowFile(folder)
        try:
            check_rows(machines, rows.rows.values(), devices)
            points = list(study.points())
            machines.run(rows, points, report)
            _bisect(machines, rows, points, report)
            best = retune(machines, rows, points, report)
            measure_control(machines, rows, points, report)
        finally:
            rows.close()
        # in one order, as sums of floating-point numbers depend on it
        ordered = dict(sorted(rows.rows.items()))
        found = summary(machines, ordered, points)
        found["control"] = control_summary(machines, ordered, points)
        found["retuned"] = retuned_summary(machines, ordered, best, found["verdicts"])
    return ordered, found


def _write(rows: dict[str, Row], found: dict[str, Any], folder: Path, *, csv: bool) -> None:
    """Write the tables and the summary."""
    table = list(rows.values())
    if export_parquet(table, folder) is None or csv:
        export_csv(table, folder)
    text = json.dumps(plain(found), indent=1, allow_nan=False)
    replace_text(folder / SUMMARY, f"{text}\n")


def _bisect(machines: Sweep, rows: RowFile, points: list[Point], report: Report) -> None:
    """Measure points between levels, and add them, until each cliff is known to its resolution.

    What is measured for one cliff may move another at the same place: none is left open.
    """
    places = [
        (one, others) for one in machines.study.cliff for others in places_of(machines.study, one)
    ]
    n_before = None
    while n_before != len(points):
        n_before = len(points)
        for cliff, others in places:
            while point := _point_between(machines, rows, points, cliff, others):
                machines.run(rows, [point], report)
                points.append(point)


def _point_between(
    machines: Sweep, rows: RowFile, points: Sequence[Point], cliff: Cliff, others: Point
) -> Point | None:
    """Return the point to measure next for a cliff; None where there is none to measure."""
    study = machines.study
    name = study.figure_of(cliff)
    known = {
        float(dict(point)[cliff.factor]): value
        for point in points
        if others_of(dict(point), cliff.factor) == others
        and (value := figure_at(machines, point, rows.rows, name))
    }
    found = cliff_of(known, cliff.threshold, FIGURES[name].enough)
    is_whole = takes_whole(machines, cliff.factor)
    level = found and next_level(found, cliff, study.numbers(cliff.factor), is_whole=is_whole)
    point = None if level is None else _with(study, others, cliff.factor, level)
    return None if point in points else point  # its figure is not known, and will not be


def _with(study: Study, others: Point, name: str, level: float) -> Point:
    levels = {**dict(others), name: level}
    return tuple((factor, levels[factor]) for factor in study.factors)


def plain(value: Any) -> Any:
    """Return a value that JSON has: an infinite number becomes a text, NaN null."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else f"{value}"
    return value
