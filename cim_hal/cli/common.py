"""Arguments, options and output that several commands share."""

from __future__ import annotations

import functools
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from cim_hal.atomic_files import replacing
from cim_hal.console import say
from cim_hal.errors import CimError, TargetError
from cim_hal.option_types import MODEL_FILE, Endpoint, driver_option
from cim_hal.option_types import Target as TargetType
from cim_hal.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

    from cim_hal.client.session import Session
    from cim_hal.machine.config import MachineConfig

__all__ = [
    "ServerTarget",
    "Target",
    "TargetArgument",
    "configured",
    "format_option",
    "json_option",
    "key_options",
    "model_option",
    "on_signals",
    "output_console",
    "print_json",
    "print_properties",
    "print_ready",
    "print_table",
    "progress_on",
    "readable",
    "refuse_keys",
    "refused",
    "server_options",
    "signalled",
    "target_options",
    "whole_file",
]

MAX_WIDTH = 10_000

Command = TypeVar("Command", bound="Callable[..., Any]")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

model_option = click.option(
    "--model",
    "model_path",
    required=True,
    type=MODEL_FILE,
    metavar="FILE",
    help="G-set, rudy, Biq Mac, qbsolv, COO, bqpjson, dimod, Matrix Market, .npz; - is stdin.",
)

format_option = click.option(
    "--format",
    "model_format",
    type=click.Choice(("maxcut", "qubo", "ising")),
    help="What the entries of the model file are, where it leaves that open.",
)


@dataclass(frozen=True)
class Target:
    """Which machine a command uses, and the keys it shows."""

    target: MachineConfig
    key: Path | None
    server_key: str | None

    def open(self) -> Session:
        """Open a session, to be used as a context."""
        from cim_hal.client.session import open_device

        return open_device(self.target, key=self.key, server_key=self.server_key)

    def connect(self) -> Session:
        """Return a session for requests about safety only: none is opened on the server."""
        from cim_hal.client.options import ConnectionOptions
        from cim_hal.client.session import Session

        options = ConnectionOptions.of(
            self.target, {"key": self.key, "server_key": self.server_key}
        )
        return Session(options)


def key_options(command: Command) -> Command:
    """Add ``--key`` and ``--server-key``, or ``CIM_HAL_KEY`` and ``CIM_HAL_SERVER_KEY``."""
    command = click.option(
        "--server-key",
        envvar="CIM_HAL_SERVER_KEY",
        metavar="FILE.pub",
        show_envvar=True,
        help="Public key of the server, or its file.  [default: the key that cim-hal keys trust "
        "stored]",
    )(command)
    return click.option(
        "--key",
        type=click.Path(path_type=Path),  # in the environment it is for servers only
        envvar="CIM_HAL_KEY",
        metavar="FILE.key",
        show_envvar=True,
        help="Your secret key file, for a server that asks for keys.",
    )(command)


def target_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the argument TARGET, ``--option`` and keys; the command takes them as one `Target`."""

    @functools.wraps(command)
    def built(machine: Target, *, option_texts: dict[str, str], **others: Any) -> None:
        config = configured(machine.target, option_texts)
        refuse_keys(config)
        command(replace(machine, target=config), **others)

    return _target_options(driver_option(built), TargetType())


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what `target_options` adds, for a command about what clients of a server share."""
    return _target_options(command, ServerTarget())


def _target_options(command: Callable[..., None], kind: click.ParamType) -> Callable[..., None]:
    @functools.wraps(command)
    def grouped(
        *, target: MachineConfig, key: Path | None, server_key: str | None, **others: Any
    ) -> None:
        command(Target(target, key, server_key), **others)

    return click.argument("target", cls=TargetArgument, type=kind)(key_options(grouped))


class TargetArgument(click.Argument):
    """A target that may be left out where the user's file names a device."""

    def get_default(self, ctx: click.Context, call: bool = True) -> Any:  # noqa: FBT001, FBT002
        """Return the device of the file."""
        from cim_hal.user_config import read_user_config  # brings pydantic along

        if ctx.resilient_parsing or not call:
            return super().get_default(ctx, call)
        return read_user_config().device or super().get_default(ctx, call)


