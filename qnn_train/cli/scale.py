"""``qnn-train --method proximal``: all images, block by block, and on after an interruption."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from qnn_train.cli.output import folder_for, table, written
from qnn_train.scale import Cost, ScaleRun
from qnn_train.scale.picture import draw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qnn_train.cli.output import Machines
    from qnn_train.scale import Checkpoint, ScaleOutcome, ScaleProblem, ScaleReport
    from qnn_train.solve import ProximalStep

__all__ = ["describe_scale", "train_scale"]

BETWEEN_CHECKPOINTS_S = 2.0


def train_scale(
    problem: ScaleProblem,
    *,
    machines: Machines,
    coupling_bits: int | None,
    resume: Checkpoint | None,
    checkpoint: Path | None,
    out: Path | None,
    json_file: Path | None,
    quiet: bool,
) -> None:
    """Train, write model, report and picture, and print the summary."""
    folder = out or _default_folder(problem)
    kept = checkpoint or folder / "checkpoint.npz"
    with ExitStack() as stack:
        session = machines.connect(stack)
        run = ScaleRun(problem, session, coupling_bits=coupling_bits, resume=resume)
        stack.enter_context(folder_for(folder))
        try:
            _watch(run, _kept(run, kept), quiet=quiet)
            outcome = run.outcome()
            _write(outcome, folder, json_file)
        except KeyboardInterrupt:
            _stopped(run, kept)
            raise
    if checkpoint is None:
        kept.unlink(missing_ok=True)
    if not quiet and str(json_file) != "-":
        click.echo(_summary(outcome.report, folder))


def describe_scale(problem: ScaleProblem, *, machines: Machines) -> str:
    """Return what the training will take."""
    with ExitStack() as stack:
        cost = Cost.of(problem, machines.connect(stack).capabilities)
    return table(cost.rows())


def _default_folder(problem: ScaleProblem) -> Path:
    selection = problem.selection
    classes = "-".join(map(str, selection.classes))
    return Path("runs") / f"{selection.dataset}-{classes}-seed{problem.recipe.seed}"


def _kept(run: ScaleRun, path: Path) -> Iterator[ProximalStep]:
    """Make the steps, and leave a checkpoint every few seconds and where they end."""
    saved = time.monotonic()
    for step in run:
        if time.monotonic() - saved > BETWEEN_CHECKPOINTS_S:
            _save(run, path)
            saved = time.monotonic()
        yield step
    _save(run, path)


def _stopped(run: ScaleRun, path: Path) -> None:
    """Leave a checkpoint of the last step, if one was made, and say how to go on."""
    if run.done:
        _save(run, path)
        click.echo(
            f"stopped after {run.done} of {run.steps} steps; go on with: qnn-train --resume {path}",
            err=True,
        )


def _save(run: ScaleRun, path: Path) -> None:
    with written(path):
        run.checkpoint().save(path)


def _watch(run: ScaleRun, steps: Iterator[ProximalStep], *, quiet: bool) -> None:
    """Make the steps, with a bar on a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[calls]} calls, loss {task.fields[loss]:.4f}"),
        TextColumn("{task.fields[accuracy]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(
            "", total=run.steps, completed=run.done, calls=run.calls, loss=float("nan"), accuracy=""
        )
        for step in steps:
            bar.update(
                task,
                completed=run.done,
                calls=run.calls,
                loss=step.loss,
                accuracy=_accuracies(run),
            )


def _accuracies(run: ScaleRun) -> str:
    if not run.curve.calls:
        return ""
    train, held = run.curve.train_accuracy[-1], run.curve.validation_accuracy[-1]
    validation = "" if held is None else f", validation {100 * held:.2f} %"
    return f"best: train {100 * train:.2f} %{validation}"


def _write(outcome: ScaleOutcome, folder: Path, json_file: Path | None) -> None:
    with written(folder):
        outcome.model.save(folder / "model.npz")
        outcome.report.save(folder / "report.json")
        draw(outcome.report, folder / "training.png")
        if json_file is not None and str(json_file) != "-":
            outcome.report.save(json_file)
    if str(json_file) == "-":
        click.echo(outcome.report.to_json())


def _summary(report: ScaleReport, folder: Path) -> str:
    bits = "real" if report.coupling_bits is None else f"{report.coupling_bits}-bit"
    rows = [
        ("test accuracy", f"{100 * report.test_accuracy:.2f} %  of {report.n_test} images"),
        ("train accuracy", f"{100 * report.train_accuracy:.2f} %  of {report.n_train} images"),
    ]
    if report.validation_accuracy is not None:
        said = f"{100 * report.validation_accuracy:.2f} %  of {report.n_validation} images"
        rows.append(("validation", said))
    rows += [
        ("network", f"{report.network}, {report.bits_per_parameter:.2f} bits per parameter"),
        ("blocks", f"{report.blocks}, of at most {report.spins} spins"),
        ("machine", f"{report.device}, {bits} couplings, {report.oracle_calls} oracle calls"),
        ("seconds", f"{report.seconds:.1f}"),
        ("model", str(folder / "model.npz")),
        ("picture", str(folder / "training.png")),
    ]
    return table(rows)
