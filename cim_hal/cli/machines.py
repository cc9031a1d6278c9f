"""Commands for one machine: what it is and does, its calibration, its lock, its emergency stop."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from cim_hal.cli.common import (
    json_option,
    print_json,
    print_properties,
    print_table,
    readable,
    server_options,
    target_options,
)
from cim_hal.client.options import EPOCH_VARIABLE
from cim_hal.console import say
from cim_hal.errors import LeaseHeldError
from cim_hal.extras import FULL_INSTALL
from cim_hal.machine.telemetry import DriverState
from cim_hal.option_types import COUNT, MAX_SECONDS, POSITIVE_SECONDS
from cim_hal.toml_files import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

    from cim_hal.cli.common import Target
    from cim_hal.machine.capabilities import DriverOption, Setting
    from cim_hal.protocol.wire.messages import (
        CalibrationRecord,
        Description,
        DeviceStatus,
        LockState,
        SafetyState,
        StatusReport,
    )

__all__ = [
    "calibrate",
    "describe",
    "duration",
    "estop",
    "list_drivers",
    "lock",
    "reset",
    "show_duration",
    "status",
    "unlock",
]

LISTED = ("max_spins", "coupling_bits", "has_field", "description")
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@click.command("list")
@click.option("--spins", type=COUNT, metavar="N", help="Only machines of at least N spins.")
@click.option("--bits", type=COUNT, metavar="N", help="Only couplings of N bits or more, or real.")
@click.option("--field", is_flag=True, help="Only machines with a field.")
@json_option
def list_drivers(*, spins: int | None, bits: int | None, field: bool, as_json: bool) -> None:
    """List the installed drivers: spins, bits, and what each is good for.

    Bits are those of a coupling, "real" where none are rounded. A machine without a field stands an
    auxiliary spin in for it. The how-to "which emulator" compares those that come with cim-hal.

    Emulated machines say what they are. Others are not opened for it: their line is the first one
    of the docstring of their factory. A driver that cannot be imported or made is listed with the
    reason. Where nothing is known of a machine, no filter leaves it out.

    \b
    Examples:
      cim-hal list
      cim-hal list --spins 2000 --field
      cim-hal list --json
    """  # noqa: D301
    from cim_hal.machine.registry import registered_drivers

    every = [(driver, _capabilities_of(driver.name)) for driver in registered_drivers()]
    found = [pair for pair in every if _is_wanted(pair[1], spins or 0, bits or 0, field=field)]
    if as_json:
        print_json([asdict(driver) | dict.fromkeys(LISTED) | known for driver, known in found])
        return
    if not every:
        say(f"no driver is installed: cim-hal new-driver makes one; an emulator: {FULL_INSTALL}")
        return
    rows = ((driver.name, *_list_row(known)) for driver, known in found)
    print_table("name", "spins", "bits", "field", "what it is", rows=rows)
    if any("max_spins" not in known for _, known in found):
        say("-: not opened, since it may be a real machine; cim-hal describe NAME opens it")


def _is_wanted(known: dict[str, Any], spins: int, bits: int, *, field: bool) -> bool:
    """Tell whether a machine is as large as asked for; one that is not known may be."""
    if "max_spins" not in known:
        return True
    own_bits = known["coupling_bits"]
    has_bits = own_bits is None or own_bits >= bits
    return known["max_spins"] >= spins and has_bits and known["has_field"] >= field


def _list_row(known: dict[str, Any]) -> Iterator[str]:
    for name in LISTED:
        is_real = name == "coupling_bits" and known.get(name, ...) is None
        yield "real" if is_real else readable(known.get(name))


def _capabilities_of(name: str) -> dict[str, Any]:
    """Return what an emulated machine can do; what else is known, or why it does not start."""
    from cim_hal.machine.registry import is_emulated, make_driver, summary_of

    try:
        if not is_emulated(name):
            return {"description": summary_of(name)}
        driver = make_driver(name)
        try:
            return driver.describe().model_dump(include=set(LISTED))
        finally:
            driver.close()
    except Exception as error:  # noqa: BLE001  a driver may raise anything; the others are listed
        return {"description": f"does not start: {one_line(error)}"}


@click.command()
@target_options
@json_option
def describe(machine: Target, *, as_json: bool) -> None:
    """Show the capabilities of the machine TARGET, and how busy it is.

    \b
    Examples:
      cim-hal describe emulator
      cim-hal describe bench.toml
      cim-hal describe my_lab:make --option host=10.0.0.5
      cim-hal describe tcp://127.0.0.1:5555 --json
    """  # noqa: D301
    with machine.open() as session:
        description = session.describe()
    if as_json:
        print_json(description.capabilities.model_dump(mode="json") | _load(description))
        return
    _show_capabilities(description)


@click.command()
@server_options
@json_option
def status(machine: Target, *, as_json: bool) -> None:
    """Show the state of the machine TARGET: driver, telemetry, calibration, queue.

    \b
    Examples:
      cim-hal status tcp://127.0.0.1:5555
      cim-hal status tcp://127.0.0.1:5555 --json
    """  # noqa: D301
    with machine.connect() as session:
        report = session.status()
    if as_json:
        shared = report.model_dump(mode="json", include={"state", "stop", "lock", "queued"})
        device = report.machine.model_dump(mode="json", exclude={"t"}) if report.machine else {}
        print_json(device | shared | {"busy": report.running is not None})
        return
    _show_status(report)


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
    _show_record(record)


def duration(text: str) -> float:
    """Return the seconds of a time such as ``90s``, ``10m``, ``2h`` or ``1d``."""
    text = text.strip()
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
    try:
        seconds = float(number) * UNITS[unit]
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= MAX_SECONDS:
        raise click.BadParameter(
            f"{text!r} is not a time such as 90s, 10m, 2h or 1d, of at most a year"
        )
    return seconds


@click.command()
@server_options
@click.option("--note", default="", metavar="TEXT", help="The reason, shown to those who wait.")
@click.option(
    "--for",
    "for_s",
    type=duration,
    default="10m",
    show_default=True,
    metavar="TIME",
    help="When the lock expires: 90s, 10m, 2h.",
)
@click.option(
    "--wait",
    "wait_s",
    type=duration,
    default="0s",
    show_default=True,
    metavar="TIME",
    help="How long to wait while another user has the machine.",
)
@click.option("--show", is_flag=True, help="Only show who has locked the machine.")
@json_option
def lock(
    machine: Target, *, note: str, for_s: float, wait_s: float, show: bool, as_json: bool
) -> None:
    """Lock the machine TARGET for a time; the lock outlives this command.

    Prints the epoch of the lock. Programs that know it may use the machine: set CIM_HAL_EPOCH, or
    pass it to open_device. cim-hal unlock releases the machine.

    \b
    Examples:
      cim-hal lock tcp://lab:5555 --note "aligning the cavity" --for 30m
      cim-hal lock tcp://lab:5555 --wait 1h
      cim-hal lock tcp://lab:5555 --show
      export CIM_HAL_EPOCH=$(cim-hal lock tcp://lab:5555 --json | jq .epoch)
    """  # noqa: D301
    with machine.connect() if show else machine.open() as session:
        if not show:
            session.lock(note=note, for_s=for_s, stands=True, wait_s=wait_s)
        state = session.lock_info()
    lines = [_whose(state)]
    if state.epoch and not show:
        lines.append(f"to use it: export {EPOCH_VARIABLE}={state.epoch}")
    _print(state, *lines, as_json=as_json)


@click.command()
@server_options
@click.option("--force", is_flag=True, help="Break the lock of another user; needs the role admin.")
@json_option
def unlock(machine: Target, *, force: bool, as_json: bool) -> None:
    """Release the machine TARGET. It is not an error if it was not locked.

    \b
    Examples:
      cim-hal unlock tcp://lab:5555
      cim-hal unlock tcp://lab:5555 --force
    """  # noqa: D301
    with machine.connect() as session:
        state = session.lock_info()
        if state.epoch and not (state.is_yours or force):
            raise LeaseHeldError(
                _whose(state),
                hint="ask them, or break the lock with --force",
                holder=state.holder,
                note=state.note,
                expires_in_s=state.expires_in_s,
            )
        if state.epoch:
            state = session.break_lock(state.epoch)
    _print(state, _whose(state), as_json=as_json)


@click.command()
@server_options
@click.option("--reason", default="", metavar="TEXT", help="The reason, shown to all who ask.")
@json_option
def estop(machine: Target, *, reason: str, as_json: bool) -> None:
    """Stop the machine TARGET in an emergency: outputs off, jobs held until reset.

    Needs the role operator and no lock.

    \b
    Examples:
      cim-hal estop tcp://lab:5555 --reason "smoke at the pump laser"
    """  # noqa: D301
    with machine.connect() as session:
        state = session.estop(reason)
    _print(state, _why(state), as_json=as_json)


@click.command()
@server_options
@click.option("--show", is_flag=True, help="Only show whether the machine is stopped.")
@json_option
def reset(machine: Target, *, show: bool, as_json: bool) -> None:
    """Let the machine TARGET run again after an emergency stop. Needs the role operator.

    \b
    Examples:
      cim-hal reset tcp://lab:5555 --show
      cim-hal reset tcp://lab:5555
    """  # noqa: D301
    with machine.connect() as session:
        state = session.safety()
        if state.stop and not show:
            if not as_json:
                say(_why(state))
            state = session.reset(state.stop)
    _print(state, _why(state), as_json=as_json)


def _load(description: Description) -> dict[str, int | bool]:
    return {"queued": description.queued, "busy": description.busy}


def _show_capabilities(description: Description) -> None:
    capabilities = description.capabilities
    others = {"properties", "units", "settings", "options"}
    fields = capabilities.model_dump(exclude=others) | _load(description)
    print_properties("", {name: readable(value) for name, value in fields.items()})
    if capabilities.properties:
        units = {name: unit for name, unit in capabilities.units.items() if unit != "1"}
        facts = {
            name: f"{readable(value)} {units.get(name, '') if value is not None else ''}".rstrip()
            for name, value in capabilities.properties.items()
        }
        print_properties("Properties", facts)
    rows = [*map(_option_row, capabilities.options), *map(_setting_row, capabilities.settings)]
    if rows:
        title = "Options, with which the driver is built, and settings, which a job may change"
        headings = ("", "name", "value", "default", "unit", "range", "description")
        print_table(*headings, rows=rows, title=title)


def _option_row(option: DriverOption) -> tuple[str, ...]:
    default = "it must be given" if option.is_required else readable(option.default)
    words = option.model_copy(update={"unit": ""}).range, option.description
    return "option", option.name, readable(option.value), default, option.unit, *words


def _setting_row(setting: Setting) -> tuple[str, ...]:
    value = f"{setting.default:g}"
    values = (value, "") if setting.is_chosen else ("", value)
    words = setting.model_copy(update={"unit": ""}).range + (", log" if setting.log else "")
    return "setting", setting.name, *values, setting.unit, words, setting.description


def _show_status(report: StatusReport) -> None:
    device, stop, lock = report.machine, report.stop, report.lock
    driver = device.driver if device else DriverState()
    rows = {
        "state": report.state,
        "stopped": f"by {stop.by}, {show_duration(stop.for_s)} ago" if stop else "",
        "reason": stop.reason if stop else "",
        "locked": f"by {lock.holder}" if lock else "",
        "driver": str(driver.phase),
        "restarts": str(driver.restarts),
        "last fault": driver.fault,
        "next start": f"in {driver.retry_after_s:.0f} s" if driver.retry_after_s else "",
        "busy": readable(report.running is not None),
        "queued": str(report.queued),
        "calibration": _calibration(device) if device else "",
    }
    print_properties(report.device, rows)
    if device is None or device.telemetry is None:
        return
    readings = {r.name: f"{readable(r.value)} {r.unit}".rstrip() for r in device.telemetry.readings}
    stale = ", STALE: not the present state" if device.telemetry_stale else ""
    print_properties(f"Telemetry, {device.age_s:.1f} s ago{stale}", readings)
    states = device.telemetry.interlocks
    if states:
        shown = {name: "closed" if is_closed else "OPEN" for name, is_closed in states.items()}
        print_properties("Interlocks", shown)


def _calibration(device: DeviceStatus) -> str:
    if device.calibration is None:
        return "none"
    age = f"{device.calibration[:19]}, {device.calibration_age_s:.0f} s old"
    return f"{age}, STALE" if device.calibration_stale else age


def _show_record(record: CalibrationRecord) -> None:
    made = record.calibration
    rows = {
        "fingerprint": record.fingerprint,
        "taken_at": datetime.fromtimestamp(made.taken_at, UTC).isoformat(timespec="seconds"),
        "valid_s": f"{made.valid_s:g}",
        "threshold_w": "" if made.threshold_w is None else f"{made.threshold_w:g}",
        "coupling_gain": "" if made.coupling_gain is None else f"{made.coupling_gain:g}",
    }
    print_properties("", rows | {name: readable(fact) for name, fact in made.facts.items()})


def _print(state: BaseModel, *lines: str, as_json: bool) -> None:
    if as_json:
        print_json(state.model_dump(exclude={"t"}))
    else:
        say(*lines)


def _whose(state: LockState) -> str:
    if not state.epoch:
        return "the machine is free"
    who = "you have" if state.is_yours else f"{state.holder} has"
    note = f" ({state.note})" if state.note else ""
    left = show_duration(state.expires_in_s or 0.0)
    renewed = "" if state.stands else " unless it is renewed"
    return f"{who} locked the machine{note}, for {left}{renewed}"


def _why(state: SafetyState) -> str:
    if not state.stop:
        return "the machine is not stopped"
    why = f": {state.reason}" if state.reason else ""
    return f"{state.by} stopped the machine {show_duration(state.for_s)} ago{why}"


def show_duration(seconds: float) -> str:
    """Return a span as a person would say it.

    >>> show_duration(59.6), show_duration(600), show_duration(5460)
    ('1 min', '10 min', '1 h 31 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