class ServerTarget(TargetType):
    """The endpoint of a server, or a machine file or a name of the user that stands for one.

    Anything else would be a machine of this process alone.
    """

    name = "endpoint"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the endpoint, with what a file says of it."""
        from cim_hal.machine.config import MachineConfig  # brings numpy along

        try:
            found = MachineConfig.of(value)
        except TargetError as error:
            self.fail(str(error), param, ctx)
        if not found.is_endpoint:
            raise click.UsageError(
                f"{ctx and ctx.info_name} needs a server: tcp://host:port or ipc://path, "
                f"not {value!r}",
                ctx,
            )
        Endpoint.convert(self, found.driver, param, ctx)
        return found


def configured(target: MachineConfig | str, option_texts: Mapping[str, str]) -> MachineConfig:
    """Return what a target stands for, with the values of ``--option``."""
    from cim_hal.machine.config import MachineConfig

    with refused("--option"):
        return MachineConfig.of(target, texts=option_texts)


def refuse_keys(*configs: MachineConfig) -> None:
    """Refuse keys on the command line for machines of this process, which ask for none."""
    context = click.get_current_context()
    is_served = any(config.is_endpoint for config in configs)
    for name in () if is_served else ("key", "server_key"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option, target = name.replace("_", "-"), configs[0].target
            raise click.UsageError(f"--{option} is for a server, and {target!r} is none")


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears whole or not at all: `replacing`, with a `click.FileError`."""
    try:
        with replacing(path) as file:
            yield file
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from None


@contextmanager
def refused(option: str) -> Iterator[None]:
    """Name the option whose value is wrong."""
    try:
        yield
    except CimError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def print_ready(what: str) -> None:
    """Print the line that says a server is ready and where it listens."""
    from cim_hal.client.spawn import READY  # brings machine files along

    say(f"{READY}{what}")
    sys.stdout.flush()


def signalled() -> threading.Event:
    """Return an event that Ctrl-C and SIGTERM set from now on."""
    ended = threading.Event()
    on_signals(ended.set)
    return ended


def on_signals(action: Callable[[], None]) -> None:
    """Let Ctrl-C and SIGTERM do something from now on."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: action())


def progress_on(console: Console, *columns: ProgressColumn) -> Progress:
    """Return a progress display that vanishes at its end; none where the console is no terminal.

    Without `columns` it shows the description and a bar; the time that has passed comes last.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    shown = columns or (TextColumn("{task.description}"), BarColumn())
    return Progress(
        *shown,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def print_json(facts: object) -> None:
    """Print an object or a list as indented JSON."""
    say(*json.dumps(facts, indent=2).split("\n"))


def output_console() -> Console:
    """Return standard output; a table is cut for the width of a terminal only."""
    from rich.console import Console

    console = Console(markup=False)
    return console if console.is_terminal else Console(markup=False, width=MAX_WIDTH)


def print_table(*headings: str, rows: Iterable[Iterable[str]], title: str = "") -> None:
    """Print a table of words, which are taken as they are, without what a terminal would obey."""
    from rich.table import Table

    table = Table(*headings, title=printable(title), title_justify="left")
    for row in rows:
        table.add_row(*map(printable, row))
    output_console().print(table)


def print_properties(title: str, rows: Mapping[str, str]) -> None:
    """Print a table of two columns; rows with an empty value are left out."""
    from rich.table import Table

    shown = printable(title)
    table = Table("property", "value", title=shown, title_justify="left", show_header=False)
    for name, value in rows.items():
        if value:
            table.add_row(printable(name), printable(value))
    output_console().print(table)


def readable(value: object) -> str:
    """Return a value as a person reads it: ``yes``, ``1.5``, ``0, 2``, or ``-`` for none."""
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case tuple():
            return ", ".join(f"{item:g}" for item in value)
        case float():
            return f"{value:g}"
        case _:
            return str(value)
