"""What the rows of a study say: a figure with its interval at each point, cliffs and verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cim_hal.model.enumeration import MAX_SPINS, all_energies
from cim_hal.study.exhaustion import Survival, survival
from cim_hal.study.plan import WHOLE_FACTORS, Level, level_text
from cim_hal.study.rows import by_point
from cim_hal.study.shares import Interval, of_models, repeats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.model.ising import IsingModel
    from cim_hal.study.plan import Cliff, Point
    from cim_hal.study.rows import Row
    from cim_hal.study.shares import Share
    from cim_hal.study.sweep import Sweep

__all__ = [
    "MARGIN",
    "cliff_of",
    "next_level",
    "references_of",
    "summary",
    "takes_whole",
    "verdicts",
]

MARGIN = 0.05  # two success probabilities no further apart are equal


class Rounding:
    """Survival of the optima of small models in the levels of a machine, each computed once."""

    def __init__(self, sweep: Sweep) -> None:
        self._small = [
            (i.name, i.model, sweep.seed_of(i))
            for i in sweep.instances
            if i.model is not None and i.model.n_spins <= MAX_SPINS
        ]
        self._capabilities = sweep.capabilities
        self._energies: dict[str, Any] = {}
        self._known: dict[tuple[int | None, str], list[Survival]] = {}

    def at(self, point: Point) -> list[Survival]:
        """Return the survival of each small model, by the bits and the policy of a point.

        Stochastic rounding is that of the first job of the model.
        """
        levels = dict(point)
        bits = int(levels["coupling_bits"]) if "coupling_bits" in levels else None
        how = bits, str(levels.get("lowering", "max"))
        if how not in self._known:
            self._known[how] = [
                survival(
                    model,
                    self._capabilities,
                    bits=bits,
                    energies=self._all(name, model),
                    lowering=how[1],
                    seed=seed,
                )
                for name, model, seed in self._small
            ]
        return self._known[how]

    def _all(self, name: str, model: IsingModel) -> Any:
        if name not in self._energies:
            self._energies[name] = all_energies(model)
        return self._energies[name]


def point_summary(
    sweep: Sweep, point: Point, share: Share, here: Sequence[Row], rounding: Rounding
) -> dict[str, Any]:
    """Return the figures of a point and its rows, in the words of ``summary.json``."""
    is_sampled = sweep.study.train is None
    r99 = repeats(share.of_family)
    found = {
        "factors": dict(point),
        "success_probability": share.of_family.value,
        "low": share.of_family.low,
        "high": share.of_family.high,
        "low_of_these": share.of_these.low,
        "high_of_these": share.of_these.high,
        "is_bounded": share.is_bounded,
        "r99": r99.value if is_sampled else None,
        "r99_low": r99.low if is_sampled else None,
        "r99_high": r99.high if is_sampled else None,
        "energy_gap": float(np.mean([gap(row) for row in here])) if is_sampled else None,
        "n_instances": len({row.model for row in here}),
        "n_runs": sum(row.runs for row in here),
        "device_s": sum(row.device_s for row in here),
    }
    left = rounding.at(point)
    return found | _rounded(left) if left else found


def _rounded(left: Sequence[Survival]) -> dict[str, Any]:
    share = of_models([one.share for one in left])
    return {
        "rounded": share.value,
        "rounded_low": share.low,
        "rounded_high": share.high,
        "rounded_some": float(np.mean([one.some for one in left])),
        "rounded_all": float(np.mean([one.all for one in left])),
        "rounded_within_10": float(np.mean([one.rank < 10 for one in left])),
        "rounded_excess_energy": float(np.mean([one.excess_energy for one in left])),
    }


def gap(row: Row) -> float:
    """Return the mean energy above the target, as a share of its size."""
    return (row.energy_mean - row.target) / max(abs(row.target), 1e-300)


def _beats(row: Row) -> bool:
    """Return whether a run was lower than the target, by more than rounding."""
    return row.target - row.energy_min > 1e-9 * max(1.0, abs(row.target))


# ---- cliffs ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crossing:
    """Where a figure crosses a threshold: between two levels, the interval of the crossing."""

    inside: tuple[float, float]  # neighbouring levels whose estimates lie on either side
    low: float
    high: float


def cliff_of(levels: dict[float, Interval], threshold: float) -> Crossing | None:
    """Return where the figure at these levels crosses the threshold; None where it does not.

    The interval goes from the last level on one side whose own interval excludes the threshold to
    the first on the other side.
    """
    at = sorted(levels)
    sides = [levels[level].value >= threshold for level in at]
    crossing = next((k for k in range(len(at) - 1) if sides[k] != sides[k + 1]), None)
    if crossing is None:
        return None
    sure = [k for k, level in enumerate(at) if not _holds(levels[level], threshold)]
    before = [k for k in sure if k <= crossing and sides[k] == sides[crossing]]
    after = [k for k in sure if k > crossing and sides[k] != sides[crossing]]
    low = at[before[-1]] if before else -math.inf
    high = at[after[0]] if after else math.inf
    return Crossing((at[crossing], at[crossing + 1]), low, high)


def takes_whole(name: str, capabilities: Capabilities) -> bool:
    """Return whether the levels of a factor are whole numbers."""
    whole = [setting.name for setting in capabilities.settings if setting.integer]
    return name in (*WHOLE_FACTORS, *whole)


def next_level(
    found: Crossing, cliff: Cliff, levels: Sequence[float], *, is_whole: bool
) -> float | None:
    """Return the level to measure next, the middle of the bracket; None where it is fine enough."""
    low, high = found.inside
    finest = cliff.resolution or (1.0 if is_whole else 0.01 * (max(levels) - min(levels)))
    if high - low <= finest:
        return None
    middle = 0.5 * (low + high)
    return int(middle) if is_whole else middle


def find_cliff(cliff: Cliff, others: Point, points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what ``summary.json`` says of a cliff at one combination of the other factors."""
    levels = {
        point["factors"][cliff.factor]: Interval(
            point["success_probability"], point["low"], point["high"]
        )
        for point in points
        if _others(point["factors"], cliff.factor) == dict(others)
    }
    found = cliff_of(levels, cliff.threshold)
    said: dict[str, Any] = {"factor": cliff.factor, "threshold": cliff.threshold}
    said |= {"at": dict(others), "n_levels": len(levels)}
    if found is None:
        return said | {"level": None, "low": None, "high": None}
    return said | {"level": sum(found.inside) / 2, "low": found.low, "high": found.high}


