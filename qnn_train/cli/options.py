"""Options that the commands share. Options that are not given are None."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cim_hal.option_types import (
    COUNT,
    FILE,
    MAX_COUNT,
    SEED,
    OutputFile,
    OutputFolder,
    Target,
    driver_option,
)
from qnn_train.method_names import ORACLES

if TYPE_CHECKING:
    from cim_hal import MachineConfig

__all__ = [
    "DEFAULT_CLASSES",
    "INIT",
    "WEIGHTS",
    "RunOptions",
    "add_options",
    "data_options",
    "network_options",
    "option",
    "output_options",
    "samples",
]

DEFAULT_CLASSES = {"digits": (3, 6), "fashion-mnist": (4, 5)}


def class_numbers(text: str) -> tuple[int, ...] | str:
    """Parse class numbers, ``A,B`` or more of them, or ``all``."""
    if text == "all":
        return text
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        message = f"{text!r} is not class numbers such as 4,5, or all"
        raise click.BadParameter(message) from None


def sizes(text: str) -> int | tuple[int, ...]:
    """Parse neurons of hidden layers: one number, or several as in ``8,4``."""
    first, *others = text.split(",")
    if not others:
        return click.IntRange(0, 1000)(first)
    return tuple(click.IntRange(1, 1000)(part) for part in (first, *others))


def weights(text: str) -> str:
    """Check the name of a code of weights."""
    from qnn_train.errors import AssemblyError
    from qnn_train.network.codes import weight_code  # brings numpy along

    try:
        weight_code(text)
    except AssemblyError as error:
        raise click.BadParameter(str(error)) from None
    return text


def samples(text: str) -> int | str:
    """Parse a number of images, or ``all``."""
    return text if text == "all" else click.IntRange(2, MAX_COUNT)(text)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where data, machines and results are; everything that is no part of a recipe."""

    dataset: str | None
    classes: tuple[int, ...] | str | None
    data_dir: Path | None
    fetch: bool  # missing files first
    device: tuple[MachineConfig, ...]
    option_texts: dict[str, str]  # with which drivers are built
    machines: int  # processes of a single named driver
    out: Path | None
    json_file: Path | None
    checkpoint: Path | None
    resume: Path | None
    init: Path | None  # a model file to start from
    dry_run: bool
    quiet: bool

    @classmethod
    def split(cls, options: dict[str, Any]) -> tuple[RunOptions, dict[str, Any]]:
        """Return these options, and those among the others that were given."""
        own = {name: options[name] for name in cls.__dataclass_fields__}
        rest = {
            name: value for name, value in options.items() if name not in own and value is not None
        }
        return cls(**own), rest


def add_options(*options: Any) -> Callable[[Any], Any]:
    """Return a decorator that adds options to a command, in this order."""

    def decorated(command: Any) -> Any:
        for added in reversed(options):
            command = added(command)
        return command

    return decorated


def option(name: str, kind: Any, text: str, default: object = None, **others: Any) -> Any:
    """Return the option ``--name``; its help tells a default that click does not know."""
    shown = "" if default is None else f"  [default: {default}]"
    return click.option(f"--{name}", type=kind, help=text + shown, **others)


DATA_FOLDER = click.Path(path_type=Path, file_okay=False)
ORACLE = "What minimizes; all but machine are searches on the host, to compare with. "
ORACLE += "exact ends the training if a minimum is not proven in 60 s."
INIT = "Model file that every descent begins with: the same data, layers and codes (proximal)."
POLISH = "End samples of the machine in one-flip descents on the host."
WEIGHTS = "binary, ternary, 1bit to 8bit, range(first,step,bits) or codebook(a,b,...)."
CACHE = "$QNN_DATA_DIR or ~/.cache/cim-hal"
DEVICES = (
    "Driver name (started in a process), tcp://, ipc:// or machine file; given several times, jobs "
    "go to whichever machine is free."
)

data_options = add_options(
    option("dataset", click.Choice(list(DEFAULT_CLASSES)), "Images to learn from.", "digits"),
    option("data-dir", DATA_FOLDER, "Folder of the Fashion-MNIST files.", CACHE),
    click.option(
        "--download", "fetch", is_flag=True, help="Fetch missing Fashion-MNIST files first."
    ),
    option(
        "classes", class_numbers, "Classes.", "digits 3,6; fashion-mnist 4,5", metavar="A,B|ALL"
    ),
)


def network_options(**defaults: object) -> Callable[[Any], Any]:
    """Return a decorator that adds the options of a network, whose help tells these defaults."""

    def of_network(name: str, kind: Any, text: str, **others: Any) -> Any:
        return option(name, kind, text, defaults.get(name.replace("-", "_")), **others)

    same = "Of images and machine; the same seed gives the same result."
    hidden = "Hidden neurons, of several layers as in 8,4; 0 for none."
    return add_options(
        of_network("grid", COUNT, "Cells along a side: the network has grid² inputs."),
        of_network("hidden", sizes, hidden, metavar="N[,N...]"),
        of_network("readout", click.Choice(["majority", "trained"]), "After the hidden layer."),
        of_network("weights", weights, WEIGHTS),
        of_network("bias-bits", click.IntRange(0, 8), "Bits of each bias."),
        of_network("seed", SEED, same),
        of_network("oracle", click.Choice(list(ORACLES)), ORACLE),
        click.option("--polish/--no-polish", default=None, help=POLISH),
        of_network("runs", COUNT, "Runs of the machine in each call, or searches on the host."),
        option("coupling-bits", click.IntRange(2, 16), "Bits of a coupling.", "machine's"),
    )


def output_options(default_device: str) -> Callable[[Any], Any]:
    """Return a decorator that adds the options of machines and results."""
    folder = "runs/DATASET-CLASSES-seedSEED"
    kept = "OUT/checkpoint.npz, deleted at the end"
    copies = "Processes of a named driver, used as a pool."
    return add_options(
        option("device", Target(), DEVICES, default_device, multiple=True),
        driver_option,
        click.option(
            "--machines", type=click.IntRange(1, 64), default=1, show_default=True, help=copies
        ),
        option("out", OutputFolder(), "Folder for model, report and picture.", folder),
        click.option(
            "--json",
            "json_file",
            type=OutputFile(allow_dash=True),
            help="Write the report here too; - is stdout.",
        ),
        option("checkpoint", OutputFile(), "Where to leave a checkpoint while training.", kept),
        option(
            "resume",
            OutputFile(exists=True),
            "Go on from a checkpoint, as if there had been no stop.",
        ),
        option("init", FILE, INIT, "random networks", metavar="FILE"),
        click.option("--dry-run", is_flag=True, help="Say what it would take, and stop."),
        click.option("--quiet", is_flag=True, help="No progress and no summary."),
    )
