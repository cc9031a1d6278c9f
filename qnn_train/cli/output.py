"""Machines and folders of a run."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from cim_hal import open_device, spawn_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack
    from pathlib import Path

    from cim_hal import Session

__all__ = ["Report", "connect", "folder_for", "table", "written"]


class Report(Protocol):
    """What can be said as JSON."""

    def to_json(self) -> str:
        """Return the text."""
        ...

    def save(self, path: Path) -> None:
        """Write the text."""
        ...


def connect(device: str, stack: ExitStack) -> Session:
    """Connect to an endpoint, or start the named machine behind one."""
    if "://" not in device:
        device = stack.enter_context(spawn_server(device)).endpoint
    return stack.enter_context(open_device(device))


@contextmanager
def folder_for(folder: Path) -> Iterator[None]:
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


@contextmanager
def written(folder: Path) -> Iterator[None]:
    """Say in one line what file could not be written."""
    try:
        yield
    except OSError as error:
        raise click.FileError(str(error.filename or folder), error.strerror) from None


def table(rows: list[tuple[str, str]]) -> str:
    """Return names and values in two columns."""
    width = 2 + max(13, *(len(name) for name, _ in rows))
    return "\n".join(f"{name:<{width}}{value}" for name, value in rows)
