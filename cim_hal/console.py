"""How the commands of this project end: errors in one line, and exit codes that mean something."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from cim_hal.errors import (
    CapabilityError,
    CassetteError,
    CimError,
    JournalError,
    KeyFileError,
    ModelError,
    TargetError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["INTERRUPTED", "run"]

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
INPUT_ERRORS = (
    ModelError,
    TargetError,
    CapabilityError,
    KeyFileError,
    CassetteError,
    JournalError,
)


def run(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Run a click command and return the exit status of the process.

    Every `CimError` and every usage error becomes one line ``error: …`` on stderr and no
    traceback. The status is 0, 2 for bad input (`INPUT_ERRORS`, usage), 130 after Ctrl-C, 1 for
    any other `CimError`. A bug keeps its traceback.

    Parameters
    ----------
    command : click.Command
        Made with the decorators of click.
    arguments : sequence of str, optional
        Those of the process where it is None.

    Examples
    --------
    A program ends with::

        def main() -> None:
            sys.exit(run(program))
    """
    try:
        status = command.main(arguments, prog_name=command.name, standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        command_path = error.ctx.command_path if error.ctx else command.name
        return _fail(f"{error.format_message()} (see {command_path} --help)", BAD_INPUT)
    except click.ClickException as error:
        return _fail(error.format_message(), FAILED)
    except CimError as error:
        return _fail(str(error), _status(error))
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone; nothing is left to flush to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status if isinstance(status, int) else 0


def _status(error: CimError) -> int:
    return BAD_INPUT if isinstance(error, INPUT_ERRORS) else FAILED


def _fail(message: str, status: int) -> int:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return status
