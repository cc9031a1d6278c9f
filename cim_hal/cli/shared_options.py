"""The options of commands that talk to a server that may ask for keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from cim_hal.cli.paths import FILE

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["key_options"]

Command = TypeVar("Command", bound="Callable[..., Any]")


def key_options(command: Command) -> Command:
    """Add ``--key`` and ``--server-key``, or ``CIM_HAL_KEY`` and ``CIM_HAL_SERVER_KEY``."""
    command = click.option(
        "--server-key",
        envvar="CIM_HAL_SERVER_KEY",
        metavar="FILE.pub",
        show_envvar=True,
        help="Public key of the server, or its file; else what cim-hal keys trust has stored.",
    )(command)
    return click.option(
        "--key",
        type=FILE,
        envvar="CIM_HAL_KEY",
        metavar="FILE.key",
        show_envvar=True,
        help="Secret key file of yours, for a server that asks for keys.",
    )(command)
