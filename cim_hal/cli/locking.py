"""``cim-hal lock``, ``unlock``, ``estop`` and ``reset``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from cim_hal.cli.durations import DURATION, show_duration
from cim_hal.cli.shared_options import key_options
from cim_hal.client.options import EPOCH_VARIABLE
from cim_hal.client.session import open_device
from cim_hal.errors import LeaseHeldError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

    from cim_hal.protocol.wire.messages import LockState, SafetyState

__all__ = ["estop", "lock", "reset", "unlock"]

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@click.argument("target")
@key_options
@click.option("--note", default="", metavar="TEXT", help="Why, for those who wait.")
@click.option(
    "--for",
    "for_s",
    type=DURATION,
    default="10m",
    show_default=True,
    metavar="TIME",
    help="How long, such as 90s, 10m or 2h; it ends by itself then.",
)
@click.option(
    "--wait",
    "wait_s",
    type=DURATION,
    default="0s",
    show_default=True,
    metavar="TIME",
    help="How long to wait where another has the machine.",
)
@click.option("--show", is_flag=True, help="Say who has the machine, and lock nothing.")
@AS_JSON
def lock(
    target: str,
    *,
    key: Path | None,
    server_key: str | None,
    note: str,
    for_s: float,
    wait_s: float,
    show: bool,
    as_json: bool,
) -> None:
    """Have the machine TARGET alone for a time, beyond the end of this command.

    Prints the epoch of the lock. Programs that carry it may use the machine: set CIM_HAL_EPOCH, or
    pass it to open_device. cim-hal unlock gives the machine back.

    \b
    Examples:
      cim-hal lock tcp://lab:5555 --note "aligning the cavity" --for 30m
      cim-hal lock tcp://lab:5555 --wait 1h
      cim-hal lock tcp://lab:5555 --show
      export CIM_HAL_EPOCH=$(cim-hal lock tcp://lab:5555 --json | jq .epoch)
    """  # noqa: D301
    with open_device(target, key=key, server_key=server_key) as session:
        if not show:
            session.lock(note=note, for_s=for_s, stands=True, wait_s=wait_s)
        state = session.lock_info()
    _print(state, as_json=as_json, sentence=_whose(state, epoch=not show))


@click.command()
@click.argument("target")
@key_options
@click.option("--force", is_flag=True, help="Break the lock of another; needs the role admin.")
@AS_JSON
def unlock(
    target: str, *, key: Path | None, server_key: str | None, force: bool, as_json: bool
) -> None:
    """Give the machine TARGET back. A free one is no mistake.

    \b
    Examples:
      cim-hal unlock tcp://lab:5555
      cim-hal unlock tcp://lab:5555 --force
    """  # noqa: D301
    with open_device(target, key=key, server_key=server_key) as session:
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
@click.argument("target")
@key_options
@click.option("--reason", default="", metavar="TEXT", help="Why, for all who ask.")
@AS_JSON
def estop(
    target: str, *, key: Path | None, server_key: str | None, reason: str, as_json: bool
) -> None:
    """Stop the machine TARGET in an emergency: outputs off, jobs held until cim-hal reset.

    Needs the role operator and no lock.

    \b
    Examples:
      cim-hal estop tcp://lab:5555 --reason "smoke at the pump laser"
    """  # noqa: D301
    with open_device(target, key=key, server_key=server_key) as session:
        state = session.estop(reason)
    _print(state, as_json=as_json, sentence=_why(state))


@click.command()
@click.argument("target")
@key_options
@click.option("--show", is_flag=True, help="Say whether it is stopped, and change nothing.")
@AS_JSON
def reset(
    target: str, *, key: Path | None, server_key: str | None, show: bool, as_json: bool
) -> None:
    """Let the machine TARGET run again after an emergency stop. Needs the role operator.

    \b
    Examples:
      cim-hal reset tcp://lab:5555 --show
      cim-hal reset tcp://lab:5555
    """  # noqa: D301
    with open_device(target, key=key, server_key=server_key) as session:
        state = session.safety()
        if state.stop and not show:
            if not as_json:
                click.echo(_why(state))
            state = session.reset(state.stop)
    _print(state, as_json=as_json, sentence=_why(state))


def _print(state: BaseModel, *, as_json: bool, sentence: str) -> None:
    fields: dict[str, Any] = state.model_dump(exclude={"t"})
    click.echo(json.dumps(fields, indent=2) if as_json else sentence)


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
