"""``cim-hal sweep``: how success on a machine depends on its settings, with intervals."""

from __future__ import annotations

from operator import mul
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from cim_hal.cli.common import (
    json_option,
    key_options,
    print_json,
    print_table,
    progress_on,
    refuse_keys,
    whole_file,
)
from cim_hal.console import say, signs_of_life
from cim_hal.errors import StudyError, TargetError
from cim_hal.extras import require_extra
from cim_hal.option_types import COUNT, MAX_COUNT, OutputFolder, Target
from cim_hal.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cim_hal.machine.config import MachineConfig
    from cim_hal.study.plan import Point, Study
    from cim_hal.study.rows import Row
    from cim_hal.study.sweep import Sweep

__all__ = ["sweep"]

POOLED = (
    "models are of several kinds or sizes, and these figures of all together: the report has a "
    'table of each kind, and model = "each" in [factors] tells them apart in all figures'
)
TOO_WIDE = 3  # exit status where an interval stayed wider than was asked for


@click.command()
@click.argument(
    "study_paths",
    metavar="STUDY.toml...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
)
@click.option(
    "--out",
    "folder",
    type=OutputFolder(),
    metavar="DIR",
    help="Folder of the rows, the summary and the report; of several studies one in it for each.",
)
@click.option("--resume", is_flag=True, help="Go on with the rows that are in the folder.")
@click.option(
    "--jobs", type=COUNT, default=1, show_default=True, help="Jobs at a time on a machine."
)
@click.option(
    "--device",
    "devices",
    type=Target(),
    multiple=True,
    help="Machine instead of that of the study; several share the jobs.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and end.")
@click.option("--csv", "as_csv", is_flag=True, help="Write the rows as CSV too.")
@click.option(
    "--row",
    "number",
    type=click.IntRange(0, MAX_COUNT),
    help="Run the job of a row of a DIR again.",
)
@key_options
@json_option
def sweep(
    *,
    study_paths: tuple[Path, ...],
    folder: Path | None,
    resume: bool,
    jobs: int,
    devices: tuple[MachineConfig, ...],
    dry_run: bool,
    as_csv: bool,
    number: int | None,
    key: Path | None,
    server_key: str | None,
    as_json: bool,
) -> None:
    """Run the study STUDY.toml: models times levels of factors, with intervals and a report.

    Rows are written as they come; Ctrl-C keeps them, and --resume goes on. Several studies run one
    after the other. The status is 3 if an interval stayed wider than the study asks for.

    \b
    Examples:
      cim-hal sweep bits.toml --out bits
      cim-hal sweep bits.toml noise.toml --out both --resume --device tcp://cim.lab:5555
      cim-hal sweep --row 17 bits
    """  # noqa: D301
    from cim_hal.study.plan import read_study
    from cim_hal.study.run import plain

    keys = {"key": key, "server_key": server_key}
    if number is not None:
        if len(study_paths) != 1:
            raise click.UsageError("--row takes one DIR.")
        for path in study_paths:
            _again(path, number, devices, keys, as_json=as_json)
        return
    if folder is None and not dry_run:
        raise click.UsageError("Missing option '--out'.")
    studies = {path: read_study(path) for path in study_paths}  # any is refused before all
    refuse_keys(*(devices or _machines_of(studies.values())))
    found = dict[str, Any]()
    for path, place in _folders(study_paths, folder).items():
        if place is None or dry_run:
            found[path.stem] = _plan(studies[path], path.parent, devices, keys)
        else:
            options = {"jobs": jobs, "resume": resume, "csv": as_csv, "keys": keys}
            found[path.stem] = _measure(path, place, targets=devices, **options)
        if not as_json:
            _show(found[path.stem], place) if place and not dry_run else _say_plan(found[path.stem])
    if as_json:
        print_json(plain(found if len(found) > 1 else next(iter(found.values()))))
    if not all(each.get("is_complete", True) for each in found.values()):
        click.get_current_context().exit(TOO_WIDE)


def _machines_of(studies: Iterable[Study]) -> list[MachineConfig]:
    """Return the machines that studies name."""
    from cim_hal.machine.config import MachineConfig

    named = [[study.machine.device, *study.factors.get("device", ())] for study in studies]
    return [MachineConfig.of(str(name)) for names in named for name in names]


def _folders(paths: Sequence[Path], folder: Path | None) -> dict[Path, Path | None]:
    """Return where each study is kept: in the folder, or in one of its name if there are more."""
    if len({path.stem for path in paths}) < len(paths):
        raise click.UsageError("Two studies have one name, and would share a folder.")
    if folder is None or len(paths) == 1:
        return dict.fromkeys(paths, folder)
    return {path: folder / path.stem for path in paths}


