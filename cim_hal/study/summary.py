"""What the rows of a study say: figures with their intervals at each point, and verdicts."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.model.enumeration import MAX_SPINS, all_energies
from cim_hal.study.cliffs import figure_at, find_cliffs, others_of
from cim_hal.study.exhaustion import Survival, disturbed_survivals, survival
from cim_hal.study.figures import FIGURES
from cim_hal.study.job_factors import MODEL
from cim_hal.study.plan import machine_of
from cim_hal.study.quantiles import quantiles_of
from cim_hal.study.rows import by_point
from cim_hal.study.safe import safe_places, said_of_region
from cim_hal.study.shares import Interval, of_models, repeats, share_of
from cim_hal.study.solution_times import (
    Length,
    optimum_of,
    run_error,
    run_seconds,
    said_of,
    solution_time,
)
from cim_hal.study.verdicts import references_of, verdicts

if TYPE_CHECKING:
    from cim_hal.model.ising import IsingModel
    from cim_hal.study.plan import Point, Study
    from cim_hal.study.quantiles import Quantile
    from cim_hal.study.rows import Row
    from cim_hal.study.sweep import Sweep

__all__ = ["summary"]

LENGTH = "round_trips"
COUPLING_ERROR = "imperfections.coupling_error"  # relative standard deviation, static


class Rounding:
    """Survival of the optima of small models in the levels of a machine, each computed once."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._energies: dict[str, Any] = {}
        self._known: dict[Any, list[list[Survival]]] = {}

    def at(self, point: Point) -> list[list[Survival]]:
        """Return the survival of each model, by bits, policy and coupling error of a point.

        Stochastic rounding is that of the first job of the model. Where couplings are disturbed
        there is one for each of some machines. There is none where a model is not small.
        """
        levels = dict(point)
        bits = int(levels["coupling_bits"]) if "coupling_bits" in levels else None
        policy, error = str(levels.get("lowering", "max")), self._error_at(point)
        how = bits, policy, error, machine_of(point), levels.get(MODEL)
        if how not in self._known:
            here, found = self._sweep.capabilities_at(point), list[list[Survival]]()
            for name, model, seed in self._small_at(point):
                known: dict[str, Any] = {"energies": self._all(name, model), "seed": seed}
                known |= {"bits": bits, "lowering": policy}
                if error:
                    found.append(disturbed_survivals(model, here, **known, error=error))
                else:
                    found.append([survival(model, here, **known)])
            self._known[how] = found
        return self._known[how]

    def _small_at(self, point: Point) -> list[tuple[str, IsingModel, int]]:
        """Return the models of a point where all are small, else none: it is drawn beside all."""
        sweep = self._sweep
        here = [(i.name, i.model, sweep.seed_of(i)) for i in sweep.instances_at(point)]
        small = [(name, m, seed) for name, m, seed in here if m and m.n_spins <= MAX_SPINS]
        return small if len(small) == len(here) else []

    def _error_at(self, point: Point) -> float:
        """Return the error of couplings at a point: its level, that of the study or the default."""
        settings = self._sweep.capabilities_at(point).settings
        defaults = {setting.name: setting.default for setting in settings}
        known = {**defaults, **self._sweep.study.machine.settings, **dict(point)}
        return float(known.get(COUPLING_ERROR, 0.0))

    def _all(self, name: str, model: IsingModel) -> Any:
        if name not in self._energies:
            self._energies[name] = all_energies(model)
        return self._energies[name]


def point_summary(
    sweep: Sweep, point: Point, rows: dict[str, Row], here: Sequence[Row], rounding: Rounding
) -> dict[str, Any]:
    """Return the figures of a point and its rows, in the words of ``summary.json``."""
    share = sweep.share(point, rows)
    found = {
        "factors": dict(point),
        "success_probability": share.of_family.value,
        "low": share.of_family.low,
        "high": share.of_family.high,
        "low_of_these": share.of_these.low,
        "high_of_these": share.of_these.high,
        "is_bounded": share.is_bounded,
        "families": _families(sweep, point, rows),
        **_until_success(sweep, point, rows, here, share.of_family),
        "n_instances": len({row.model for row in here}),
        "n_runs": sum(row.runs for row in here),
        **_configurations(sweep, here),
        "device_s": sum(row.device_s for row in here),
    }
    left = rounding.at(point)
    return found | _rounded(left) if left and all(left) else found


