"""What every training command does: train, keep checkpoints, write what was found, say it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cim_hal import DevicePool, MachineConfig, Session, open_device, spawn_server
from cim_hal.atomic_files import replace_text
from cim_hal.console import say, signs_of_life
from cim_hal.study import Interval, wilson
from cim_hal.text import counted
from cim_hal.user_config import read_user_config
from qnn_train.cli.options import DEFAULT_CLASSES, RunOptions
from qnn_train.data import Dataset, load_digits, load_fashion_mnist
from qnn_train.data.fashion_mnist import data_directory, download
from qnn_train.errors import TrainingError
from qnn_train.evaluation import generalization_gap
from qnn_train.method_names import MACHINE, ORACLES, WAITS
from qnn_train.training.checkpoint import MAY_CHANGE, Checkpoint
from qnn_train.training.oracles import capabilities_of
from qnn_train.training.picture import draw
from qnn_train.training.recipe import PROXIMAL, ProximalRecipe, Recipe
from qnn_train.training.report import Outcome, RunReport
from qnn_train.training.run import TrainingRun, problem_of

if TYPE_CHECKING:
    AnyRecipe = Recipe | ProximalRecipe
    MakeRecipe = Callable[[str, int, dict[str, Any]], AnyRecipe]

__all__ = [
    "bar",
    "carry_out",
    "connect",
    "folder_for",
    "gap_text",
    "hardness_rows",
    "machines_of",
    "tell_cost",
    "two_columns",
    "written",
]

BETWEEN_CHECKPOINTS_S = 2.0
FIELDS = {"runs": "n_runs"}  # options that have another name than the field of a recipe


def machines_of(
    oracle: str,
    default: str,
    *,
    named: Sequence[MachineConfig],
    texts: Mapping[str, str],
    copies: int,
    polish: bool | None,
) -> tuple[MachineConfig, ...]:
    """Return the machines to open: those named, else that of the user's file, else a default.

    None where the oracle is on the host; options of machines, and a polish of their samples, are
    refused then.
    """
    if oracle == MACHINE:
        return tuple(named) or (MachineConfig.of(read_user_config().device or default),)
    if named or texts or copies > 1:
        raise click.UsageError(
            f"--oracle {oracle} needs no machine; leave out --device, its options and --machines"
        )
    if polish:
        raise click.UsageError(f"--polish is for samples of a machine, not --oracle {oracle}")
    return ()


def connect(
    devices: Sequence[MachineConfig],
    stack: ExitStack,
    *,
    copies: int = 1,
    texts: Mapping[str, str],
) -> Session | DevicePool | None:
    """Open a session with one machine, or a pool of several or of copies of a named driver.

    Drivers are built with the options that `texts` name. None without a machine.
    """
    if not devices:
        return None
    devices = [MachineConfig.of(device, texts=dict(texts)) for device in devices]
    if copies > 1:
        (device, *others) = devices
        if others or device.is_endpoint:
            raise click.UsageError("--machines starts copies of one driver, named by --device")
        return stack.enter_context(DevicePool.local(device, machines=copies))
    targets = [
        device if device.is_endpoint else stack.enter_context(spawn_server(device)).endpoint
        for device in devices
    ]
    if len(targets) > 1:
        return stack.enter_context(DevicePool(targets))
    return stack.enter_context(open_device(targets[0]))


def _connect(
    devices: Sequence[MachineConfig], options: RunOptions, stack: ExitStack
) -> Session | DevicePool | None:
    return connect(devices, stack, copies=options.machines, texts=options.option_texts)


def carry_out(
    options: RunOptions, changes: dict[str, Any], make_recipe: MakeRecipe, *, default_device: str
) -> None:
    """Train, write model, report and picture, and print the summary.

    The recipe is made of dataset, number of classes, and the options of recipes that were given.
    A UsageError says which options do not fit together.
    """
    try:
        resume = _load_checkpoint(options, changes)
        changes = {FIELDS.get(name, name): value for name, value in changes.items()}
        dataset = _load(options, "digits" if resume is None else resume.dataset)
        classes = options.classes or DEFAULT_CLASSES[dataset.name]
        if resume is not None:
            classes = resume.classes
        selection = dataset.select(None if isinstance(classes, str) else classes)
        if resume is None:
            recipe = make_recipe(dataset.name, len(selection.classes), changes)
        else:
            recipe = replace(resume.recipe, **changes)
        problem = problem_of(recipe, selection, init=options.init)
        device = default_device if resume is None else str(resume.machine["device"])
        devices = machines_of(
            recipe.oracle,
            device,
            named=options.device,
            texts=options.option_texts,
            copies=options.machines,
            polish=changes.get("polish"),
        )
        if options.dry_run:
            with ExitStack() as stack:
                stack.enter_context(_told_steps(recipe.oracle, quiet=options.quiet))
                session = _connect(devices, options, stack)
                rows = problem.cost(capabilities_of(recipe, session))
            tell_cost(rows, options.json_file)
        else:
            _train(problem, resume, devices, options)
    except TrainingError as error:
        raise click.UsageError(str(error)) from None


def _load_checkpoint(options: RunOptions, changes: dict[str, Any]) -> Checkpoint | None:
    """Return the checkpoint to go on from, and refuse options that would change the training."""
    if options.resume is None:
        return None
    given = {"dataset": options.dataset, "classes": options.classes}
    for name in [*changes, *(name for name, value in given.items() if value is not None)]:
        if name not in MAY_CHANGE:
            raise click.UsageError(f"--{name.replace('_', '-')} cannot change what is resumed")
    found = Checkpoint.load(options.resume)
    for name in changes:
        if not hasattr(found.recipe, name):
            raise click.UsageError(f"--{name} is no option of the method {found.recipe.method}")
    return found


def _load(options: RunOptions, default: str) -> Dataset:
    if (options.dataset or default) == "digits":
        return load_digits()
    directory = data_directory(options.data_dir)
    if options.fetch:
        download(directory)
    return load_fashion_mnist(directory)


def _train(
    problem: Any,
    resume: Checkpoint | None,
    devices: Sequence[MachineConfig],
    options: RunOptions,
) -> None:
    folder = options.out or _default_folder(problem.recipe, *problem.subject)
    kept = options.checkpoint or options.resume or folder / "checkpoint.npz"
    with ExitStack() as stack:
        tell = stack.enter_context(_told_steps(problem.recipe.oracle, quiet=options.quiet))
        run = TrainingRun(problem, _connect(devices, options, stack), resume=resume)
        tell.append(run)
        stack.enter_context(folder_for(folder))
        try:
            _make_steps(run, kept, quiet=options.quiet)
            outcome = run.outcome()
            _write(outcome, folder, options.json_file)
        except KeyboardInterrupt:
            _stopped(run, kept, options.init)
            raise
    if options.checkpoint is None and options.resume is None:
        kept.unlink(missing_ok=True)
    if not options.quiet and str(options.json_file) != "-":
        say(*_summary(outcome.report, folder))


def tell_cost(rows: Sequence[tuple[str, str]], json_file: Path | None) -> None:
    """Print what a training would take; as JSON to a file, and then nothing to ``-`` but that."""
    text = json.dumps(dict(rows), indent=2)
    if json_file is not None and str(json_file) != "-":
        with written(json_file):
            replace_text(json_file, f"{text}\n")
    say(*(text.split("\n") if str(json_file) == "-" else two_columns(rows)))


@contextmanager
def _told_steps(oracle: str, *, quiet: bool) -> Iterator[list[TrainingRun[Any]]]:
    """Yield a list to which the training is appended once it has begun; tell how it goes."""
    runs: list[TrainingRun[Any]] = []

    def state() -> str:
        for run in runs:
            done, total = run.stepper.progress
            status = run.stepper.status() if done else WAITS[oracle]
            return ", ".join(filter(None, (f"{done} of {total}", status)))
        return "preparing"

    with signs_of_life("training", state, quiet=quiet):
        yield runs


def _default_folder(recipe: AnyRecipe, dataset: str, classes: tuple[int, ...]) -> Path:
    suffix = "" if recipe.method in {"qcgd", PROXIMAL} else f"-{recipe.method}"
    return Path("runs") / f"{dataset}-{'-'.join(map(str, classes))}-seed{recipe.seed}{suffix}"


def _make_steps(run: TrainingRun[Any], path: Path, *, quiet: bool) -> None:
    """Make the steps with a progress bar; leave a checkpoint every few seconds and at the end."""
    saved = time.monotonic()
    with bar(quiet=quiet) as show:
        for _ in run:
            if time.monotonic() - saved > BETWEEN_CHECKPOINTS_S:
                _save(run, path)
                saved = time.monotonic()
            show(*run.stepper.progress, run.stepper.status())
    _save(run, path)


@contextmanager
def bar(*, quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """Show a progress bar on a terminal; yield what brings it up to date.

    That takes the number of steps made, of all steps, and a few words.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[status]}"))
    disabled = quiet or not console.is_terminal
    with Progress(
        TextColumn("training"), *columns, TimeElapsedColumn(), console=console, disable=disabled
    ) as shown:
        task = shown.add_task("", status="")

        def show(done: int, total: int, status: str) -> None:
            if not disabled:
                shown.update(task, completed=done, total=total, status=status)

        yield show


