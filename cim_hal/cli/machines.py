"""``cim-hal list``, ``describe``, ``status`` and ``calibrate``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from cim_hal.cli.common import (
    POSITIVE_SECONDS,
    json_option,
    print_json,
    property_table,
    readable,
    target_options,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cim_hal.cli.common import Target
    from cim_hal.machine.capabilities import Setting
    from cim_hal.protocol.wire.messages import CalibrationRecord, Description, DeviceStatus

__all__ = ["calibrate", "describe", "list_drivers", "status"]


@click.command("list")
@json_option
def list_drivers(*, as_json: bool) -> None:
    """List the installed drivers."""
    from cim_hal.machine.registry import registered_drivers

    drivers = registered_drivers()
    if as_json:
        print_json([asdict(driver) for driver in drivers])
        return
    table = Table("name", "factory", "package")
    for driver in drivers:
        table.add_row(driver.name, driver.factory, driver.package)
    Console().print(table)


@click.command()
@target_options
@json_option
def describe(machine: Target, *, as_json: bool) -> None:
    """Show the capabilities of the machine TARGET, and how busy it is.

    \b
    Examples:
      cim-hal describe emulator
      cim-hal describe tcp://127.0.0.1:5555 --json
    """  # noqa: D301
    with machine.open() as session:
        description = session.describe()
    if as_json:
        print_json(description.capabilities.model_dump(mode="json") | _load(description))
        return
    for table in _capability_tables(description):
        Console().print(table)


@click.command()
@target_options
@json_option
def status(machine: Target, *, as_json: bool) -> None:
    """Show the state of the machine TARGET: driver, telemetry, calibration, queue.

    \b
    Examples:
      cim-hal status tcp://127.0.0.1:5555
      cim-hal status tcp://127.0.0.1:5555 --json
    """  # noqa: D301
    with machine.open() as session:
        device, description = session.telemetry(), session.describe()
    if as_json:
        print_json(device.model_dump(mode="json", exclude={"t"}) | _load(description))
        return
    for table in _status_tables(device, description):
        Console().print(table)


@click.command()
@target_options
@click.option(
    "--timeout",
    "timeout_s",
    type=POSITIVE_SECONDS,
    metavar="SECONDS",
    help="Cancel the calibration after this time.  [default: no limit]",
)
@json_option
def calibrate(machine: Target, *, timeout_s: float | None, as_json: bool) -> None:
    """Calibrate the machine TARGET when it is free, and print the record.

    Needs the role operator where the server asks for keys. Ctrl-C ends the calibration.

    \b
    Examples:
      cim-hal calibrate tcp://127.0.0.1:5555
      cim-hal calibrate tcp://127.0.0.1:5555 --timeout 600 --json
    """  # noqa: D301
    with machine.open() as session:
        record = session.calibrate(timeout_s=timeout_s)
    if as_json:
        print_json(record.model_dump(mode="json", exclude={"t"}))
        return
    Console().print(_record_table(record))


def _load(description: Description) -> dict[str, int | bool]:
    return {"queued": description.queued, "busy": description.busy}


def _capability_tables(description: Description) -> Iterator[Table]:
    capabilities = description.capabilities
    fields = capabilities.model_dump(exclude={"properties", "settings"}) | _load(description)
    yield property_table("", {name: readable(value) for name, value in fields.items()})
    if capabilities.properties:
        facts = {name: readable(value) for name, value in capabilities.properties.items()}
        yield property_table("Properties", facts)
    if capabilities.settings:
        yield _setting_table(capabilities.settings)


def _setting_table(settings: Sequence[Setting]) -> Table:
    headings = ("setting", "default", "range", "description")
    table = Table(*headings, title="Settings of a job", title_justify="left")
    for setting in settings:
        scale = ", log" if setting.log else ""
        row = (setting.name, f"{setting.default:g}", f"{setting.range}{scale}")
        table.add_row(*row, setting.description)
    return table


def _status_tables(device: DeviceStatus, description: Description) -> Iterator[Table]:
    driver = device.driver
    rows = {
        "driver": str(driver.phase),
        "restarts": str(driver.restarts),
        "last fault": driver.fault,
        "next start": f"in {driver.retry_after_s:.0f} s" if driver.retry_after_s else "",
        "busy": readable(description.busy),
        "queued": str(description.queued),
        "calibration": _calibration(device),
    }
    yield property_table(description.capabilities.name, rows)
    if device.telemetry is None:
        return
    readings = {r.name: f"{readable(r.value)} {r.unit}".rstrip() for r in device.telemetry.readings}
    yield property_table(f"Telemetry, {device.age_s:.1f} s ago", readings)
    if device.telemetry.interlocks:
        states = device.telemetry.interlocks
        shown = {name: "closed" if is_closed else "OPEN" for name, is_closed in states.items()}
        yield property_table("Interlocks", shown)


def _calibration(device: DeviceStatus) -> str:
    if device.calibration is None:
        return "none"
    age = f"{device.calibration[:19]}, {device.calibration_age_s:.0f} s old"
    return f"{age}, STALE" if device.calibration_stale else age


def _record_table(record: CalibrationRecord) -> Table:
    made = record.calibration
    rows = {
        "fingerprint": record.fingerprint,
        "taken_at": datetime.fromtimestamp(made.taken_at, UTC).isoformat(timespec="seconds"),
        "valid_s": f"{made.valid_s:g}",
        "threshold_w": "" if made.threshold_w is None else f"{made.threshold_w:g}",
        "coupling_gain": "" if made.coupling_gain is None else f"{made.coupling_gain:g}",
    }
    return property_table("", rows | {name: readable(fact) for name, fact in made.facts.items()})