def _families(sweep: Sweep, point: Point, rows: dict[str, Row]) -> list[dict[str, Any]]:
    """Return the figures of each kind and size of models where there is more than one."""
    names = [instance.family for instance in sweep.instances_at(point)]
    if len(set(names)) < 2:
        return []
    successes, runs = sweep.counts(point, rows)
    found = list[dict[str, Any]]()
    for name in dict.fromkeys(names):
        of_it = np.array([each == name for each in names])
        share = share_of(successes[of_it], runs[of_it]).of_family
        of_share = {"success_probability": share.value, "low": share.low, "high": share.high}
        found.append({"name": name, "n_instances": int(of_it.sum()), **of_share})
    return found


def _length(point: Point) -> float | None:
    """Return the round trips of a run, None for those of the machine."""
    level = dict(point).get(LENGTH)
    return None if level is None else float(level)


def _until_success(
    sweep: Sweep, point: Point, rows: dict[str, Row], here: Sequence[Row], share: Interval
) -> dict[str, Any]:
    """Return runs and seconds until a success and how far runs fail, or figures of trainings."""
    if sweep.study.train is not None:
        lacking = (*FIGURES["r99"].keys, *FIGURES["energy_gap"].keys)
        return dict.fromkeys(lacking) | _of_trainings(sweep, point, rows, here)
    r99, run_s = repeats(share), run_seconds(_length(point), here, sweep.capabilities_at(point))
    time = solution_time(share, run_s)
    return {
        "r99": r99.value,
        "r99_low": r99.low,
        "r99_high": r99.high,
        "r99_quantiles": _quantiles(sweep, point, rows),
        "run_s": run_s,
        "tts": time.value,
        "tts_low": time.low,
        "tts_high": time.high,
        **_ends(sweep, point, rows, "energy_gap"),
    }


def _of_trainings(
    sweep: Sweep, point: Point, rows: dict[str, Row], here: Sequence[Row]
) -> dict[str, Any]:
    """Return how far constraints are violated, and what trainings cost."""
    why = dict.fromkeys(row.no_infeasibility for row in here if row.no_infeasibility)
    found = {name: _ends(sweep, point, rows, name) for name in ("infeasibility", "calls")}
    return {"no_infeasibility": "; ".join(why), **found["infeasibility"], **found["calls"]}


def _ends(sweep: Sweep, point: Point, rows: dict[str, Row], name: str) -> dict[str, Any]:
    """Return a figure and the ends of its interval, None where it has no value."""
    found, keys = figure_at(sweep, point, rows, name), FIGURES[name].keys
    if found is None:
        return dict.fromkeys(keys)
    return dict(zip(keys, (found.value, found.low, found.high), strict=True))


def _configurations(sweep: Sweep, here: Sequence[Row]) -> dict[str, Any]:
    """Return the mean number of different configurations in a job, over models and machines.

    Its interval is that of a share: of the runs after the first, those that bring a new one.
    """
    keys = ("configurations", "configurations_low", "configurations_high")
    if sweep.study.train is not None:
        return dict.fromkeys(keys)
    further = here[0].runs - 1
    if not further:
        return dict.fromkeys(keys, 1.0)
    setting, new = sweep.study.machine.seed_setting, defaultdict[Any, list[int]](list)
    for row in here:
        new[row.model, row.factors.get(setting, 0)].append(row.configurations - 1)
    counts = np.array([(sum(new[each]), further * len(new[each])) for each in sorted(new)])
    n_machines = max(len(sweep.study.machine.seeds), 1)
    of_each = counts.T if n_machines == 1 else counts.T.reshape(2, -1, n_machines)
    share = share_of(*of_each).of_family
    ends = (share.value, share.low, share.high)
    return {key: 1 + further * end for key, end in zip(keys, ends, strict=True)}


def _quantiles(sweep: Sweep, point: Point, rows: dict[str, Row]) -> list[dict[str, Any]]:
    """Return quantiles over models on one machine; none where machines are drawn too."""
    if sweep.study.machine.seeds:
        return []
    return [_said_of_quantile(found) for found in quantiles_of(*sweep.counts(point, rows))]


def _said_of_quantile(found: Quantile) -> dict[str, Any]:
    """Return what ``summary.json`` says of a quantile."""
    ends = found.interval
    low, high = (None, None) if ends is None else (ends.low, ends.high)
    return {"quantile": found.quantile, "r99": found.value, "low": low, "high": high}


