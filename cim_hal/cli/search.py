"""Waiting for one job, or for one after another with their own seeds, and what they found.

Progress is shown as a bar; the findings as JSON, as a table, and as an archive of the arrays.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.progress import BarColumn, TextColumn

from cim_hal.cli.common import print_properties, progress_on, whole_file
from cim_hal.errors import JobTimeoutError
from cim_hal.text import counted

if TYPE_CHECKING:
    from rich.console import Console

    from cim_hal.client.job import Job
    from cim_hal.model.files import ModelFile
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.record import LoweringReport
    from cim_hal.model.sampleset import SampleSet

__all__ = [
    "KEPT_RUNS",
    "Search",
    "print_report",
    "result_of",
    "search_for",
    "summarize",
    "write_archive",
]

KEPT_RUNS = 1000
# What the names of common notes of machines mean.
NOTES = {
    "largest_clipped_share": "share of the last records that the ADC clipped, of the worst run",
    "largest_dead_zone_share": "share of them that it rounded to 0, of the worst run",
    "vacuum_dead_zone_share": "the same, of pulses that hold vacuum",
    "slowed_modes": "modes of J whose feedback is spread over round trips, to be stable",
    "fed_back_at_once": "share of the feedback of these modes that comes at once",
    "gain_factor": "by how much the default gain is strengthened",
    "largest_phase_error_rad": "of any pulse, in rad",
    "relocks": "times that the cavity had to be locked again",
    "dead_pulses": "spins that no pulse stands for",
    "feedback_over_limit": "times the largest stable feedback of the lowest mode of J",
    "lowest_eigenvalue": "of J",
    "lowering": "policy by which the client lowered the model",
    "auxiliary_spins": "of splitting, which the model does not have",
    "penalty_share": "to what share of itself a strong penalty is weakened",
    "broken_copies": "share of auxiliary spins that did not end as the spin they are a copy of",
    "compile_s": "seconds of the first job of its kind, not counted as time of the device",
}
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
        return cls(samples, 1, len(samples), samples.n_best, total, after_s)

    def add(self, samples: SampleSet, after_s: float) -> None:
        """Take the samples of one more job, which ended `after_s` seconds from the start."""
        self.n_jobs += 1
        self.n_runs += len(samples)
        self.energy_sum += float(samples.energies.sum())
        if samples.best_energy < self.samples.best_energy - samples.tolerance:
            self.n_best, self.best_after_s, self.best_job = 0, after_s, self.n_jobs
        best = min(samples.best_energy, self.samples.best_energy)
        self.n_best += int(np.count_nonzero(samples.reached(best)))
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
                bar.update(task, description=f"{counted(search.n_runs, 'run')}, lowest {best:g}")
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


def summarize(file: ModelFile, search: Search, seconds: float) -> dict[str, object]:
    """Return the report for JSON; spins and amplitudes are in the archive only."""
    samples, record = search.samples, search.samples.record
    cut = {"best_cut": float(file.model.cut(samples.best))} if file.is_graph else {}
    lowering = record.lowering
    return {
        "device": record.device,
        "model_format": file.format,
        "n_spins": file.model.n_spins,
        "n_runs": search.n_runs,
        "round_trips": record.round_trips,
        "seed": record.seed,
        "settings": record.settings,
        "best_energy": samples.best_energy,
        **cut,
        "mean_energy": search.energy_sum / search.n_runs,
        "runs_at_best": search.n_best,
        "diversity": samples.diversity.model_dump(),
        "warnings": _warnings(file.model, search),
        "energies": samples.energies.tolist(),
        "seconds": seconds,
        "device_seconds": record.device_s,
        "compile_seconds": record.notes.get("compile_s", 0.0),
        "search": {
            "jobs": search.n_jobs,
            "best_job": search.best_job,
            "best_after_s": search.best_after_s,
            "interrupted": search.was_interrupted,
        },
        "quantization": {
            "bits": lowering.bits,
            "scale": lowering.step,
            "max_error": lowering.max_error,
            "couplings_lost": couplings_lost(file.model, lowering),
        },
        "notes": record.notes,
        "trace": _trace(samples, file.model),
    }


def _trace(samples: SampleSet, model: IsingModel) -> dict[str, object] | None:
    trace = samples.trace
    if trace is None:
        return None
    return {
        "round_trips": trace.round_trips.tolist(),
        "pump": trace.pump.tolist(),
        "energies": trace.energies(model).tolist(),
    }


def print_report(file: ModelFile, search: Search, seconds: float, written: Iterable[Path]) -> None:
    """Print the report as a table for people."""
    samples, record = search.samples, search.samples.record
    lowering = record.lowering
    bits = "none, real numbers" if lowering.bits is None else str(lowering.bits)
    rows = {
        "device": record.device,
        "model format": file.format,
        "n_spins": str(file.model.n_spins),
        "n_runs": str(search.n_runs),
        "round_trips": str(record.round_trips),
        "seed": str(record.seed),
        **{f"setting {name}": f"{value:g}" for name, value in record.settings.items()},
        "best_energy": f"{samples.best_energy:.10g}",
        "best_cut": f"{file.model.cut(samples.best):.10g}" if file.is_graph else "",
        "mean energy": f"{search.energy_sum / search.n_runs:.6g}",
        "runs at the best": f"{search.n_best / search.n_runs:.1%}",
        "different samples": _diversity(search),
        "best found": _when(search),
        "seconds": f"{seconds:.3g}{_share_of_device(search)}",
        "coupling bits": f"{bits}; largest rounding error {lowering.max_error:.3g}",
        "warning": "\n".join(_warnings(file.model, search)),
        **{f"note {name}": _note(name, value) for name, value in record.notes.items()},
        "written": "\n".join(map(str, written)),
    }
    print_properties("", rows)


def couplings_lost(model: IsingModel, lowering: LoweringReport) -> int:
    """Return how many couplings that are not zero were rounded to zero."""
    if lowering.max_error == 0:
        return 0
    magnitudes = np.abs(model.J if isinstance(model.J, np.ndarray) else model.J.data)
    return int(np.count_nonzero((magnitudes > 0) & (magnitudes <= 0.5 * lowering.step))) // 2


def _diversity(search: Search) -> str:
    found, kept = search.samples.diversity, len(search.samples)
    of = "" if kept == search.n_runs else f" of the {kept} lowest runs"
    return (
        f"{found.configurations} configuration{'s' * (found.configurations > 1)}, "
        f"{found.energies} energ{'ies' if found.energies > 1 else 'y'}{of}; "
        f"worth {counted(found.effective_runs, 'run', '.3g')} that all differ"
    )


def _warnings(model: IsingModel, search: Search) -> list[str]:
    found = _lost(model, search.samples.record.lowering), search.samples.warning(model)
    return [warning for warning in found if warning]


def _lost(model: IsingModel, lowering: LoweringReport) -> str:
    """Return a warning if rounding drops more than a tenth of the couplings, or ""."""
    values = model.J if isinstance(model.J, np.ndarray) else model.J.data
    lost, all_of_them = couplings_lost(model, lowering), int(np.count_nonzero(values)) // 2
    if 10 * lost <= all_of_them:
        return ""
    return (
        f"{lost} of {counted(all_of_them, 'coupling')}"
        f" are below half a level and count as zero: the largest "
        "one takes all levels"
    )


def _share_of_device(search: Search) -> str:
    if search.n_jobs > 1:
        return ""
    record = search.samples.record
    compile_s = record.notes.get("compile_s")
    compiled = (
        f" and {compile_s:.3g} for compiling its kernels, which are kept" if compile_s else ""
    )
    return f", {record.device_s:.3g} of them on the device{compiled}"


def _note(name: str, value: object) -> str:
    shown = f"{value:.3g}" if isinstance(value, float) else str(value)
    return f"{shown}: {NOTES[name]}" if name in NOTES else shown


def _when(search: Search) -> str:
    if search.n_jobs == 1:
        return ""
    interrupted = ", then interrupted" if search.was_interrupted else ""
    return (
        f"after {search.best_after_s:.3g} s, in job {search.best_job} of {search.n_jobs}"
        f"{interrupted}"
    )


def write_archive(path: Path, samples: SampleSet) -> None:
    """Write spins, energies, amplitudes, trace and provenance as ``.npz``."""
    arrays = {
        "spins": samples.spins,
        "energies": samples.energies,
        "seed": np.array(samples.record.seed),
        "record": np.array(samples.record.model_dump_json()),
    }
    if samples.amplitudes is not None:
        arrays["amplitudes"] = samples.amplitudes
    if samples.trace is not None:
        arrays["trace_round_trips"] = samples.trace.round_trips
        arrays["trace_pump"] = samples.trace.pump
        arrays["trace_amplitudes"] = samples.trace.amplitudes
    with whole_file(path) as file:
        np.savez(file, **arrays)
