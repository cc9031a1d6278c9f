"""Options that the commands share. Options that are not given are None."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "DEFAULT_CLASSES",
    "ClassNumbers",
    "RunOptions",
    "Samples",
    "Sizes",
    "add_options",
    "data_options",
    "network_options",
    "output_options",
]

DEFAULT_CLASSES = {"digits": (3, 6), "fashion-mnist": (4, 5)}


class ClassNumbers(click.ParamType):
    """Class numbers, ``A,B`` or more of them, or ``all``."""

    name = "A,B|all"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...] | str:
        """Parse the text of the option."""
        if value == "all":
            return value
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not class numbers such as 4,5, or all", param, ctx)


class Sizes(click.ParamType):
    """Neurons of hidden layers: one number, or several as in ``8,4``."""

    name = "N[,N...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | tuple[int, ...]:
        """Parse the text of the option."""
        parts: list[Any] = value.split(",") if isinstance(value, str) else [value]
        if len(parts) == 1:
            return click.IntRange(0, 1000).convert(parts[0], param, ctx)
        return tuple(click.IntRange(1, 1000).convert(part, param, ctx) for part in parts)


class Samples(click.ParamType):
    """A number of images, or ``all``."""

    name = "N|all"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        """Parse the text of the option."""
        if value == "all":
            return value
        return click.IntRange(2).convert(value, param, ctx)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where data, machines and results are; everything that is no part of a recipe.

    Attributes
    ----------
    dataset, classes
        None where they were not given.
    data_dir : Path or None
    fetch : bool
        Whether to download missing files.
    device : tuple of str
    machines : int
        Processes of a single named driver.
    out, json_file, checkpoint, resume : Path or None
    dry_run, quiet : bool
    """

    dataset: str | None
    classes: tuple[int, ...] | str | None
    data_dir: Path | None
    fetch: bool
    device: tuple[str, ...]
    machines: int
    out: Path | None
    json_file: Path | None
    checkpoint: Path | None
    resume: Path | None
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
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


data_options = add_options(
    click.option(
        "--dataset",
        type=click.Choice(list(DEFAULT_CLASSES)),
        help="Images to learn from.  [default: digits]",
    ),
    click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of the Fashion-MNIST files.  [default: $QNN_DATA_DIR or ~/.cache/cim-hal]",
    ),
    click.option(
        "--download", "fetch", is_flag=True, help="Fetch missing Fashion-MNIST files first."
    ),
    click.option(
        "--classes", type=ClassNumbers(), help="Classes.  [default: digits 3,6; fashion-mnist 4,5]"
    ),
)


def network_options(defaults: dict[str, str]) -> Callable[[Any], Any]:
    """Return a decorator that adds the options of a network.

    Parameters
    ----------
    defaults : dict
        What the help says of the default of each option, by its name; nothing where it is not
        there.
    """

    def option(name: str, kind: Any, text: str) -> Any:
        default = defaults.get(name)
        shown = f"  [default: {default}]" if default else ""
        return click.option(f"--{name}", type=kind, help=text + shown)

    return add_options(
        option("grid", click.IntRange(1), "Cells along a side: the network has grid² inputs."),
        option("hidden", Sizes(), "Hidden neurons, of several layers as in 8,4; 0 for none."),
        option("readout", click.Choice(["majority", "trained"]), "After the hidden layer."),
        option("weights", str, "binary, ternary, or 2bit to 8bit."),
        option("bias-bits", click.IntRange(0, 8), "Bits of each bias."),
        option(
            "seed", click.IntRange(0), "Of images and machine; the same seed gives the same result."
        ),
        option("runs", click.IntRange(1), "Runs of the machine in each call."),
        click.option(
            "--coupling-bits",
            type=click.IntRange(2, 16),
            help="Bits of a coupling.  [default: machine's]",
        ),
    )


def output_options(default_device: str) -> Callable[[Any], Any]:
    """Return a decorator that adds the options of machines and results."""
    path = click.Path(path_type=Path, dir_okay=False)
    return add_options(
        click.option(
            "--device",
            multiple=True,
            help="Driver name (started in a process) or tcp://, ipc://; given several times, jobs "
            f"go to whichever machine is free.  [default: {default_device}]",
        ),
        click.option(
            "--machines",
            type=click.IntRange(1, 64),
            default=1,
            show_default=True,
            help="Processes of a named driver, used as a pool.",
        ),
        click.option(
            "--out",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder for model, report and picture.  [default: runs/DATASET-CLASSES-seedSEED]",
        ),
        click.option(
            "--json",
            "json_file",
            type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
            help="Write the report here too; - is stdout.",
        ),
        click.option(
            "--checkpoint",
            type=path,
            help="Where to leave a checkpoint while training.  "
            "[default: OUT/checkpoint.npz, deleted at the end]",
        ),
        click.option(
            "--resume",
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            help="Go on from a checkpoint, as if there had been no stop.",
        ),
        click.option("--dry-run", is_flag=True, help="Say what it would take, and stop."),
        click.option("--quiet", is_flag=True, help="No progress and no summary."),
    )