def _measure(path: Path, folder: Path, **options: Any) -> dict[str, Any]:
    from cim_hal.study.run import run_study

    require_extra("matplotlib", "the report", TargetError)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    state = ["models and targets"]
    with (
        progress_on(Console(stderr=True), *columns, TimeRemainingColumn()) as bar,
        signs_of_life(path.stem, lambda: state[0]),
    ):
        task = bar.add_task(f"{path.stem}: models and targets", total=None)

        def report(_row: Row, done: int, known: int) -> None:
            state[0] = f"{done} of {counted(known, 'job')}"
            bar.update(task, completed=done, total=known, description=path.stem)

        try:
            found = run_study(path, folder, report=report, **options)
        except KeyboardInterrupt:
            say(f"the rows are kept in {folder}: go on with --resume", err=True)
            raise
    _draw(folder, found, path.read_text("utf-8"))
    return found


def _draw(folder: Path, found: dict[str, Any], study: str) -> None:
    from cim_hal.cli.sweep_report import report

    for suffix, content in report(found, study).items():
        with whole_file(folder / f"report.{suffix}") as file:
            file.write(content)


def _show(found: dict[str, Any], folder: Path) -> None:
    from cim_hal.study.plan import level_text

    names = list(found["points"][0]["factors"])
    rows = [
        [
            *(level_text(point["factors"][name]) for name in names),
            f"{point['success_probability']:.3f}",
            f"{point['low']:.3f} to {point['high']:.3f}",
            *_more(point).values(),
        ]
        for point in found["points"]
    ]
    columns = *names, found["figure"], "95 %", *_more(found["points"][0])
    print_table(*columns, rows=rows, title=found["study"])
    times = [f"time to solution: {one['verdict']}" for one in found["time_to_solution"]]
    lines = [one["verdict"] for one in found["verdicts"]]
    region = [found["safe"]["verdict"]] if found["safe"] else []
    is_pooled = any(point["families"] for point in found["points"])
    say(
        *([POOLED] if is_pooled else []),
        *region,
        *times,
        *(one["verdict"] for one in found["cliffs"]),
        *lines,
        *(one["verdict"] for one in found["control"]),
        *found["retuned"].get("warnings", ()),
        f"written: {folder / 'report.html'}",
    )


def _more(point: dict[str, Any]) -> dict[str, str]:
    """Return what a table has beside the first figure of a point."""
    if point["r99"] is not None:
        return {"R99": f"{point['r99']:.3g}", "runs": str(point["n_runs"])}
    return {name: _number(point[name]) for name in ("infeasibility", "calls")}


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


def _plan(
    study: Study, folder: Path, devices: Sequence[MachineConfig | str], keys: dict[str, Any]
) -> dict[str, Any]:
    from cim_hal.study.control import controls_of
    from cim_hal.study.folder import draw_models
    from cim_hal.study.sweep import Sweep

    instances = list(draw_models(study, folder, are_copies=False))
    with Sweep(study, instances, targets=devices, keys=keys) as machines:
        places = list(study.points())
        points = [one for point in places for one in machines.on_machines(point)]
        models = [len(machines.instances_at(point)) for point in points]
        runs = [n * _runs_at(study, point) for n, point in zip(models, points, strict=True)]
        plan = {
            "device": machines.capabilities.name,
            "points": len(places),
            "models": len(instances),
            "machines": max(len(study.machine.seeds), 1),
            "jobs": sum(models),
            "jobs_to_tune": 0,
            "jobs_tuned": 0,
            "control_jobs": len(controls_of(machines, points)) * len(instances),
            "has_cliffs": bool(study.cliff),
        }
        if study.train is not None:  # runs of a training depend on its recipe
            return plan | dict.fromkeys(("runs", "most_runs", "runs_to_tune", "machine_s"))
        seconds = [_run_s(machines, point) for point in points]
        limits = [study.repeat.most_runs(_runs_at(study, point)) for point in points]
        plan |= {"runs": sum(runs), "most_runs": sum(map(mul, models, limits)), "runs_to_tune": 0}
        plan["machine_s"] = None if None in seconds else sum(map(mul, runs, seconds))
        return plan | _tuning(study, plan)


def _tuning(study: Study, plan: dict[str, Any]) -> dict[str, Any]:
    """Return the jobs and runs that choosing settings anew adds; their seconds are not counted."""
    if study.nuisance is None or study.models is None:
        return {}
    from cim_hal.study.job_factors import MODEL

    drawn, points = study.models.drawn, list(study.points())
    each = study.nuisance.models * len(list(study.nuisance.choices()))
    kinds = [dict(point).get(MODEL) for point in points]
    trials = [each * (drawn.count(str(kind)) if kind else len(drawn)) for kind in kinds]
    runs = sum(n * _runs_at(study, point) for n, point in zip(trials, points, strict=True))
    return {
        "jobs_to_tune": sum(trials),
        "jobs_tuned": plan["jobs"],
        "runs_to_tune": runs,
        "runs": 2 * plan["runs"],
        "most_runs": 2 * plan["most_runs"],
        "machine_s": None,
    }


