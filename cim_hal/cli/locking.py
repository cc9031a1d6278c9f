"""``cim-hal lock``, ``unlock``, ``estop`` and ``reset``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from cim_hal.cli.common import json_option, print_json, target_options
from cim_hal.client.options import EPOCH_VARIABLE
from cim_hal.errors import LeaseHeldError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from cim_hal.cli.common import Target
    from cim_hal.protocol.wire.messages import LockState, SafetyState

__all__ = ["DURATION", "estop", "lock", "reset", "show_duration", "unlock"]

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds."""
        if isinstance(value, float | int):
            return float(value)
        text = str(value).strip()
        number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
        try:
            seconds = float(number) * UNITS[unit]
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            self.fail(f"{value!r} is not a time such as 90s, 10m, 2h or 1d", param, ctx)
        return seconds


DURATION = _Duration()


@click.command()
@target_options
@click.option("--note", default="", metavar="TEXT", help="The reason, shown to those who wait.")
@click.option(
    "--for",
    "for_s",
    type=DURATION,
    default="10m",
    show_default=True,
    metavar="TIME",
    help="When the lock expires: 90s, 10m, 2h.",
)
@click.option(
    "--wait",
    "wait_s",
    type=DURATION,
    default="0s",
    show_default=True,
    metavar="TIME",
    help="How long to wait while another user has the machine.",
)
@click.option("--show", is_flag=True, help="Only show who has locked the machine.")
@json_option
def lock(
    machine: Target,
    *,
    note: str,
    for_s: float,
    wait_s: float,
    show: bool,
    as_json: bool,
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
    with machine.open() as session:
        if not show:
            session.lock(note=note, for_s=for_s, stands=True, wait_s=wait_s)
        state = session.lock_info()
    _print(state, as_json=as_json, sentence=_whose(state, epoch=not show))


@click.command()
@target_options
@click.option("--force", is_flag=True, help="Break the lock of another user; needs the role admin.")
@json_option
def unlock(machine: Target, *, force: bool, as_json: bool) -> None:
    """Release the machine TARGET. It is not an error if it was not locked.

    \b
    Examples:
      cim-hal unlock tcp://lab:5555
      cim-hal unlock tcp://lab:5555 --force
    """  # noqa: D301
    with machine.open() as session:
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
    _print(state, as_json=as_json, sentence=_whose(state))


@click.command()
@target_options
@click.option("--reason", default="", metavar="TEXT", help="The reason, shown to all who ask.")
@json_option
def estop(machine: Target, *, reason: str, as_json: bool) -> None:
    """Stop the machine TARGET in an emergency: outputs off, jobs held until reset.

    Needs the role operator and no lock.

    \b
    Examples:
      cim-hal estop tcp://lab:5555 --reason "smoke at the pump laser"
    """  # noqa: D301
    with machine.open() as session:
        state = session.estop(reason)
    _print(state, as_json=as_json, sentence=_why(state))


@click.command()
@target_options
@click.option("--show", is_flag=True, help="Only show whether the machine is stopped.")
@json_option
def reset(machine: Target, *, show: bool, as_json: bool) -> None:
    """Let the machine TARGET run again after an emergency stop. Needs the role operator.

    \b
    Examples:
      cim-hal reset tcp://lab:5555 --show
      cim-hal reset tcp://lab:5555
    """  # noqa: D301
    with machine.open() as session:
        state = session.safety()
        if state.stop and not show:
            if not as_json:
                click.echo(_why(state))
            state = session.reset(state.stop)
    _print(state, as_json=as_json, sentence=_why(state))


def _print(state: BaseModel, *, as_json: bool, sentence: str) -> None:
    if as_json:
        print_json(state.model_dump(exclude={"t"}))
    else:
        click.echo(sentence)


def _whose(state: LockState, *, epoch: bool = False) -> str:
    if not state.epoch:
        return "the machine is free"
    who = "you have" if state.is_yours else f"{state.holder} has"
    note = f" ({state.note})" if state.note else ""
    left = show_duration(state.expires_in_s or 0.0)
    renewed = "" if state.stands else " unless it is renewed"
    carry = f"\nto use it: export {EPOCH_VARIABLE}={state.epoch}" if epoch else ""
    return f"{who} locked the machine{note}, for {left}{renewed}{carry}"


def _why(state: SafetyState) -> str:
    if not state.stop:
        return "the machine is not stopped"
    why = f": {state.reason}" if state.reason else ""
    return f"{state.by} stopped the machine {show_duration(state.for_s)} ago{why}"


def show_duration(seconds: float) -> str:
    """Return a span as a person would say it.

    Examples
    --------
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
