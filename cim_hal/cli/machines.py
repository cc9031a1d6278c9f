"""``cim-hal list`` and ``cim-hal describe``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from cim_hal.cli.shared_options import key_options
from cim_hal.client.session import open_device
from cim_hal.machine.registry import registered_drivers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from cim_hal.machine.setting import Setting
    from cim_hal.protocol.wire.messages import Description

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
@key_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def describe(target: str, *, key: Path | None, server_key: str | None, as_json: bool) -> None:
    """Say what the machine TARGET can do, and how busy it is.

    \b
    Examples:
      cim-hal describe emulator
      cim-hal describe tcp://127.0.0.1:5555 --json
    """  # noqa: D301
    with open_device(target, key=key, server_key=server_key) as session:
        description = session.describe()
    if as_json:
        state = {"queued": description.queued, "busy": description.busy}
        fields = description.capabilities.model_dump(mode="json") | state
        click.echo(json.dumps(fields, indent=2))
        return
    for table in _tables(description):
        Console().print(table)


def _tables(description: Description) -> Iterator[Table]:
    capabilities = description.capabilities
    apart = {"properties", "settings"}
    fields = capabilities.model_dump(exclude=apart) | {
        "queued": description.queued,
        "busy": description.busy,
    }
    yield _pairs("", fields)
    if capabilities.properties:
        yield _pairs("Properties", capabilities.properties)
    if capabilities.settings:
        yield _settings(capabilities.settings)


def _pairs(title: str, fields: Mapping[str, object]) -> Table:
    table = Table("property", "value", title=title, title_justify="left", show_header=False)
    for name, value in fields.items():
        table.add_row(name, _readable(value))
    return table


def _settings(settings: Sequence[Setting]) -> Table:
    headings = ("setting", "default", "range", "what it is")
    table = Table(*headings, title="Settings of a job", title_justify="left")
    for setting in settings:
        scale = ", log" if setting.log else ""
        row = (setting.name, f"{setting.default:g}", f"{setting.range}{scale}")
        table.add_row(*row, setting.description)
    return table


def _readable(value: object) -> str:
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case tuple():
            return ", ".join(f"{item:g}" for item in value)
        case float():
            return f"{value:g}"
        case _:
            return str(value)
