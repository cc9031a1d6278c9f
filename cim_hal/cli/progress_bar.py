"""Progress bars on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn

    from cim_hal.client.job import Job
    from cim_hal.model.sampleset import SampleSet

__all__ = ["progress_on", "result_of"]


def progress_on(console: Console, *columns: ProgressColumn) -> Progress:
    """Return a progress display that vanishes at its end; none where the console is no terminal.

    Without `columns` it shows the description and a bar; the time that has passed comes last.
    """
    shown = columns or (TextColumn("{task.description}"), BarColumn())
    return Progress(
        *shown,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def result_of(job: Job, console: Console, what: str) -> SampleSet:
    """Wait for the result of a job, and show its progress if the console is a terminal.

    An interrupt (Ctrl-C) cancels the job.
    """
    try:  # from the first line on: the job may run already while the bar is made
        _show_changes(job, console, what)
    except KeyboardInterrupt:
        job.cancel()
        raise
    return job.result()


def _show_changes(job: Job, console: Console, what: str) -> None:
    is_seen = console.is_terminal
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]}")
    with progress_on(console, *columns) as bar:
        task = bar.add_task(what, total=None, done="")
        for status in job.changes() if is_seen else ():
            if status.progress is not None:
                done, total = status.progress.done, status.progress.total
                text = f"{done} of {total} {status.progress.unit}"
                bar.update(task, completed=done, total=total, done=text)