def _runs_at(study: Study, point: Point) -> int:
    from cim_hal.study.job_factors import runs_of

    return runs_of(dict(point), study.repeat.runs)


def _run_s(machines: Sweep, point: Point) -> Any:
    """Return seconds of the machine for a run, None where it does not say."""
    here = machines.capabilities_at(point)
    if here.round_trip_s is None:
        return None
    return float(dict(point).get("round_trips", here.default_round_trips)) * here.round_trip_s


def _say_plan(plan: dict[str, Any]) -> None:
    is_training = plan["runs"] is None
    machines = f" x {counted(plan['machines'], 'machine')}" if plan["machines"] > 1 else ""
    kind = "trainings" if is_training else "models"
    what = (
        f"{counted(plan['points'], 'point')} x {plan['models']} {kind}{machines} = {plan['jobs']} "
    )
    if plan["jobs"] != plan["points"] * plan["models"] * plan["machines"]:
        what = (
            f"{counted(plan['points'], 'point')}, "
            f"{counted(plan['models'], 'model')} of several kinds{machines}: "
        )
        what += f"{plan['jobs']} "
    what += "trainings" if is_training else "jobs"
    more = {
        f"{counted(plan['jobs_to_tune'], 'job')} to tune": plan["jobs_to_tune"],
        f"{counted(plan['jobs_tuned'], 'job')} at the settings that are chosen": plan["jobs_tuned"],
        f"{plan['control_jobs']} of the control": plan["control_jobs"],
        "those between levels for cliffs, which are not counted": plan["has_cliffs"],
    }
    say(f"{plan['device']}: {' + '.join([what, *(text for text, is_so in more.items() if is_so)])}")
    if not is_training:
        say(_runs_of_plan(plan))


def _runs_of_plan(plan: dict[str, Any]) -> str:
    seconds = "" if plan["machine_s"] is None else f", {plan['machine_s']:.3g} s of a real machine"
    tuning = f" and {plan['runs_to_tune']} to tune" if plan["runs_to_tune"] else ""
    limit = f"; at most {plan['most_runs']} until every interval is as narrow as asked for"
    is_limited = plan["most_runs"] > plan["runs"]
    return f"{counted(plan['runs'], 'run')}{tuning}{seconds}{limit if is_limited else ''}"


def _again(
    folder: Path,
    number: int,
    devices: Sequence[MachineConfig | str],
    keys: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    """Run the job of a row again, and say whether it gave the same."""
    from cim_hal.study.folder import STUDY, draw_apart, draw_models, target_of_row
    from cim_hal.study.plan import read_study
    from cim_hal.study.row_checks import check_rows
    from cim_hal.study.rows import differences, read_rows
    from cim_hal.study.sweep import Sweep, repeat_row

    study, rows = read_study(folder / STUDY), read_rows(folder)
    ordered = sorted(rows, key=lambda row: row.key)
    if number >= len(ordered):
        raise StudyError(
            f"{folder} has {counted(len(ordered), 'row')}, from 0 on: there is no row {number}"
        )
    instances, apart = list(draw_models(study, folder)), list(draw_apart(study))
    made_on = target_of_row(folder, ordered[number].device)
    devices = devices or (made_on,) if made_on else devices
    with Sweep(study, instances, apart=apart, targets=devices, keys=keys) as machines:
        check_rows(machines, [ordered[number]], [ordered[number].device])
        again = repeat_row(machines, ordered[number])
    other = differences(ordered[number], again)
    found = {"row": number, "is_same": not other, "differences": other}
    found |= {"spins_sha256": again.spins_sha256}
    if study.train is not None:
        found |= {"infeasibility": again.infeasibility, "calls": again.calls}
    if as_json:
        print_json(found)
    else:
        say(f"row {number}: {_repeated(again, other)}, {again.spins_sha256}")
    if other:
        click.get_current_context().exit(1)


def _repeated(again: Row, differences: Sequence[str]) -> str:
    """Return in what a job that was run again is the same, or another."""
    if differences:
        return f"other {' and '.join(differences)}"
    if again.calls is None:
        return "the same spins"
    infeasibility = again.infeasibility
    violated = "" if infeasibility is None else f", infeasibility {infeasibility:.3g}"
    return f"the same network, {counted(again.calls, 'call')}{violated}"
