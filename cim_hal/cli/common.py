"""Arguments, options and output that several commands share."""

from __future__ import annotations

import functools
import json
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rich.table import Table

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
    "print_json",
    "property_table",
    "readable",
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

    @functools.wraps(command)
    def grouped(*, target: str, key: Path | None, server_key: str | None, **others: Any) -> None:
        command(Target(target, key, server_key), **others)

    return click.argument("target")(key_options(grouped))


def check_folder(option: str, path: Path | None) -> None:
    """Refuse a file to be written into a folder that does not exist, before any work is done."""
    if path is not None and not path.absolute().parent.is_dir():
        raise click.BadParameter(f"{path.absolute().parent} is not a folder", param_hint=option)


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears complete, or not at all.

    Raises
    ------
    click.FileError
        It cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from None
    finally:
        temporary.unlink(missing_ok=True)


def print_json(facts: object) -> None:
    """Print an object or a list as indented JSON."""
    click.echo(json.dumps(facts, indent=2))


def property_table(title: str, rows: Mapping[str, str]) -> Table:
    """Return a table of two columns; rows with an empty value are left out."""
    from rich.table import Table

    table = Table("property", "value", title=title, title_justify="left", show_header=False)
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    return table


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
