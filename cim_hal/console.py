"""What the commands of this project share: exit codes, one-line errors, commands imported late."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from cim_hal.entry import INTERRUPTED, accept_interrupts
from cim_hal.errors import (
    CapabilityError,
    CassetteError,
    CimError,
    JournalError,
    KeyFileError,
    ModelError,
    StudyError,
    TargetError,
)
from cim_hal.streams import drop_output, prepare_streams
from cim_hal.text import printable

__all__ = ["INTERRUPTED", "LazyGroup", "run", "say", "signs_of_life"]

FAILED, BAD_INPUT = 1, 2
BETWEEN_LINES_S = 10.0
INPUT_ERRORS = (
    *(ModelError, TargetError, CapabilityError, KeyFileError),
    *(CassetteError, JournalError, StudyError),
)


class LazyGroup(click.Group):
    """A group that imports a command when it is used, and lists its commands without imports.

    `lazy_commands` maps the name of a command to ``"module:attribute"`` and to its line in the
    list of commands, which is the first sentence of its help. The other parameters are those of
    `click.Group`; commands may also be added as usual.
    """

    def __init__(
        self, *args: Any, lazy_commands: Mapping[str, tuple[str, str]], **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.lazy_commands = dict(lazy_commands)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, sorted."""
        return sorted({*super().list_commands(ctx), *self.lazy_commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name, and import it if need be."""
        if cmd_name in self.lazy_commands and cmd_name not in self.commands:
            module, _, attribute = self.lazy_commands[cmd_name][0].partition(":")
            self.add_command(getattr(import_module(module), attribute), cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is to run, imported; from here on an interrupt ends its work."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = get_close_matches(args[0], self.list_commands(ctx), n=1)
            asked = "".join(f" Did you mean {each!r}?" for each in near)
            raise click.UsageError(f"No such command {args[0]!r}.{asked}", ctx)
        found = super().resolve_command(ctx, args)
        accept_interrupts()
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands; nothing is imported for it."""
        names = self.list_commands(ctx)
        limit = formatter.width - 6 - max(map(len, names), default=0)
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._summary(name, limit)) for name in names])

    def _summary(self, name: str, limit: int) -> str:
        if name in self.commands:
            return self.commands[name].get_short_help_str(limit)
        return click.Command(name, help=self.lazy_commands[name][1]).get_short_help_str(limit)


def say(*lines: str, err: bool = False) -> None:
    """Print lines on stdout, or with `err` on stderr; what a terminal would obey is escaped.

    All text of a command is printed here or in a table of `cim_hal.cli.common`.
    """
    click.echo("\n".join(map(printable, lines)), err=err)


@contextmanager
def signs_of_life(what: str, state: Callable[[], str], *, quiet: bool = False) -> Iterator[None]:
    """Print a line every few seconds on a stderr that is no terminal, which has a bar instead."""
    ended, began = threading.Event(), time.monotonic()

    def tell() -> None:
        while not ended.wait(BETWEEN_LINES_S):
            say(f"{what}, {time.monotonic() - began:.0f} s after the start: {state()}", err=True)

    teller = threading.Thread(target=tell, name="signs of life", daemon=True)
    if not (quiet or sys.stderr.isatty()):
        teller.start()
    try:
        yield
    finally:
        ended.set()


def run(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Run a click command, by default with the arguments of the process; return its exit status.

    Every `CimError` and every usage error becomes one line ``error: …`` on stderr, without a
    traceback. The status is 0, 2 for bad input (`INPUT_ERRORS`, usage), 130 after Ctrl-C, and 1 for
    any other `CimError` and for output that cannot be written. Other exceptions are bugs and
    propagate.
    """
    prepare_streams()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            status = command.main(arguments, prog_name=command.name, standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        command_path = error.ctx.command_path if error.ctx else command.name
        if isinstance(error, click.exceptions.NoArgsIsHelpError):  # its message is all of the help
            return _fail(f"Missing command. (see {command_path} --help)", BAD_INPUT)
        return _fail(f"{error.format_message()} (see {command_path} --help)", BAD_INPUT)
    except click.ClickException as error:
        return _fail(error.format_message(), FAILED)
    except CimError as error:
        return _fail(str(error), _status(error))
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", INTERRUPTED)
    finally:
        drop_output()
    return status if isinstance(status, int) else 0


def _show_warning(message: Warning | str, *_where: object) -> None:
    """Show a warning of Python as any other text: it may quote a file."""
    say(f"warning: {message}", err=True)


def _status(error: CimError) -> int:
    return BAD_INPUT if isinstance(error, INPUT_ERRORS) else FAILED


def _fail(message: str, status: int) -> int:
    say(f"error: {' '.join(message.split())}", err=True)
    return status