def _stopped(run: TrainingRun[Any], path: Path, init: Path | None) -> None:
    """Leave a checkpoint of the last step, if one was made, and say how to go on."""
    if run.stepper.calls:
        _save(run, path)
        how = f"go on with: qnn-train --resume {path}" + (f" --init {init}" if init else "")
        say(f"stopped after {counted(run.stepper.calls, 'call')}; {how}", err=True)


def _save(run: TrainingRun[Any], path: Path) -> None:
    with written(path):
        run.checkpoint().save(path)


@contextmanager
def folder_for(folder: Path) -> Iterator[None]:
    """Make the folder before the training, so that a wrong name costs nothing.

    It is removed again if it stays empty.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.FileError(str(folder), error.strerror) from None
    try:
        yield
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Say in one line what file could not be written."""
    try:
        yield
    except OSError as error:
        raise click.FileError(str(error.filename or path), error.strerror) from None


def _write(outcome: Outcome, folder: Path, json_file: Path | None) -> None:
    with written(folder):
        outcome.model.save(folder / "model.npz")
        outcome.report.save(folder / "report.json")
        draw(outcome.report, folder / "training.png")
        if json_file is not None and str(json_file) != "-":
            outcome.report.save(json_file)
    if str(json_file) == "-":
        say(*outcome.report.to_json().split("\n"))


