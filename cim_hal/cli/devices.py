"""``cim-hal list`` and ``cim-hal describe``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from cim_hal.client.session import open_device
from cim_hal.machine.registry import registered_drivers

if TYPE_CHECKING:
    from cim_hal.protocol.messages import Description

__all__ = ["describe", "list_drivers"]


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_drivers(*, as_json: bool) -> None:
    """List the installed drivers."""
    drivers = registered_drivers()
    if as_json:
        click.echo(json.dumps([asdict(driver) for driver in drivers], indent=2))
        return
    table = Table("name", "factory", "package")
    for driver in drivers:
        table.add_row(driver.name, driver.factory, driver.package)
    Console().print(table)


@click.command()
@click.argument("target")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def describe(target: str, *, as_json: bool) -> None:
    """Say what the machine TARGET can do, and how busy it is.

    \b
    Examples:
      cim-hal describe emulator
      cim-hal describe tcp://127.0.0.1:5555 --json
    """  # noqa: D301
    with open_device(target) as session:
        description = session.describe()
    fields = _fields(description)
    if as_json:
        click.echo(json.dumps(fields, indent=2))
        return
    table = Table("property", "value", show_header=False)
    for name, value in fields.items():
        table.add_row(name, _readable(value))
    Console().print(table)


def _fields(description: Description) -> dict[str, object]:
    state = {"queued": description.queued, "busy": description.busy}
    return description.capabilities.model_dump(mode="json") | state


def _readable(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(f"{item:g}" for item in value)
        case float():
            return f"{value:g}"
        case _:
            return str(value)
