"""What ``cim-hal sample`` says and writes of what it found."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import click
import numpy as np
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cim_hal.cli.search import Search
    from cim_hal.model.files import ModelFile
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.sampleset import SampleSet

__all__ = ["summarize", "tabulate", "whole_file", "write_archive"]


def summarize(file: ModelFile, search: Search, seconds: float) -> dict[str, object]:
    """Return all there is to say, for JSON; amplitudes and spins go to the archive."""
    samples, record = search.samples, search.samples.record
    cut = {"best_cut": float(file.model.cut(samples.best))} if file.is_graph else {}
    lowering = record.lowering
    return {
        "device": record.device,
        "n_spins": file.model.n_spins,
        "n_runs": search.n_runs,
        "round_trips": record.round_trips,
        "seed": record.seed,
        "settings": record.settings,
        "best_energy": samples.best_energy,
        **cut,
        "mean_energy": search.energy_sum / search.n_runs,
        "runs_at_best": search.n_best,
        "energies": samples.energies.tolist(),
        "seconds": seconds,
        "device_seconds": record.device_s,
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


def tabulate(file: ModelFile, search: Search, seconds: float) -> Table:
    """Return what a person wants to know first."""
    samples, record = search.samples, search.samples.record
    lowering = record.lowering
    bits = "none, real numbers" if lowering.bits is None else str(lowering.bits)
    rows = {
        "device": record.device,
        "n_spins": str(file.model.n_spins),
        "n_runs": str(search.n_runs),
        "round_trips": str(record.round_trips),
        "seed": str(record.seed),
        **{f"setting {name}": f"{value:g}" for name, value in record.settings.items()},
        "best_energy": f"{samples.best_energy:.10g}",
        "best_cut": f"{file.model.cut(samples.best):.10g}" if file.is_graph else "",
        "mean energy": f"{search.energy_sum / search.n_runs:.6g}",
        "runs at the best": f"{search.n_best / search.n_runs:.1%}",
        "best found": _when(search),
        "seconds": f"{seconds:.3g}{_share_of_device(search)}",
        "coupling bits": f"{bits}; largest rounding error {lowering.max_error:.3g}",
        **{f"note {name}": str(value) for name, value in record.notes.items()},
    }
    table = Table("property", "value", show_header=False)
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    return table


def _share_of_device(search: Search) -> str:
    device_s = search.samples.record.device_s
    return f", {device_s:.3g} of them on the device" if search.n_jobs == 1 else ""


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


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write that will be whole, or not there.

    Raises
    ------
    click.FileError
        It cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from None
    finally:
        temporary.unlink(missing_ok=True)
