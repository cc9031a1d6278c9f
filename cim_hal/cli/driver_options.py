"""The options of ``cim-hal serve`` for the driver: where it lives, and how patient we are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cim_hal.machine.faulty_driver import FaultScript, FaultyDriver
from cim_hal.machine.registry import make_driver
from cim_hal.server.driver.driver_options import DriverOptions
from cim_hal.server.driver.process import DriverProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cim_hal.machine.driver import Driver

__all__ = ["chosen_driver", "driver_options"]

Command = TypeVar("Command", bound="Callable[..., Any]")

SECONDS = click.FloatRange(min=0.0, min_open=True)

OPTIONS = (
    click.option(
        "--in-process",
        is_flag=True,
        help="Run the driver in the process of the server, which then ends with it.",
    ),
    click.option(
        "--driver-hang",
        "hang_s",
        type=SECONDS,
        default=DriverOptions.hang_s,
        show_default=True,
        metavar="SECONDS",
        help="End the driver's process after so long without a sign of life.",
    ),
    click.option(
        "--driver-grace",
        "grace_s",
        type=SECONDS,
        default=DriverOptions.grace_s,
        show_default=True,
        metavar="SECONDS",
        help="End it where it does not heed a cancelled job for so long.",
    ),
    click.option(
        "--driver-run-limit",
        "run_s",
        type=SECONDS,
        metavar="SECONDS",
        help="End it when a run takes longer.  [default: what the machine says]",
    ),
    click.option(
        "--driver-calibration-limit",
        "calibrate_s",
        type=SECONDS,
        default=DriverOptions.calibrate_s,
        show_default=True,
        metavar="SECONDS",
        help="End it when a calibration takes longer.",
    ),
    click.option(
        "--driver-memory",
        "memory_mib",
        type=click.IntRange(min=1),
        metavar="MIB",
        help="End it when it takes more memory than so many MiB.",
    ),
)


def driver_options(command: Command) -> Command:
    """Add the options; a command passes them to `chosen_driver` as they come."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def chosen_driver(
    target: str,
    faults_path: Path | None,
    *,
    in_process: bool,
    hang_s: float,
    grace_s: float,
    run_s: float | None,
    calibrate_s: float,
    memory_mib: int | None,
) -> Driver:
    """Return the driver of a target, in a process of its own where nothing else is said.

    Raises
    ------
    TargetError
        There is no such driver, where it is to run in this process; or the fault script is wrong.
    """
    script = faults_path and FaultScript.read(faults_path)
    if script:
        warning = f"faults are injected: {script.summary} (from {faults_path})"
        click.echo(f"warning: {warning}", err=True)
    if in_process or os.name != "posix":
        driver = make_driver(target)
        return FaultyDriver(driver, script, may_crash=True) if script else driver
    options = DriverOptions(
        hang_s=hang_s,
        grace_s=grace_s,
        run_s=run_s,
        calibrate_s=calibrate_s,
        memory_bytes=memory_mib * 1024**2 if memory_mib else None,
    )
    return DriverProcess(target, faults=str(faults_path or ""), options=options)
