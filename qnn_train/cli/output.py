"""Machines and folders of a run."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cim_hal import DevicePool, open_device, spawn_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from cim_hal import Session
    from qnn_train.training import ProximalReport
    from qnn_train.training.report import RunReport

    Rows: TypeAlias = Sequence[tuple[str, str]]

__all__ = ["MachineOptions", "bar", "folder_for", "summary", "table", "written"]


@dataclass(frozen=True)
class MachineOptions:
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


def bar(*columns: str, quiet: bool) -> Progress:
    """Return a bar of a training with these columns, which shows on a terminal only."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        *map(TextColumn, columns),
        TimeElapsedColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
    )


def summary(
    report: RunReport | ProximalReport, folder: Path, *, measured: Rows = (), trained: Rows = ()
) -> str:
    """Return a table of what came out.

    Parameters
    ----------
    measured, trained : sequence of pairs
        Rows to add behind the accuracies, and behind the network.
    """
    bits = "real" if report.coupling_bits is None else f"{report.coupling_bits}-bit"
    rows = [
        ("test accuracy", f"{100 * report.test_accuracy:.2f} %  of {report.n_test} images"),
        ("train accuracy", f"{100 * report.train_accuracy:.2f} %  of {report.n_train} images"),
        *measured,
        ("network", f"{report.network}, {report.bits_per_parameter:.2f} bits per parameter"),
        *trained,
        ("machine", f"{report.device}, {bits} couplings, {report.oracle_calls} oracle calls"),
        ("seconds", f"{report.seconds:.1f}"),
        ("model", str(folder / "model.npz")),
        ("picture", str(folder / "training.png")),
    ]
    return table(rows)


def table(rows: Rows) -> str:
    """Return names and values in two columns."""
    width = 2 + max(13, *(len(name) for name, _ in rows))
    return "\n".join(f"{name:<{width}}{value}" for name, value in rows)
