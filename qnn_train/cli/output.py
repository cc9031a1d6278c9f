"""Machines and folders of a run."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from cim_hal import DevicePool, open_device, spawn_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack
    from pathlib import Path

    from cim_hal import Session

__all__ = ["Machines", "folder_for", "table", "written"]


@dataclass(frozen=True)
class Machines:
    """Which machines to train on.

    Attributes
    ----------
    devices : tuple of str
        Endpoints, and names of drivers, each started in a process.
    copies : int
        Processes of a single named driver.
    """

    devices: tuple[str, ...]
    copies: int = 1

    def connect(self, stack: ExitStack) -> Session | DevicePool:
        """Open a session with one machine, or a pool of several.

        Raises
        ------
        click.UsageError
            Copies of more than one machine, or of one that is behind an endpoint.
        """
        if self.copies > 1:
            (device, *others) = self.devices
            if others or "://" in device:
                raise click.UsageError("--machines starts copies of one driver, named by --device")
            return stack.enter_context(DevicePool.local(device, machines=self.copies))
        endpoints = [
            device if "://" in device else stack.enter_context(spawn_server(device)).endpoint
            for device in self.devices
        ]
        if len(endpoints) > 1:
            return stack.enter_context(DevicePool(endpoints))
        return stack.enter_context(open_device(endpoints[0]))


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