def _holds(interval: Interval, threshold: float) -> bool:
    return interval.low <= threshold <= interval.high


def _others(factors: dict[str, Level], name: str) -> dict[str, Level]:
    return {key: level for key, level in factors.items() if key != name}


# ---- verdicts -------------------------------------------------------------------------------


def verdicts(
    rows: Sequence[Row], references: dict[str, Level], *, error_rate: float = 0.05
) -> list[dict[str, Any]]:
    """Compare each level of each factor with its reference, paired by model, over other factors.

    `references` are chosen before the rows are seen: a best level found in them would be too good.
    `degrades` and `improves` are Student's tests of the differences, `equal` is two one-sided tests
    with the margin `MARGIN`; each with Holm's correction over all comparisons of the study. So
    each kind of wrong verdict has at most the probability `error_rate` in all of the study, where
    the differences of models are nearly normal.
    """
    compared = [found for name in references for found in _comparisons(rows, name, references)]
    for kind in ("degrades", "improves", "equal"):
        rejected = _holm([found.pop(f"p_{kind}") for found in compared], error_rate)
        for found, is_so in zip(compared, rejected, strict=True):
            found[kind] = is_so
    for found in compared:
        found["verdict"] = _sentence(found)
    return compared


def _comparisons(
    rows: Sequence[Row], name: str, references: dict[str, Level]
) -> Iterator[dict[str, Any]]:
    """Yield differences of a factor's levels to its reference, with p-values of all tests."""
    from scipy.stats import t

    others = [factor for factor in references if factor != name]
    shares, reference = _by_level(rows, name, others), references[name]
    for level in sorted(shares.keys() - {reference}):
        lost, least = _losses(shares[reference], shares[level])
        if len(lost) < 2:
            continue
        mean, df = float(lost.mean()), len(lost) - 1
        spread = float(lost.std(ddof=1))
        error = spread / math.sqrt(len(lost)) if spread > 1e-9 else least
        half = float(t.ppf(0.975, df)) * error
        yield {
            "factor": name,
            "level": level,
            "reference": reference,
            "lost": mean,
            "low": mean - half,
            "high": mean + half,
            "n_instances": len(lost),
            "p_degrades": float(t.sf(mean / error, df)),
            "p_improves": float(t.sf(-mean / error, df)),
            "p_equal": float(t.sf((MARGIN - abs(mean)) / error, df)),
        }


def references_of(factors: dict[str, list[Any]], capabilities: Capabilities) -> dict[str, Level]:
    """Return the level with which others are compared: the default where it is among the levels.

    Of bits and round trips it is the largest, of other factors without their default the first.
    """
    defaults: dict[str, Level] = {s.name: s.default for s in capabilities.settings}
    defaults["lowering"] = "max"
    return {
        name: max(levels)
        if name in WHOLE_FACTORS
        else next((level for level in levels if level == defaults.get(name)), levels[0])
        for name, levels in factors.items()
    }


