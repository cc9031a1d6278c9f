"""``cim-hal conform``: is a machine what its driver says."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, get_args

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from cim_hal.cli.shared_options import key_options
from cim_hal.client.session import open_device
from cim_hal.conformance import CHECKS, Level, MachineUnderTest, Report
from cim_hal.conformance import conform as conform_

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cim_hal.conformance import Check, Outcome, Verdict

__all__ = ["conform"]

COLORS: dict[Outcome, str] = {"passed": "green", "failed": "red", "skipped": "yellow"}


@click.command()
@click.argument("target")
@key_options
@click.option(
    "--level",
    "levels",
    type=click.Choice(get_args(Level)),
    multiple=True,
    help="Only checks of this level; may be given again.  [default: all]",
)
@click.option(
    "--only",
    "names",
    type=click.Choice([check.name for check in CHECKS]),
    metavar="NAME",
    multiple=True,
    help="Only this check; may be given again.",
)
@click.option(
    "--runs",
    type=click.IntRange(min=64),
    default=256,
    show_default=True,
    help="Runs of a statistical test.",
)
@click.option("--seed", type=click.IntRange(0, 2**62), default=0, show_default=True)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.0, min_open=True),
    default=120.0,
    show_default=True,
    help="Seconds for each job.",
)
@click.option("--list", "as_list", is_flag=True, help="Say what is checked, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def conform(
    target: str,
    *,
    key: Path | None,
    server_key: str | None,
    levels: tuple[Level, ...],
    names: tuple[str, ...],
    runs: int,
    seed: int,
    timeout_s: float,
    as_list: bool,
    as_json: bool,
) -> None:
    """Check that the machine TARGET is what its driver says.

    Shapes, limits, refusals; signs and places of couplings and fields; ground states, known by
    exhaustion, found more often than by guessing; seeds, cancelling, amplitudes, settings. What the
    machine does not claim is skipped. Only jobs are submitted. Statistical tests fail a right
    machine once in a million. Ends with 1 where a check fails.

    \b
    Examples:
      cim-hal conform my_lab:make
      cim-hal conform tcp://cim.lab:5555 --level sampling
      cim-hal conform emulator --only ground-states --runs 1000 --json
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
        _list(checks)
        return
    with open_device(target, key=key, server_key=server_key) as session:
        machine = MachineUnderTest(session, seed=seed, n_runs=runs, timeout_s=timeout_s)
        report = _report(machine, checks)
    if as_json:
        summary = {"conforms": report.conforms, **asdict(report)}
        click.echo(json.dumps(summary, indent=2))
    else:
        _show(report)
    sys.exit(0 if report.conforms else 1)


def _report(machine: MachineUnderTest, checks: Sequence[Check]) -> Report:
    """Make the checks, with a word on the one under way."""
    found: list[Verdict] = []
    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(checks[0].name)
        for verdict in conform_(machine, checks):
            found.append(verdict)
            if len(found) < len(checks):
                bar.update(task, description=checks[len(found)].name)
    return Report(machine.capabilities.name, machine.seed, tuple(found))


def _show(report: Report) -> None:
    table = Table("check", "level", "", "what was seen", "s")
    for verdict in report.verdicts:
        outcome = f"[{COLORS[verdict.outcome]}]{verdict.outcome}[/]"
        said = verdict.said if verdict.outcome != "failed" else f"{verdict.promise} {verdict.said}"
        table.add_row(verdict.name, verdict.level, outcome, said, f"{verdict.seconds:.1f}")
    console = Console()
    console.print(table)
    counts = ", ".join(f"{report.count(outcome)} {outcome}" for outcome in COLORS)
    verdict = "conforms" if report.conforms else "does not conform"
    console.print(f"{report.device} {verdict}: {counts} (seed {report.seed})", highlight=False)


def _list(checks: Sequence[Check]) -> None:
    table = Table("check", "level", "promise")
    for check in checks:
        table.add_row(check.name, check.level, check.promise)
    Console().print(table)
