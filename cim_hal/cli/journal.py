"""``cim-hal journal``: check, repair and export what a server keeps on its disk."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cim_hal.cli.common import json_option, print_json
from cim_hal.console import say
from cim_hal.option_types import OutputFolder
from cim_hal.text import counted

if TYPE_CHECKING:
    from cim_hal.server.storage.repair import JournalReport

__all__ = ["journal"]

folder_argument = click.argument(
    "folder", type=click.Path(exists=True, file_okay=False, path_type=Path)
)


@click.group()
def journal() -> None:
    """Check, repair or export FOLDER, in which a server keeps jobs and results.

    FOLDER is that of `serve --state`, by default one of the target in
    ~/.local/state/cim-hal/servers. The server must have ended.

    \b
    Examples:
      cim-hal journal check ~/.local/state/cim-hal/servers/emulator
      cim-hal journal repair ~/.local/state/cim-hal/servers/emulator
      cim-hal journal export ~/.local/state/cim-hal/servers/emulator rescued
    """  # noqa: D301


@journal.command()
@folder_argument
@json_option
def check(folder: Path, *, as_json: bool) -> None:
    """Read all that is in FOLDER and list what is damaged; changes nothing.

    Ends with 1 if something is.

    \b
    Examples:
      cim-hal journal check ~/.local/state/cim-hal/servers/emulator
      cim-hal journal check /var/lib/cim-hal/emulator --json
    """  # noqa: D301
    from cim_hal.server.storage.repair import check_journal

    report = check_journal(folder)
    _show(report, as_json=as_json)
    sys.exit(1 if report.problems else 0)


@journal.command()
@folder_argument
@json_option
def repair(folder: Path, *, as_json: bool) -> None:
    """Set aside what is damaged in FOLDER, so that a server can start on it.

    Nothing is deleted: the database is copied, and damaged files are moved, to a folder
    set-aside-DATE in FOLDER. Jobs whose records are damaged have failed (job.lost); their keys are
    remembered, unless the database itself was lost.

    \b
    Examples:
      cim-hal journal repair ~/.local/state/cim-hal/servers/emulator
      cim-hal journal repair /var/lib/cim-hal/emulator --json
    """  # noqa: D301
    from cim_hal.server.storage.repair import repair_journal

    report, aside = repair_journal(folder)
    _show(report, as_json=as_json, set_aside=None if aside is None else str(aside))
    if aside is not None and not as_json:
        say(f"set aside: {aside}")


@journal.command()
@folder_argument
@click.argument("out", type=OutputFolder())
@json_option
def export(folder: Path, out: Path, *, as_json: bool) -> None:
    """Write the jobs in FOLDER to OUT/jobs.json, and each result to OUT/JOB.npz.

    The arrays are spins (runs, n) and, where they were measured, amplitudes and those of a trace.

    \b
    Examples:
      cim-hal journal export ~/.local/state/cim-hal/servers/emulator rescued
      cim-hal journal export /var/lib/cim-hal/emulator rescued --json
    """  # noqa: D301
    from cim_hal.server.storage.repair import export_journal

    _show(export_journal(folder, out), as_json=as_json)


def _show(report: JournalReport, *, as_json: bool, **more: Any) -> None:
    if as_json:
        print_json(asdict(report) | more)
        return
    say(
        f"{counted(report.jobs, 'job')}, {counted(report.results, 'result')}, "
        f"{counted(report.couplings, 'coupling')}"
    )
    for problem in report.problems:
        say(f"damaged: {problem.where}: {problem.what}")
