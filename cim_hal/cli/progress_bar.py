"""A job as a bar on a terminal, as far as its machine tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from rich.console import Console

    from cim_hal.client.job import Job
    from cim_hal.model.sampleset import SampleSet

__all__ = ["result_of"]


def result_of(job: Job, console: Console, what: str) -> SampleSet:
    """Wait for the result of a job and show how far it is, where somebody looks at the console.

    An interrupt (Ctrl-C) cancels the job.
    """
    told = TextColumn("{task.fields[done]}")
    columns = TextColumn("{task.description}"), BarColumn(), told, TimeElapsedColumn()
    is_seen = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not is_seen) as bar:
        task = bar.add_task(what, total=None, done="")
        try:
            for status in job.changes() if is_seen else ():
                if status.progress is not None:
                    done, total = status.progress.done, status.progress.total
                    text = f"{done} of {total} {status.progress.unit}"
                    bar.update(task, completed=done, total=total, done=text)
        except KeyboardInterrupt:
            job.cancel()
            raise
        return job.result()