def _summary(report: RunReport, folder: Path) -> list[str]:
    """Return a table of what came out."""
    bits = "real" if report.coupling_bits is None else f"{report.coupling_bits}-bit"
    rows = [
        (
            "test accuracy",
            f"{100 * report.test_accuracy:.2f} %  of {counted(report.n_test, 'image')}",
        ),
        (
            "train accuracy",
            f"{100 * report.train_accuracy:.2f} %  of {counted(report.n_train, 'image')}",
        ),
    ]
    test = wilson(report.test_accuracy, report.n_test)
    gap = generalization_gap(report.train_accuracy, report.n_train, test, report.n_test)
    rows.append(("gap", gap_text(gap, share=True)))
    if report.validation_accuracy is not None:
        images = counted(report.n_validation or 0, "image")
        held = f"{100 * report.validation_accuracy:.2f} %  of {images}"
        rows.append(("validation", held))
    rows += _init_rows(report)
    rows += [
        ("network", f"{report.network}, {report.bits_per_parameter:.2f} bits per parameter"),
        ("method", report.method),
        _problem_row(report),
    ]
    if report.infeasibility is not None:
        rows.append(("infeasibility", f"{report.infeasibility:.3f}"))
    rows += [
        ("oracle", ORACLES[report.oracle]),
        (
            "machine",
            (
                f"{report.device or 'none'}, {bits} couplings, "
                f"{counted(report.oracle_calls, 'oracle call')}"
            ),
        ),
        *_polish_rows(report),
        *hardness_rows(report.hardness),
        ("seconds", f"{report.seconds:.1f}"),
        ("model", str(folder / "model.npz")),
        ("picture", str(folder / "training.png")),
    ]
    return two_columns(rows)


def _init_rows(report: RunReport) -> list[tuple[str, str]]:
    start, told = report.init, report.history.objective
    if start is None:
        return []
    losses = f"{start['objective']:.4f} before, {told[-1]:.4f} at best"
    return [("start", f"train accuracy {100 * start['train_accuracy']:.2f} %, loss {losses}")]


def _polish_rows(report: RunReport) -> list[tuple[str, str]]:
    polish = report.polish
    if polish is None:
        return []
    changed = (
        f"{100 * polish['changed_share']:.1f} % of {counted(polish['samples'], 'sample')} changed"
    )
    return [
        ("polish", f"{changed}, mean gain {polish['mean_gain']:.3g}, {polish['seconds']:.1f} s")
    ]


def hardness_rows(hardness: Mapping[str, float] | None) -> list[tuple[str, str]]:
    """Return the row that tells how hard the problems of a training were."""
    if hardness is None:
        return []
    share = f"{100 * hardness['solved_share']:.0f} % of {counted(hardness['problems'], 'problem')}"
    gap = f"mean gap {100 * hardness['mean_gap']:.2g} %"
    return [("hardness", f"one descent from random bits solves {share}, {gap}")]


def _problem_row(report: RunReport) -> tuple[str, str]:
    if report.blocks is not None:
        return "blocks", f"{report.blocks}, of at most {counted(report.spins, 'spin')}"
    images = counted(report.train_samples or "all", "training image")
    if report.batch is None:
        return "program", f"{counted(report.spins, 'spin')}, {images}"
    return (
        "program",
        f"{images} in parts of {report.batch} and at most {counted(report.spins, 'spin')}",
    )


def gap_text(gap: Interval, *, share: bool) -> str:
    """Say whether a model is better on its training rows than chance explains."""
    factor, unit, digits = (100, " points", 1) if share else (1, "", 3)
    value, low, high = (f"{factor * each:.{digits}f}" for each in (gap.value, gap.low, gap.high))
    said = f"train less test: {value}{unit} ({low} to {high})"
    if gap.low <= 0:
        return f"{said}, no more than chance explains"
    return f"{said}, MORE than chance explains: fewer neurons, --validation 0.2, or more data"


def two_columns(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Return names and values in two columns, as lines."""
    width = 2 + max(13, *(len(name) for name, _ in rows))
    return [f"{name:<{width}}{value}" for name, value in rows]
