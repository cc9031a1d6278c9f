"""The report of ``cim-hal sample``: JSON, a table, and an archive of the arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cim_hal.cli.common import print_properties, whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cim_hal.cli.search import Search
    from cim_hal.model.files import ModelFile
    from cim_hal.model.ising import IsingModel
    from cim_hal.model.sampleset import SampleSet

__all__ = ["print_report", "summarize", "write_archive"]


def summarize(file: ModelFile, search: Search, seconds: float) -> dict[str, object]:
    """Return the report for JSON; spins and amplitudes are in the archive only."""
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


def print_report(file: ModelFile, search: Search, seconds: float, written: Iterable[Path]) -> None:
    """Print the report as a table for people."""
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
        "written": "\n".join(map(str, written)),
    }
    print_properties("", rows)


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
