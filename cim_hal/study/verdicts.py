"""Verdicts: levels of a factor against a reference, with error rates over all of a study."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cim_hal.study.job_factors import WHOLE_JOB_FACTORS
from cim_hal.study.plan import Level, level_text
from cim_hal.study.shares import error_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.study.rows import Row

__all__ = [
    "MARGIN",
    "Difference",
    "decide",
    "holm",
    "references_of",
    "variance_of",
    "verdicts",
]

MARGIN = 0.05  # two success probabilities no further apart are equal


def verdicts(
    rows: Sequence[Row],
    references: dict[str, Level],
    *,
    machine: str = "",
    figure: str = "success probability",
    error_rate: float = 0.05,
) -> list[dict[str, Any]]:
    """Compare each level of each factor with its reference, paired by model, over other factors.

    `machine` is the setting whose values are machines that are drawn, as models are. Sentences
    call what is compared `figure`.

    `references` are chosen before the rows are seen: a best level found in them would be too good.
    `degrades` and `improves` are the sides of Student's test of the differences, each with half of
    `error_rate`: a loss of either kind has an interval without zero. `equal` is two one-sided tests
    with the margin `MARGIN`. Each has Holm's correction over all comparisons of the study, so that
    each kind of wrong verdict has at most the probability `error_rate` in all of the study, where
    the differences of models are nearly normal.
    """
    compared = [
        found for name in references for found in _comparisons(rows, name, references, machine)
    ]
    side = error_rate / 2
    decide(compared, {"degrades": side, "improves": side, "equal": error_rate})
    for found in compared:
        found["verdict"] = _sentence(found, figure)
    return compared


def _comparisons(
    rows: Sequence[Row], name: str, references: dict[str, Level], machine: str
) -> Iterator[dict[str, Any]]:
    """Yield differences of a factor's levels to its reference, with p-values of all tests."""
    others = [factor for factor in references if factor != name]
    shares, reference = _by_level(rows, name, others, machine), references[name]
    for level in sorted(shares.keys() - {reference}):
        lost, least = _losses(shares[reference], shares[level])
        found = Difference.of(lost, least)
        if not found.df:
            continue
        low, high = found.interval
        yield {
            "factor": name,
            "level": level,
            "reference": reference,
            "lost": found.mean,
            "low": low,
            "high": high,
            "n_instances": len(lost),
            "p_degrades": found.p_value(found.mean),
            "p_improves": found.p_value(-found.mean),
            "p_equal": found.p_value(MARGIN - abs(found.mean)),
        }


class Difference(NamedTuple):
    """The mean of paired differences, its standard error, and the degrees of freedom of that.

    Of one pair the error is infinite, with none.
    """

    mean: float
    error: float
    df: int

    @classmethod
    def of(cls, differences: NDArray[np.float64], least: float) -> Difference:
        """Take the error from their spread; `least`, that of runs alone, where they show none."""
        error, df = error_of(differences)
        error = error if error > 1e-9 else least
        return cls(float(differences.mean()), error, df)

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of Student's interval of 95 %."""
        from scipy.stats import t

        half = float(t.ppf(0.975, max(self.df, 1))) * self.error
        return self.mean - half, self.mean + half

    def p_value(self, distance: float) -> float:
        """Return the probability of a mean so far, or farther, on one side of the truth."""
        from scipy.stats import t

        return float(t.sf(distance / self.error, max(self.df, 1)))


def decide(found: Sequence[dict[str, Any]], rates: Mapping[str, float]) -> None:
    """Put the decision of each test, by its error rate over all, in the place of its p-value."""
    for kind, rate in rates.items():
        rejected = holm([each.pop(f"p_{kind}") for each in found], rate)
        for each, is_so in zip(found, rejected, strict=True):
            each[kind] = is_so


def references_of(factors: dict[str, list[Any]], capabilities: Capabilities) -> dict[str, Level]:
    """Return the level with which others are compared: the default where it is among the levels.

    Of bits and round trips it is the largest, of other factors without their default the first.
    """
    defaults: dict[str, Level] = {s.name: s.default for s in capabilities.settings}
    defaults["lowering"] = "max"
    defaults["pump_end"] = capabilities.default_pump[-1]
    return {
        name: max(levels)
        if name in WHOLE_JOB_FACTORS
        else next((level for level in levels if level == defaults.get(name)), levels[0])
        for name, levels in factors.items()
    }


# A model and a machine, at levels of the other factors.
Place = tuple[tuple[str, Level], tuple[Level, ...]]
Counts = dict[Place, tuple[int, int]]  # successes and runs


def _by_level(
    rows: Sequence[Row], name: str, others: Sequence[str], machine: str
) -> dict[Level, Counts]:
    """Return the successes of each model, at levels of the others, for each level of a factor."""
    counts: dict[Level, Counts] = {}
    for row in rows:
        which = row.model, row.factors.get(machine, 0)
        place = which, tuple(row.factors[other] for other in others)
        found = counts.setdefault(row.factors[name], {})
        successes, runs = found.get(place, (0, 0))
        found[place] = successes + row.successes, runs + row.runs
    return counts


def _losses(reference: Counts, level: Counts) -> tuple[NDArray[np.float64], float]:
    """Return the mean loss of each model on each machine, over places where both were measured.

    A level that a cliff added stands at some of the others only, and jobs differ in number: means
    of all rows of each level would differ by these. The second value is the error of the mean of
    the runs alone, of one success and one failure more at each place, for models that all lose the
    same and so show no spread.
    """
    lost: dict[tuple[str, Level], list[float]] = {}
    variance: dict[tuple[str, Level], list[float]] = {}
    for place in sorted(reference.keys() & level.keys()):
        (hits, runs), (hits_here, runs_here) = reference[place], level[place]
        lost.setdefault(place[0], []).append(hits / runs - hits_here / runs_here)
        of_runs = variance_of(hits, runs) + variance_of(hits_here, runs_here)
        variance.setdefault(place[0], []).append(of_runs)
    squares = [np.mean(found) / len(found) for found in variance.values()]
    n_machines = max(len({number for _, number in lost}), 1)
    means = np.array([float(np.mean(found)) for found in lost.values()])
    return means.reshape(-1, n_machines), math.sqrt(sum(squares)) / max(len(squares), 1)


def variance_of(successes: Any, runs: Any) -> Any:
    """Return the variance of a share, of one success and one failure more than were seen."""
    p = (successes + 1) / (runs + 2)
    return p * (1 - p) / runs


def holm(p_values: Sequence[float], error_rate: float) -> list[bool]:
    """Return which hypotheses are rejected by Holm's step-down procedure."""
    order, rejected = np.argsort(p_values), [False] * len(p_values)
    for rank, k in enumerate(order.tolist()):
        if p_values[k] > error_rate / (len(p_values) - rank):
            break
        rejected[k] = True
    return rejected


def _sentence(found: dict[str, Any], figure: str) -> str:
    what = (
        f"{found['factor']} = {level_text(found['level'])} against {level_text(found['reference'])}"
    )
    low, lost, high = (100 * found[name] for name in ("low", "lost", "high"))
    lost = f"{lost:.1f} points lost [{low:.1f}, {high:.1f}]"
    margin = f"{100 * MARGIN:.0f} points"
    if not (found["degrades"] or found["improves"]):
        said = f"as good, to {margin}" if found["equal"] else "undecided"
        return f"{what}: {said}, {lost}"
    within = f" by less than {margin}" if found["equal"] else ""
    return f"{what}: {figure} {'degrades' if found['degrades'] else 'improves'}{within}, {lost}"
