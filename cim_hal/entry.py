"""Where commands begin and end: Ctrl-C before and after the work ends them without a word.

Python shows a traceback of an interrupt that comes while modules are imported, or while it ends. So
nothing is imported here that takes time.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

__all__ = ["INTERRUPTED", "accept_interrupts", "run_program"]

INTERRUPTED = 130  # the exit status after Ctrl-C, as shells have it


def run_program(place: str) -> NoReturn:
    """Import the click command at ``module:attribute``, run it, and end this process."""
    _exit_at_interrupts()
    with suppress(RuntimeError, OSError, ValueError):  # there is no standard error
        faulthandler.enable(all_threads=False)  # a driver of this process may crash it
    _see_current_folder()
    module, _, attribute = place.partition(":")
    program, run = getattr(import_module(module), attribute), import_module("cim_hal.console").run
    try:
        status = run(program)
    except KeyboardInterrupt:  # a second one, while the first was handled
        status = INTERRUPTED
    _exit_at_interrupts()
    sys.exit(status)


def accept_interrupts() -> None:
    """Let Ctrl-C raise `KeyboardInterrupt` again: a command is imported and about to begin."""
    if signal.getsignal(signal.SIGINT) is _exit:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _see_current_folder() -> None:
    """Let ``module:factory`` name a module of the current folder, after all that is installed."""
    with suppress(FileNotFoundError):  # the folder was deleted
        here = os.getcwd()  # noqa: PTH109  pathlib is not imported yet
        if not {"", here}.intersection(sys.path):
            sys.path.append(here)


def _exit_at_interrupts() -> None:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # neither ignored nor ours
        signal.signal(signal.SIGINT, _exit)


def _exit(*_: object) -> NoReturn:
    os._exit(INTERRUPTED)