def _rounded(each_model: Sequence[Sequence[Survival]]) -> dict[str, Any]:
    """Return the means over models, and machines where couplings are disturbed."""
    share = of_models([float(np.mean([one.share for one in each])) for each in each_model])
    left = list(itertools.chain(*each_model))  # as many of each model
    return {
        "rounded": share.value,
        "rounded_low": share.low,
        "rounded_high": share.high,
        "rounded_some": float(np.mean([one.some for one in left])),
        "rounded_all": float(np.mean([one.all for one in left])),
        "rounded_within_10": float(np.mean([one.rank < 10 for one in left])),
        "rounded_excess_energy": float(np.mean([one.excess_energy for one in left])),
    }


def _beats(row: Row) -> bool:
    """Return whether a run was lower than the target, by more than rounding."""
    return row.target - row.energy_min > 1e-9 * max(1.0, abs(row.target))


# ---- all of it ------------------------------------------------------------------------------


def summary(sweep: Sweep, rows: dict[str, Row], points: Sequence[Point]) -> dict[str, Any]:
    """Return ``summary.json``."""
    rounding = Rounding(sweep)
    of_each = by_point(rows.values())
    of_point = {
        point: [row for one in sweep.on_machines(point) for row in of_each[one]] for point in points
    }
    found = [point_summary(sweep, point, rows, of_point[point], rounding) for point in points]
    study, width = sweep.study, sweep.study.repeat.width
    machines = [sweep.capabilities_at(place) for place in study.machines()]
    wide = [p for p in found if width is not None and p["high"] - p["low"] > width]
    return {
        "format": 1,
        "study": study.study.name,
        "figure": _figure(study),
        "design": study.study.design,
        "software": sorted({row.software for row in rows.values()}),
        "device": ", ".join(dict.fromkeys(here.name for here in machines)),
        "machines": [here.model_dump(mode="json") for here in machines[1:] and machines],
        "machine": sweep.capabilities.model_dump(mode="json"),
        "points": found,
        "cliffs": find_cliffs(study, found),
        "verdicts": verdicts(
            [row for here in of_point.values() for row in here],
            references_of(study.factors, sweep.capabilities),
            machine=study.machine.seed_setting if study.machine.seeds else "",
            figure=_figure(study),
        ),
        "safe": _safe(sweep, rows),
        "machine_seeds": list(study.machine.seeds),
        "run_s_from": "round trips" if _all_tell_time(sweep, points) else "driver",
        "time_to_solution": _times(sweep, rows, points, of_point),
        "targets": dict(sorted((i.name, i.target.source) for i in sweep.instances)),
        "targets_beaten": sorted({row.model for row in rows.values() if _beats(row)}),
        "is_complete": not wide,
        "too_wide": [p["factors"] for p in wide],
    }


def _all_tell_time(sweep: Sweep, points: Sequence[Point]) -> bool:
    return all(sweep.capabilities_at(point).round_trip_s is not None for point in points)


def _figure(study: Study) -> str:
    return FIGURES["success_probability" if study.train is None else "accuracy"].title


def _safe(sweep: Sweep, rows: dict[str, Row]) -> dict[str, Any] | None:
    """Return the safe region among the points of the file: those a cliff added were chosen."""
    study = sweep.study
    if study.safe is None:
        return None

    def low_of(point: Point) -> Callable[[float], float]:
        return lambda level: sweep.share(point, rows, level=level).of_family.low

    wanted = study.safe.at_least, study.safe.confidence
    points = list(study.points())
    safe = safe_places([low_of(point) for point in points], *wanted)
    return said_of_region([dict(point) for point in points], safe, *wanted, _figure(study))


def _times(
    sweep: Sweep, rows: dict[str, Row], points: Sequence[Point], of_point: dict[Point, list[Row]]
) -> list[dict[str, Any]]:
    """Return the time to solution at the best length, for each combination of other factors."""
    if sweep.study.train is not None:
        return []
    if LENGTH not in sweep.study.factors:
        return [said_of(None, {})]
    lengths: dict[Point, list[Length]] = defaultdict(list)
    for point in points:
        level = _length(point) or 0.0
        here = of_point[point], sweep.capabilities_at(point)
        at, counts = others_of(dict(point), LENGTH), sweep.counts(point, rows)
        lengths[at].append(Length(level, run_seconds(level, *here), *counts, run_error(*here)))
    return [said_of(optimum_of(found), dict(at)) for at, found in lengths.items()]