Place = tuple[str, tuple[Level, ...]]  # a model, at levels of the other factors
Counts = dict[Place, tuple[int, int]]  # successes and runs


def _by_level(rows: Sequence[Row], name: str, others: Sequence[str]) -> dict[Level, Counts]:
    """Return the successes of each model, at levels of the others, for each level of a factor."""
    counts: dict[Level, Counts] = {}
    for row in rows:
        place = row.model, tuple(row.factors[other] for other in others)
        found = counts.setdefault(row.factors[name], {})
        successes, runs = found.get(place, (0, 0))
        found[place] = successes + row.successes, runs + row.runs
    return counts


def _losses(reference: Counts, level: Counts) -> tuple[NDArray[np.float64], float]:
    """Return the mean loss of each model over levels of the others where both were measured.

    A level that a cliff added stands at some of the others only, and jobs differ in number: means
    of all rows of each level would differ by these. The second value is the error of the mean of
    the runs alone, of one success and one failure more at each place, for models that all lose the
    same and so show no spread.
    """
    lost: dict[str, list[float]] = {}
    variance: dict[str, list[float]] = {}
    for place in sorted(reference.keys() & level.keys()):
        (hits, runs), (hits_here, runs_here) = reference[place], level[place]
        lost.setdefault(place[0], []).append(hits / runs - hits_here / runs_here)
        of_runs = _variance(hits, runs) + _variance(hits_here, runs_here)
        variance.setdefault(place[0], []).append(of_runs)
    squares = [np.mean(found) / len(found) for found in variance.values()]
    return np.array([float(np.mean(found)) for found in lost.values()]), (
        math.sqrt(sum(squares)) / max(len(squares), 1)
    )


def _variance(successes: int, runs: int) -> float:
    """Return the variance of a share, of one success and one failure more than were seen."""
    p = (successes + 1) / (runs + 2)
    return p * (1 - p) / runs


def _holm(p_values: Sequence[float], error_rate: float) -> list[bool]:
    """Return which hypotheses are rejected by Holm's step-down procedure."""
    order, rejected = np.argsort(p_values), [False] * len(p_values)
    for rank, k in enumerate(order.tolist()):
        if p_values[k] > error_rate / (len(p_values) - rank):
            break
        rejected[k] = True
    return rejected


def _sentence(found: dict[str, Any]) -> str:
    what = (
        f"{found['factor']} = {level_text(found['level'])} against {level_text(found['reference'])}"
    )
    low, lost, high = (100 * found[name] for name in ("low", "lost", "high"))
    lost = f"{lost:.1f} points lost [{low:.1f}, {high:.1f}]"
    if found["degrades"]:
        return f"{what}: success degrades, {lost}"
    if found["improves"]:
        return f"{what}: success improves, {lost}"
    if found["equal"]:
        return f"{what}: as good, to {100 * MARGIN:.0f} points, {lost}"
    return f"{what}: undecided, {lost}"


# ---- all of it ------------------------------------------------------------------------------


def summary(sweep: Sweep, rows: dict[str, Row], points: Sequence[Point]) -> dict[str, Any]:
    """Return ``summary.json``."""
    rounding = Rounding(sweep)
    of_point = by_point(rows.values())
    found = [
        point_summary(sweep, point, sweep.share(point, rows), of_point[point], rounding)
        for point in points
    ]
    study, width = sweep.study, sweep.study.repeat.width
    wide = [p for p in found if width is not None and p["high"] - p["low"] > width]
    return {
        "format": 1,
        "study": study.study.name,
        "figure": "success probability" if study.train is None else "test accuracy",
        "device": sweep.capabilities.name,
        "machine": sweep.capabilities.model_dump(mode="json"),
        "points": found,
        "cliffs": [
            find_cliff(cliff, others, found)
            for cliff in study.cliff
            for others in _combinations(found, cliff.factor)
        ],
        "verdicts": verdicts(
            [row for row in rows.values() if row.factors.keys() == study.factors.keys()],
            references_of(study.factors, sweep.capabilities),
        ),
        "targets": dict(sorted((i.name, i.target.source) for i in sweep.instances)),
        "targets_beaten": sorted({row.model for row in rows.values() if _beats(row)}),
        "is_complete": not wide,
        "too_wide": [p["factors"] for p in wide],
    }


def _combinations(points: Sequence[dict[str, Any]], name: str) -> list[Point]:
    found = [tuple(_others(point["factors"], name).items()) for point in points]
    return list(dict.fromkeys(found))
