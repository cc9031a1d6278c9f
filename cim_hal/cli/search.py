"""Waiting for one job, or for one after another with their own seeds, behind a progress bar."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.progress import BarColumn, TextColumn

from cim_hal.cli.common import progress_on
from cim_hal.errors import JobTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from cim_hal.client.job import Job
    from cim_hal.model.sampleset import SampleSet

__all__ = ["KEPT_RUNS", "Search", "result_of", "search_for"]

KEPT_RUNS = 1000
POLL_S = 0.2


@dataclass(eq=False)
class Search:
    """The findings of one job after another.

    The lowest runs are kept, at most `KEPT_RUNS` where there are several jobs; their record and
    trace are those of the job that found the lowest energy first.
    """

    samples: SampleSet
    n_jobs: int
    n_runs: int
    n_best: int  # runs that ended at the lowest energy
    energy_sum: float  # over all runs
    best_after_s: float  # when the job ended that found the lowest energy
    best_job: int = 1  # its number, from 1
    was_interrupted: bool = False

    @classmethod
    def begun(cls, samples: SampleSet, after_s: float) -> Search:
        """Return a search that has made one job."""
        total = float(samples.energies.sum())
        return cls(samples, 1, len(samples), _count(samples), total, after_s)

    def add(self, samples: SampleSet, after_s: float) -> None:
        """Take the samples of one more job, which ended `after_s` seconds from the start."""
        self.n_jobs += 1
        self.n_runs += len(samples)
        self.energy_sum += float(samples.energies.sum())
        if samples.best_energy < self.samples.best_energy:
            self.n_best, self.best_after_s, self.best_job = 0, after_s, self.n_jobs
        if samples.best_energy <= self.samples.best_energy:
            self.n_best += _count(samples)
        self.samples = self.samples.concat(samples).lowest(KEPT_RUNS)


def search_for(seconds: float, submit: Callable[[int], Job], console: Console) -> Search:
    """Submit jobs 0, 1, 2, … for `seconds`, and show the progress on a terminal.

    The first job may take any time; the job that runs when the time is up is cancelled. An
    interrupt (Ctrl-C) after the first job ends the search and keeps its findings.
    """
    started = time.perf_counter()
    with progress_on(console) as bar:
        task = bar.add_task("sampling", total=seconds)

        def passed() -> float:
            now = time.perf_counter() - started
            bar.update(task, completed=now)
            return now

        search = Search.begun(_samples(submit(0), passed, until=math.inf), passed())
        try:
            while passed() < seconds:
                search.add(_samples(submit(search.n_jobs), passed, until=seconds), passed())
                best = search.samples.best_energy
                bar.update(task, description=f"{search.n_runs} runs, lowest {best:g}")
        except JobTimeoutError:  # the time was up first
            pass
        except KeyboardInterrupt:
            search.was_interrupted = True
    return search


def _samples(job: Job, passed: Callable[[], float], *, until: float) -> SampleSet:
    while True:
        try:
            return job.result(timeout_s=POLL_S)
        except JobTimeoutError:
            if passed() >= until:
                job.cancel()
                raise


def _count(samples: SampleSet) -> int:
    return int(np.count_nonzero(samples.energies == samples.best_energy))


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
