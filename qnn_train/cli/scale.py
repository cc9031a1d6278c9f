"""``qnn-train --method proximal``: all images, block by block, and on after an interruption."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from qnn_train.cli.carry import Command, Outputs
from qnn_train.cli.output import bar, summary, table
from qnn_train.training import Cost, ProximalRun
from qnn_train.training.proximal_picture import draw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cim_hal import DevicePool, Session
    from qnn_train.cli.output import MachineOptions
    from qnn_train.solve import ProximalStep
    from qnn_train.training import Checkpoint, ProximalProblem, ProximalReport

__all__ = ["describe_scale", "train_scale"]


def train_scale(
    problem: ProximalProblem,
    *,
    machines: MachineOptions,
    coupling_bits: int | None,
    resume: Checkpoint | None,
    checkpoint: Path | None,
    out: Path | None,
    json_file: Path | None,
    quiet: bool,
) -> None:
    """Train, write model, report and picture, and print the summary."""

    def start(session: Session | DevicePool) -> ProximalRun:
        return ProximalRun(problem, session, coupling_bits=coupling_bits, resume=resume)

    outputs = Outputs(out or _default_folder(problem), checkpoint, json_file, quiet)
    Command(start, _watch, draw, _summary).carry_out(machines, outputs)


def describe_scale(problem: ProximalProblem, *, machines: MachineOptions) -> str:
    """Return what the training will take."""
    with ExitStack() as stack:
        cost = Cost.of(problem, machines.connect(stack).capabilities)
    return table(cost.rows())


def _default_folder(problem: ProximalProblem) -> Path:
    selection = problem.selection
    classes = "-".join(map(str, selection.classes))
    return Path("runs") / f"{selection.dataset}-{classes}-seed{problem.recipe.seed}"


def _watch(run: ProximalRun, steps: Iterator[ProximalStep], *, quiet: bool) -> None:
    """Make the steps, with a bar on a terminal."""
    columns = (
        "{task.fields[calls]} calls, loss {task.fields[loss]:.4f}",
        "{task.fields[accuracy]}",
    )
    with bar(*columns, quiet=quiet) as shown:
        task = shown.add_task(
            "", total=run.steps, completed=run.done, calls=run.calls, loss=float("nan"), accuracy=""
        )
        for step in steps:
            shown.update(
                task,
                completed=run.done,
                calls=run.calls,
                loss=step.loss,
                accuracy=_accuracies(run),
            )


def _accuracies(run: ProximalRun) -> str:
    if not run.curve.calls:
        return ""
    train, held = run.curve.train_accuracy[-1], run.curve.validation_accuracy[-1]
    validation = "" if held is None else f", validation {100 * held:.2f} %"
    return f"best: train {100 * train:.2f} %{validation}"


def _summary(report: ProximalReport, folder: Path) -> str:
    measured = []
    if report.validation_accuracy is not None:
        said = f"{100 * report.validation_accuracy:.2f} %  of {report.n_validation} images"
        measured.append(("validation", said))
    blocks = f"{report.blocks}, of at most {report.spins} spins"
    return summary(report, folder, measured=measured, trained=[("blocks", blocks)])
