"""Arguments, options and output that several commands share."""

from __future__ import annotations

import functools
import json
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cim_hal import key_files
from cim_hal.errors import TargetError

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from cim_hal.client.session import Session

__all__ = [
    "FILE",
    "FOLDER",
    "MAX_SEED",
    "POSITIVE_SECONDS",
    "Target",
    "check_folder",
    "json_option",
    "key_options",
    "model_option",
    "on_signals",
    "print_json",
    "print_properties",
    "print_ready",
    "print_table",
    "progress_on",
    "read_toml",
    "readable",
    "require_server",
    "server_options",
    "signalled",
    "target_options",
    "whole_file",
]

Command = TypeVar("Command", bound="Callable[..., Any]")

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
POSITIVE_SECONDS = click.FloatRange(min=0.0, min_open=True)
MAX_SEED = 2**63

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

model_option = click.option(
    "--model",
    "model_path",
    required=True,
    type=FILE,
    metavar="FILE",
    help="G-set text (MAX-CUT), or .npz with J and an optional h.",
)


@dataclass(frozen=True)
class Target:
    """Which machine a command uses, and the keys it shows."""

    target: str
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
        type=FILE,
        envvar="CIM_HAL_KEY",
        metavar="FILE.key",
        show_envvar=True,
        help="Your secret key file, for a server that asks for keys.",
    )(command)


def target_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the argument TARGET and the key options; the command takes them as one `Target`."""
    return _target_options(command, _refuse_keys)


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what `target_options` adds, for a command about what clients of a server share."""
    return _target_options(command, require_server)


def _target_options(
    command: Callable[..., None], check: Callable[[str], None]
) -> Callable[..., None]:
    @functools.wraps(command)
    def grouped(*, target: str, key: Path | None, server_key: str | None, **others: Any) -> None:
        check(target)
        command(Target(target, key, server_key), **others)

    return click.argument("target")(key_options(grouped))


def require_server(target: str) -> None:
    """Refuse a target that would be a machine of this process alone."""
    from cim_hal.client.options import is_endpoint

    if not is_endpoint(target):
        name = click.get_current_context().info_name
        raise click.UsageError(
            f"{name} needs a server: tcp://host:port or ipc://path, not {target!r}"
        )


def _refuse_keys(target: str) -> None:
    """Refuse keys on the command line for a machine of this process, which asks for none."""
    from cim_hal.client.options import is_endpoint

    context = click.get_current_context()
    for name in () if is_endpoint(target) else ("key", "server_key"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = name.replace("_", "-")
            raise click.UsageError(f"--{option} is for a server, and {target!r} is none")


def check_folder(option: str, path: Path | None) -> None:
    """Refuse a file to be written into a folder that does not exist, before any work is done."""
    if path is not None and not path.absolute().parent.is_dir():
        raise click.BadParameter(f"{path.absolute().parent} is not a folder", param_hint=option)


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears complete, or not at all (`click.FileError`)."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from None
    finally:
        temporary.unlink(missing_ok=True)


def read_toml(path: Path, option: str | None = None) -> dict[str, Any]:
    """Read a TOML file; `click.BadParameter` if it cannot be read, or is no TOML."""
    try:
        return key_files.read_toml(path, "options", TargetError)
    except TargetError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def print_ready(what: str) -> None:
    """Print the line that says a server is ready and where it listens."""
    from cim_hal.client.spawn import READY  # brings all clients along

    click.echo(f"{READY}{what}")
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
    click.echo(json.dumps(facts, indent=2))


def print_table(*headings: str, rows: Iterable[Iterable[str]], title: str = "") -> None:
    """Print a table of words, which are taken as they are."""
    table = Table(*headings, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console(markup=False).print(table)


def print_properties(title: str, rows: Mapping[str, str]) -> None:
    """Print a table of two columns; rows with an empty value are left out."""
    table = Table("property", "value", title=title, title_justify="left", show_header=False)
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    Console(markup=False).print(table)


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
