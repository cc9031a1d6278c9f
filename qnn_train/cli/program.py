"""``qnn-train`` with a method of `METHODS`: a program with constraints, whole or in parts."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from qnn_train.cli.carry import Command, Outputs
from qnn_train.cli.output import bar, summary, table
from qnn_train.program import ProgramSize
from qnn_train.training.methods import method_named
from qnn_train.training.picture import draw
from qnn_train.training.run import TrainingRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cim_hal import DevicePool, Session
    from qnn_train.cli.output import MachineOptions
    from qnn_train.training.checkpoint import ProgramCheckpoint
    from qnn_train.training.qcbo import TrainingStep
    from qnn_train.training.recipe import Preparation
    from qnn_train.training.report import RunReport

__all__ = ["describe_program", "train_program"]


def train_program(
    preparation: Preparation,
    *,
    machines: MachineOptions,
    iterations: int,
    runs: int,
    method: str,
    batch: int,
    pack: bool,
    coupling_bits: int | None,
    resume: ProgramCheckpoint | None,
    checkpoint: Path | None,
    out: Path | None,
    json_file: Path | None,
    quiet: bool,
) -> None:
    """Train, write model, report and picture, and print the summary."""

    def start(session: Session | DevicePool) -> TrainingRun:
        return TrainingRun(
            preparation,
            session,
            iterations=iterations,
            n_runs=runs,
            coupling_bits=coupling_bits,
            method=method,
            batch=batch,
            pack=pack,
            resume=resume,
        )

    folder = out or _default_folder(preparation, method)
    outputs = Outputs(folder, checkpoint, json_file, quiet)
    Command(start, _watch, draw, _summary).carry_out(machines, outputs)


def describe_program(
    preparation: Preparation,
    *,
    iterations: int,
    runs: int,
    machines: MachineOptions,
    method: str,
    batch: int,
) -> str:
    """Return what the training will take."""
    chosen = method_named(method, batch=batch, n_samples=runs, seed=0)
    with ExitStack() as stack:
        capabilities = machines.connect(stack).capabilities
    preparation.check_fits(capabilities, batch=chosen.batch)
    spins = preparation.spins_of(chosen.batch) + capabilities.field_spins
    size = ProgramSize.of(preparation.task.largest_part(chosen.batch))
    rows = [
        ("method", f"{method}: {chosen.about}"),
        ("network", str(preparation.architecture)),
        ("bits_per_parameter", f"{preparation.architecture.bits_per_parameter:.4g}"),
        ("n_train", str(len(preparation.chosen))),
        ("spins", str(spins)),
        ("couplings", f"at most {spins * (spins - 1) // 2}"),
        ("dynamic_range", f"{size.dynamic_range:.4g}"),
        ("calls", str(iterations)),
        ("runs", str(iterations * runs)),
    ]
    if capabilities.round_trip_s is not None:
        trips = iterations * runs * capabilities.default_round_trips
        rows.append(("machine_s", f"{trips * capabilities.round_trip_s:.4g}"))
    return table(rows)


def _default_folder(preparation: Preparation, method: str) -> Path:
    pair = preparation.pair
    first, second = pair.classes
    suffix = "" if method == "qcgd" else f"-{method}"
    return Path("runs") / f"{pair.dataset}-{first}-{second}-seed{preparation.recipe.seed}{suffix}"


def _watch(run: TrainingRun, steps: Iterator[TrainingStep], *, quiet: bool) -> None:
    """Make the steps, with a bar on a terminal."""
    columns = (
        "infeasibility {task.fields[infeasibility]:.3f}",
        "accuracy {task.fields[accuracy]:.2f} %",
    )
    with bar(*columns, quiet=quiet) as shown:
        task = shown.add_task(
            "",
            total=run.iterations,
            completed=run.calls,
            infeasibility=float("nan"),
            accuracy=0.0,
        )
        for step in steps:
            shown.update(
                task,
                completed=min(step.iterate.calls, run.iterations),
                infeasibility=step.iterate.infeasibility,
                accuracy=100 * step.best.accuracy,
            )


def _summary(report: RunReport, folder: Path) -> str:
    rows = [("method", report.method), ("program", _program(report))]
    if report.infeasibility is not None:
        rows.append(("infeasibility", f"{report.infeasibility:.3f}"))
    return summary(report, folder, trained=rows)


def _program(report: RunReport) -> str:
    images = f"{report.train_samples} training images"
    if report.batch is None:
        return f"{report.spins} spins, {images}"
    return f"{images} in parts of {report.batch} and at most {report.spins} spins"
