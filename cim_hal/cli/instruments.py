"""``cim-hal status`` and ``cim-hal calibrate``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from cim_hal.cli.shared_options import key_options
from cim_hal.client.session import open_device

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cim_hal.machine.calibration import Calibration
    from cim_hal.protocol.wire.messages import CalibrationRecord, Description, DeviceStatus

__all__ = ["calibrate", "status"]


@click.command()
@click.argument("target")
@key_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(target: str, *, key: Path | None, server_key: str | None, as_json: bool) -> None:
    """Say how the machine TARGET is: its driver, telemetry, interlocks, calibration, queue.

    \b
    Examples:
      cim-hal status tcp://127.0.0.1:5555
      cim-hal status tcp://127.0.0.1:5555 --json
    """  # noqa: D301
    with open_device(target, key=key, server_key=server_key) as session:
        device, description = session.telemetry(), session.describe()
    if as_json:
        queue = {"queued": description.queued, "busy": description.busy}
        click.echo(json.dumps(device.model_dump(mode="json", exclude={"t"}) | queue, indent=2))
        return
    for table in _tables(device, description):
        Console().print(table)


@click.command()
@click.argument("target")
@key_options
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.0, min_open=True),
    metavar="SECONDS",
    help="Give up after so long, and cancel it.  [default: as long as it takes]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def calibrate(
    target: str,
    *,
    key: Path | None,
    server_key: str | None,
    timeout_s: float | None,
    as_json: bool,
) -> None:
    """Calibrate the machine TARGET when it is free, and print the record.

    Needs the role operator where the server asks for keys. Ctrl-C ends the calibration.

    \b
    Examples:
      cim-hal calibrate tcp://127.0.0.1:5555
      cim-hal calibrate tcp://127.0.0.1:5555 --timeout 600 --json
    """  # noqa: D301
    with open_device(target, key=key, server_key=server_key) as session:
        record = session.calibrate(timeout_s=timeout_s)
    if as_json:
        click.echo(json.dumps(record.model_dump(mode="json", exclude={"t"}), indent=2))
        return
    Console().print(_record(record))


def _tables(device: DeviceStatus, description: Description) -> Iterator[Table]:
    driver = device.driver
    rows = {
        "driver": str(driver.phase),
        "restarts": str(driver.restarts),
        "last fault": driver.fault,
        "next start": f"in {driver.retry_after_s:.0f} s" if driver.retry_after_s else "",
        "busy": "yes" if description.busy else "no",
        "queued": str(description.queued),
        "calibration": _calibration(device),
    }
    yield _pairs(description.capabilities.name, rows)
    if device.telemetry is None:
        return
    when = f"Telemetry, {device.age_s:.1f} s ago"
    readings = device.telemetry.readings
    yield _pairs(when, {r.name: f"{_readable(r.value)} {r.unit}".rstrip() for r in readings})
    if device.telemetry.interlocks:
        states = device.telemetry.interlocks
        yield _pairs("Interlocks", {k: "closed" if v else "OPEN" for k, v in states.items()})


def _calibration(device: DeviceStatus) -> str:
    if device.calibration is None:
        return "none"
    age = f"{device.calibration[:19]}, {device.calibration_age_s:.0f} s old"
    return f"{age}, STALE" if device.calibration_stale else age


def _record(record: CalibrationRecord) -> Table:
    made: Calibration = record.calibration
    facts = {name: _readable(value) for name, value in made.facts.items()}
    rows = {
        "fingerprint": record.fingerprint,
        "taken_at": datetime.fromtimestamp(made.taken_at, UTC).isoformat(timespec="seconds"),
        "valid_s": f"{made.valid_s:g}",
        "threshold_w": "" if made.threshold_w is None else f"{made.threshold_w:g}",
        "coupling_gain": "" if made.coupling_gain is None else f"{made.coupling_gain:g}",
    }
    return _pairs("", rows | facts)


def _pairs(title: str, rows: dict[str, str]) -> Table:
    table = Table("property", "value", title=title, title_justify="left", show_header=False)
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    return table


def _readable(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case None:
            return "-"
        case _:
            return str(value)
