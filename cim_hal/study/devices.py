"""Machines beside each other on one model: a study whose levels are machines, of any kind."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cim_hal.errors import StudyError
from cim_hal.machine.lowering import lower
from cim_hal.machine.policies import Policy, lower_by
from cim_hal.model.enumeration import MAX_SPINS
from cim_hal.study.exhaustion import survival
from cim_hal.study.families import Instance, Target, target_of
from cim_hal.study.plan import study_of_machine
from cim_hal.study.rows import RowFile
from cim_hal.study.shares import Interval, repeats, wilson
from cim_hal.study.solution_times import run_seconds, solution_time
from cim_hal.study.sweep import Sweep
from cim_hal.study.verdicts import holm, undecided

if TYPE_CHECKING:
    from cim_hal.machine.config import MachineConfig
    from cim_hal.model.ising import IsingModel
    from cim_hal.study.plan import Point
    from cim_hal.study.rows import Row

__all__ = ["compare_devices", "differences"]


def compare_devices(
    model: IsingModel,
    targets: Sequence[MachineConfig | str],
    *,
    runs: int = 64,
    seed: int = 0,
    energy: float | None = None,
    lowering: str = "max",
    keys: Mapping[str, Any] | None = None,
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
    lowering : str
        Policy by which the model is brought to the bits of a machine; one that takes real numbers
        has it as it is.
    keys : mapping, optional
        `key` and `server_key` of `open_device`, for servers that ask for them.
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
    Policy.of(lowering)
    study = study_of_machine(seed, runs)
    with ExitStack() as stack:
        ready = Instance("model", model, Target(energy or 0.0, "given"))
        sweeps = [
            stack.enter_context(Sweep(study, [ready], targets=[each], keys=keys))
            for each in targets
        ]
        points = [_lowered(sweep, model, lowering) for sweep in sweeps]
        target = target_of(model, None, (seed,)) if energy is None else ready.target
        found = list[dict[str, Any]]()
        for name, sweep, point in zip(names, sweeps, points, strict=True):
            sweep.instances = [Instance("model", model, target)]
            rounded = _rounded(sweep, model, str(dict(point)["lowering"]), seed)
            found.append({"target": name} | rounded | _measured(sweep, point))
            report(len(found))
    return {
        "n_spins": model.n_spins,
        "energy": target.energy,
        "energy_source": target.source,
        "runs": runs,
        "seed": seed,
        "devices": found,
        "differences": differences(found),
    }


def _lowered(sweep: Sweep, model: IsingModel, lowering: str) -> Point:
    """Return the point of the study: where it is measured, a policy has to take the model."""
    here = sweep.capabilities
    policy = "max" if here.coupling_bits is None else lowering
    lower_by(policy, model, here)
    return (("lowering", policy),)


def _rounded(sweep: Sweep, model: IsingModel, policy: str, seed: int) -> dict[str, Any]:
    """Return what the levels of a machine do to the model."""
    here = sweep.capabilities
    lowered = lower_by(policy, model, here, seed=seed)
    report = lowered.report(lower(lowered.model, here).report)
    kept = None
    if model.n_spins <= MAX_SPINS:
        kept = survival(model, here, lowering=policy, seed=seed).share
    return {
        "device": here.name,
        "coupling_bits": here.coupling_bits,
        "lowering": policy,
        "auxiliary_spins": lowered.auxiliary_spins,
        "levels_used": report.levels_used,
        "max_error": report.max_error,
        "rms_error": report.rms_error,
        "energy_error_bound": report.energy_error_bound,
        "optimum_kept": kept,
    }


def _measured(sweep: Sweep, point: Point) -> dict[str, Any]:
    """Run a job, and return what came of it; intervals are of this model."""
    with tempfile.TemporaryDirectory() as folder:
        file = RowFile(Path(folder))
        try:
            sweep.run(file, [point], lambda *_: None)
        finally:
            file.close()
    (row,) = file.rows.values()
    return _figures(sweep, row, sweep.share(point, file.rows).of_these)


def _figures(sweep: Sweep, row: Row, share: Interval) -> dict[str, Any]:
    here = sweep.capabilities
    r99, run_s = repeats(share), run_seconds(None, [row], here)
    time = solution_time(share, run_s)
    return {
        "successes": row.successes,
        "runs": row.runs,
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


# ---- differences ----------------------------------------------------------------------------


def differences(
    found: Sequence[dict[str, Any]], *, error_rate: float = 0.05
) -> list[dict[str, Any]]:
    """Compare each machine with each other: success by Fisher's exact test, and the time.

    Runs of one seed on two machines are not one trajectory, so nothing is paired here: models pair
    machines where a study has `device` as a factor. The tests have Holm's correction over all
    pairs. The ratio of the times has an interval from those of both, each as likely to be right as
    it takes for all pairs (Bonferroni); it is None where neither had a success.
    """
    pairs = list(itertools.combinations(found, 2))
    tables = [[[a["successes"], a["runs"] - a["successes"]] for a in pair] for pair in pairs]
    p_values = [_p_value(table) for table in tables]
    shown = holm([lambda rate, p=p: p <= rate for p in p_values], error_rate)
    level = 1 - error_rate / max(len(pairs), 1)
    return [
        _difference(*pair, p_value, level, is_shown=is_shown)
        for pair, p_value, is_shown in zip(pairs, p_values, shown, strict=True)
    ]


def _p_value(table: list[list[int]]) -> float:
    from scipy import stats

    found: Any = stats.fisher_exact(table)
    return float(found.pvalue)


def _difference(
    one: dict[str, Any], other: dict[str, Any], p_value: float, level: float, *, is_shown: bool
) -> dict[str, Any]:
    a, b = (
        wilson(each["successes"] / each["runs"], each["runs"], level=level) for each in (one, other)
    )
    lost = a - b
    said = {
        "devices": [one["target"], other["target"]],
        "difference": lost.value,
        "low": lost.low,
        "high": lost.high,
        "p_value": p_value,
        "is_shown": is_shown,
        "times": _times(a, b, one["run_s"] / other["run_s"]),
    }
    return said | {"verdict": _sentence(said)}


def _times(a: Interval, b: Interval, of_runs: float) -> dict[str, float] | None:
    """Return how many times as long the first takes, with an interval from both.

    Where one had no success it has one end only, from the worst end of each.
    """
    of_a, of_b = (
        Interval(*(math.log(end) for end in (r.value, r.low, r.high))) for r in map(repeats, (a, b))
    )
    if a.value > 0 and b.value > 0:
        found = of_a - of_b
    elif a.value > 0:
        found = Interval(-math.inf, -math.inf, of_a.high - of_b.low)
    elif b.value > 0:
        found = Interval(math.inf, of_a.low - of_b.high, math.inf)
    else:
        return None
    value, low, high = (of_runs * math.exp(end) for end in (found.value, found.low, found.high))
    return {"value": value, "low": low, "high": high}


def _sentence(said: dict[str, Any]) -> str:
    one, other = said["devices"]
    points = "{difference:.1f} points [{low:.1f}, {high:.1f}]".format(
        **{name: 100 * said[name] for name in ("difference", "low", "high")}
    )
    more = "more" if said["difference"] > 0 else "less"
    what = f"succeeds {more} often than" if said["is_shown"] else "and"
    unknown = undecided(is_clear=not said["low"] <= 0 <= said["high"])
    success = f"{one} {what} {other}: {'' if said['is_shown'] else f'{unknown}, '}{points}"
    times = said["times"]
    if times is None:
        return success
    is_open = times["low"] <= 1 <= times["high"]
    value, low, high = (f"{times[name]:.3g}" for name in ("value", "low", "high"))
    bound = {"inf": f"at least {low} times", "0": f"at most {high} times"}
    time = bound.get(value, f"{value} times [{low}, {high}]")
    return f"{success}; the first takes {time} as long{', undecided' if is_open else ''}"
