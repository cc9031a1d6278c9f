"""Machines beside each other on one model: a study whose levels are machines, of any kind."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cim_hal.errors import StudyError
from cim_hal.machine.lowering import lower
from cim_hal.model.enumeration import MAX_SPINS
from cim_hal.study.exhaustion import survival
from cim_hal.study.families import Instance, Target, target_of
from cim_hal.study.plan import study_of_machine
from cim_hal.study.rows import RowFile
from cim_hal.study.shares import repeats
from cim_hal.study.solution_times import run_seconds, solution_time
from cim_hal.study.sweep import Sweep

if TYPE_CHECKING:
    from cim_hal.machine.config import MachineConfig
    from cim_hal.model.ising import IsingModel
    from cim_hal.study.rows import Row

__all__ = ["compare_devices"]


def compare_devices(
    model: IsingModel,
    targets: Sequence[MachineConfig | str],
    *,
    runs: int = 64,
    seed: int = 0,
    energy: float | None = None,
    report: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure what machines make of a model, each at its defaults.

    Parameters
    ----------
    model : IsingModel
    targets : sequence of targets
        Machines of any kind.
    runs, seed : int
        Of a job, one on each machine.
    energy : float, optional
        From which on a run succeeds; else the optimum of a small model, or the best of a search.
    report : callable
        Called after each machine with how many are done.

    Raises
    ------
    StudyError
        A machine stands twice, or does not take so many runs.
    CimError
        As of `open_device`, `lower` and `Session.sample`; before any run where it can be known.
    """
    names = [str(getattr(target, "target", target)) for target in targets]
    if twice := {name for name in names if names.count(name) > 1}:
        raise StudyError(f"machines that stand twice: {', '.join(sorted(twice))}")
    study = study_of_machine(seed, runs)
    with ExitStack() as stack:
        ready = Instance("model", model, Target(energy or 0.0, "given"))
        sweeps = [stack.enter_context(Sweep(study, [ready], targets=[each])) for each in targets]
        target = target_of(model, None, (seed,)) if energy is None else ready.target
        found = list[dict[str, Any]]()
        for name, sweep in zip(names, sweeps, strict=True):
            sweep.instances = [Instance("model", model, target)]
            found.append({"target": name} | _rounded(sweep, model) | _measured(sweep))
            report(len(found))
    return {
        "n_spins": model.n_spins,
        "energy": target.energy,
        "energy_source": target.source,
        "runs": runs,
        "seed": seed,
        "devices": found,
    }


def _rounded(sweep: Sweep, model: IsingModel) -> dict[str, Any]:
    """Return what the levels of a machine do to the model."""
    here = sweep.capabilities
    report = lower(model, here).report
    kept = survival(model, here).share if model.n_spins <= MAX_SPINS else None
    return {
        "device": here.name,
        "coupling_bits": here.coupling_bits,
        "levels_used": report.levels_used,
        "max_error": report.max_error,
        "rms_error": report.rms_error,
        "energy_error_bound": report.energy_error_bound,
        "optimum_kept": kept,
    }


def _measured(sweep: Sweep) -> dict[str, Any]:
    """Run a job, and return what came of it; intervals are of this model."""
    with tempfile.TemporaryDirectory() as folder:
        file = RowFile(Path(folder))
        try:
            sweep.run(file, [()], lambda *_: None)
        finally:
            file.close()
    (row,) = file.rows.values()
    return _figures(sweep, row, file.rows)


def _figures(sweep: Sweep, row: Row, rows: dict[str, Row]) -> dict[str, Any]:
    share, here = sweep.share((), rows).of_these, sweep.capabilities
    r99, run_s = repeats(share), run_seconds(None, [row], here)
    time = solution_time(share, run_s)
    return {
        "successes": row.successes,
        "success_probability": share.value,
        "low": share.low,
        "high": share.high,
        "r99": r99.value,
        "r99_low": r99.low,
        "r99_high": r99.high,
        "round_trips": here.default_round_trips,
        "run_s": run_s,
        "run_s_from": "driver" if here.round_trip_s is None else "round trips",
        "tts": time.value,
        "tts_low": time.low,
        "tts_high": time.high,
        "energy_min": row.energy_min,
        "gap": row.gap,
    }
