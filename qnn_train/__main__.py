"""The command ``qnn-train``."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cim_hal import open_device, spawn_server
from cim_hal.console import run as run_command
from qnn_train.data import load_digits, load_fashion_mnist
from qnn_train.data.fashion_mnist import data_directory, download
from qnn_train.errors import TrainingError
from qnn_train.picture import draw
from qnn_train.recipe import Recipe, prepare
from qnn_train.run import TrainingRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cim_hal import Session
    from qnn_train.data import Pair
    from qnn_train.recipe import Preparation
    from qnn_train.report import RunReport
    from qnn_train.run import Outcome

__all__ = ["main", "program"]

DEFAULT_CLASSES = {"digits": (3, 6), "fashion-mnist": (4, 5)}
EXAMPLES = """
\b
Examples:
  qnn-train
      digits 3 or 6, on an emulated machine in a process of its own
  qnn-train --dataset fashion-mnist --data-dir DIR --classes 4,5
      coat or sandal
  qnn-train --device tcp://cim.lab:5555 --coupling-bits 8
      on a machine behind a server
"""


class Classes(click.ParamType):
    """Two class numbers, ``A,B``."""

    name = "A,B"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Parse the text of the option."""
        try:
            first, second = (int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not two class numbers such as 4,5", param, ctx)
        return first, second


def option(name: str, kind: Any, default: Any, text: str) -> Any:
    """Make an option that shows its default."""
    return click.option(name, type=kind, default=default, show_default=True, help=text)


@click.command(
    "qnn-train", context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXAMPLES
)
@option("--dataset", click.Choice(list(DEFAULT_CLASSES)), "digits", "Images to learn from.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the Fashion-MNIST files.  [default: $QNN_DATA_DIR or ~/.cache/cim-hal]",
)
@click.option("--download", "fetch", is_flag=True, help="Fetch missing Fashion-MNIST files first.")
@click.option(
    "--classes", type=Classes(), help="Two classes.  [default: digits 3,6; fashion-mnist 4,5]"
)
@option("--train-samples", click.IntRange(2), 20, "Images in the program.")
@option("--grid", click.IntRange(1), 4, "Cells along a side: the network has grid² inputs.")
@option("--hidden", click.IntRange(0, 1000), 3, "Sign neurons; 0 for one threshold unit.")
@option("--readout", click.Choice(["majority", "trained"]), "majority", "After the hidden layer.")
@option("--weights", str, "binary", "binary, ternary, or 2bit to 8bit.")
@option("--bias-bits", click.IntRange(0, 8), 2, "Bits of each bias.")
@option("--iterations", click.IntRange(1), 25, "Oracle calls.")
@option("--runs", click.IntRange(1), 64, "Runs of the machine in each call.")
@option("--device", str, "emulator-550", "Driver name (started in a process) or tcp://, ipc://.")
@click.option(
    "--coupling-bits", type=click.IntRange(2, 16), help="Bits of a coupling.  [default: machine's]"
)
@option(
    "--score",
    click.Choice(["train", "subset"]),
    "train",
    "Compare networks on the whole training split of the two classes, or on the images in the "
    "program only.",
)
@option("--seed", click.IntRange(0), 0, "Of images and machine; the same seed, the same result.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for model, report and picture.  [default: runs/DATASET-CLASSES-seedSEED]",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Write the report here too; - is stdout.",
)
@click.option("--quiet", is_flag=True, help="No progress and no summary.")
def program(
    *,
    dataset: str,
    data_dir: Path | None,
    fetch: bool,
    classes: tuple[int, int] | None,
    iterations: int,
    runs: int,
    device: str,
    coupling_bits: int | None,
    out: Path | None,
    json_file: Path | None,
    quiet: bool,
    **recipe_options: Any,
) -> None:
    """Train a quantized neural network to tell two classes of images apart.

    The training is a quadratic program with constraints, solved by quantum conditional gradient
    descent (arXiv:2506.18240) with an Ising machine as oracle. Without arguments the machine is
    emulated, in a process of its own behind ZeroMQ.
    """
    try:
        preparation = prepare(
            Recipe(**recipe_options), _load(dataset, data_dir, classes, fetch=fetch)
        )
    except TrainingError as error:
        raise click.UsageError(str(error)) from None
    folder = out or _default_folder(preparation)
    with ExitStack() as stack:
        session = _open(device, stack)
        run = TrainingRun(
            preparation, session, iterations=iterations, n_runs=runs, coupling_bits=coupling_bits
        )
        stack.enter_context(_folder(folder))
        _watch(run, iterations, quiet=quiet)
        outcome = run.outcome()
        _write(outcome, folder, json_file)
    if not quiet and str(json_file) != "-":
        click.echo(_summary(outcome.report, folder))


def main() -> None:
    """Run the command."""
    sys.exit(run_command(program))


def _load(
    dataset: str, data_dir: Path | None, classes: tuple[int, int] | None, *, fetch: bool
) -> Pair:
    wanted = classes or DEFAULT_CLASSES[dataset]
    if dataset == "digits":
        return load_digits().pair(*wanted)
    directory = data_directory(data_dir)
    if fetch:
        download(directory)
    return load_fashion_mnist(directory).pair(*wanted)


def _default_folder(preparation: Preparation) -> Path:
    pair = preparation.pair
    first, second = pair.classes
    return Path("runs") / f"{pair.dataset}-{first}-{second}-seed{preparation.recipe.seed}"


def _open(device: str, stack: ExitStack) -> Session:
    """Connect to an endpoint, or start the named machine behind one."""
    if "://" not in device:
        device = stack.enter_context(spawn_server(device)).endpoint
    return stack.enter_context(open_device(device))


def _watch(run: TrainingRun, iterations: int, *, quiet: bool) -> None:
    """Make the steps, with a bar on a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("infeasibility {task.fields[infeasibility]:.3f}"),
        TextColumn("accuracy {task.fields[accuracy]:.2f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("", total=iterations, infeasibility=float("nan"), accuracy=0.0)
        for step in run:
            bar.update(
                task,
                advance=1,
                infeasibility=step.iterate.infeasibility,
                accuracy=100 * step.best.accuracy,
            )


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """Make the folder before the training, so that a wrong name costs nothing; none if empty."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.FileError(str(folder), error.strerror) from None
    try:
        yield
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()


def _write(outcome: Outcome, folder: Path, json_file: Path | None) -> None:
    try:
        outcome.model.save(folder / "model.npz")
        outcome.report.save(folder / "report.json")
        draw(outcome.report, folder / "training.png")
        if json_file is not None and str(json_file) != "-":
            outcome.report.save(json_file)
    except OSError as error:
        raise click.FileError(str(error.filename or folder), error.strerror) from None
    if str(json_file) == "-":
        click.echo(outcome.report.to_json())


def _summary(report: RunReport, folder: Path) -> str:
    bits = "real" if report.coupling_bits is None else f"{report.coupling_bits}-bit"
    rows = [
        ("test accuracy", f"{100 * report.test_accuracy:.2f} %  of {report.n_test} images"),
        ("train accuracy", f"{100 * report.train_accuracy:.2f} %  of {report.n_train} images"),
        ("network", f"{report.network}, {report.bits_per_parameter:.2f} bits per parameter"),
        ("program", f"{report.spins} spins, {report.train_samples} training images"),
        ("machine", f"{report.device}, {bits} couplings, {report.oracle_calls} oracle calls"),
        ("infeasibility", f"{report.infeasibility:.3f}"),
        ("seconds", f"{report.seconds:.1f}"),
        ("model", str(folder / "model.npz")),
        ("picture", str(folder / "training.png")),
    ]
    return "\n".join(f"{name:<15}{value}" for name, value in rows)


if __name__ == "__main__":
    main()
