"""``cim-hal conform``: check that a machine is what its driver says."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, get_args

import click
from rich.console import Console
from rich.progress import SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from cim_hal.cli.common import (
    json_option,
    output_console,
    print_json,
    print_table,
    progress_on,
    target_options,
)
from cim_hal.conformance import CHECKS, Cable, Level, MachineUnderTest, Report
from cim_hal.conformance import conform as conform_
from cim_hal.console import say
from cim_hal.errors import TargetError
from cim_hal.option_types import POSITIVE_SECONDS
from cim_hal.text import printable

if TYPE_CHECKING:
    from cim_hal.cli.common import Target
    from cim_hal.conformance import Check, Outcome, Verdict

__all__ = ["conform"]

PLUG_S = 60.0  # for a command that unplugs or plugs in

COLORS: dict[Outcome, str] = {"passed": "green", "failed": "red", "skipped": "yellow"}


@click.command()
@target_options
@click.option(
    "--level",
    "levels",
    type=click.Choice(get_args(Level)),
    multiple=True,
    help="Only checks of this level; repeatable.  [default: all]",
)
@click.option(
    "--only",
    "names",
    type=click.Choice([check.name for check in CHECKS]),
    metavar="NAME",
    multiple=True,
    help="Only this check; repeatable.",
)
@click.option(
    "--runs",
    type=click.IntRange(64, 1_000_000),
    default=256,
    show_default=True,
    help="Runs of a statistical test.",
)
@click.option("--seed", type=click.IntRange(0, 2**62), default=0, show_default=True)
@click.option(
    "--timeout",
    "timeout_s",
    type=POSITIVE_SECONDS,
    default=120.0,
    show_default=True,
    help="Seconds for each job.",
)
@click.option("--unplug", metavar="COMMAND", help="Command that cuts the machine off.")
@click.option("--plug", metavar="COMMAND", help="Command that connects it again.")
@click.option("--list", "as_list", is_flag=True, help="List the checks, and stop.")
@json_option
def conform(
    chosen: Target,
    *,
    levels: tuple[Level, ...],
    names: tuple[str, ...],
    runs: int,
    seed: int,
    timeout_s: float,
    unplug: str | None,
    plug: str | None,
    as_list: bool,
    as_json: bool,
) -> None:
    """Check that the machine TARGET is what its driver says.

    Checks shapes, limits and refusals; signs and places of couplings and fields; that ground
    states, known by exhaustion, are found more often than by guessing; seeds, cancelling,
    amplitudes, settings. Checks of features that the machine does not claim are skipped. Only jobs
    are submitted. A statistical test fails a correct machine once in a million. The exit status is
    1 where a check fails.

    \b
    Examples:
      cim-hal conform my_lab:make
      cim-hal conform tcp://cim.lab:5555 --level sampling
      cim-hal conform emulator --only ground-states --runs 1000 --json
      cim-hal conform tcp://cim.lab:5555 --unplug 'socket 3 off' --plug 'socket 3 on'
      cim-hal conform emulator --list
    """  # noqa: D301
    checks = [
        check
        for check in CHECKS
        if (not levels or check.level in levels) and (not names or check.name in names)
    ]
    if not checks:
        raise click.UsageError("no check is both of that level and of that name")
    if as_list:
        rows = ((check.name, check.level, check.promise) for check in checks)
        print_table("check", "level", "promise", rows=rows)
        return
    cable = _cable(unplug, plug)
    with chosen.open() as session:
        machine = MachineUnderTest(session, seed, runs, timeout_s, cable=cable)
        report = _report(machine, checks, shows=not as_json)
    if as_json:
        print_json({"conforms": report.conforms, **asdict(report)})
    else:
        _show_end(report)
    raise click.exceptions.Exit(0 if report.conforms else 1)


def _cable(unplug: str | None, plug: str | None) -> Cable | None:
    if (unplug is None) != (plug is None):
        raise click.UsageError("--unplug and --plug go together")
    if unplug is None or plug is None:
        return None

    def run(command: str) -> None:
        try:
            subprocess.run(shlex.split(command), check=True, timeout=PLUG_S)  # noqa: S603
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise TargetError(f"{command!r} failed: {error}") from error

    return Cable(lambda: run(unplug), lambda: run(plug))


def _report(machine: MachineUnderTest, checks: Sequence[Check], *, shows: bool) -> Report:
    """Make the checks, and show each verdict as it comes; on a terminal also what is under way."""
    found: list[Verdict] = []
    widths = max(len(check.name) for check in checks), max(len(check.level) for check in checks)
    out, console = output_console(), Console(stderr=True)
    with progress_on(console, SpinnerColumn(), TextColumn("{task.description}")) as bar:
        task = bar.add_task(checks[0].name)
        for verdict in conform_(machine, checks):
            found.append(verdict)
            if shows:
                out.print(_row(verdict, *widths))
            if len(found) < len(checks):
                bar.update(task, description=checks[len(found)].name)
    return Report(machine.capabilities.name, machine.seed, tuple(found))


def _row(verdict: Verdict, name_width: int, level_width: int) -> Table:
    """Return the line of a verdict: check, level, outcome, seconds, and what was seen."""
    outcome = Text(verdict.outcome, COLORS[verdict.outcome])
    promised = f"{verdict.promise} Seen: " if verdict.outcome == "failed" else ""
    row = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    for width in (name_width, level_width, len("skipped")):
        row.add_column(width=width, no_wrap=True)
    row.add_column(width=7, justify="right", no_wrap=True)
    row.add_column()
    seconds = f"{verdict.seconds:.1f} s"
    row.add_row(verdict.name, verdict.level, outcome, seconds, printable(promised + verdict.said))
    return row


def _show_end(report: Report) -> None:
    counts = ", ".join(f"{report.count(outcome)} {outcome}" for outcome in COLORS)
    verdict = "conforms" if report.conforms else "does not conform"
    say(f"{report.device} {verdict}: {counts} (seed {report.seed})")
