"""Verdicts: levels of a factor against a reference, with error rates over all of a study."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from cim_hal.study.job_factors import MODEL, WHOLE_JOB_FACTORS
from cim_hal.study.plan import Level, level_text, named_levels
from cim_hal.study.shares import Interval, error_of, has_few, share_of

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
    "undecided",
    "variance_of",
    "verdicts",
]

Counts: TypeAlias = "tuple[NDArray[Any], NDArray[Any]]"  # successes and runs, of each model
Test: TypeAlias = Callable[[float], bool]  # takes an error rate, and returns whether it rejects

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

    Where `model` is a factor, each kind of models is compared by itself, and kinds, which nothing
    pairs, not with each other.

    `references` are chosen before the rows are seen: a best level found in them would be too good.
    `degrades` and `improves` are the sides of Student's test of the differences, each with half of
    `error_rate`: a loss of either kind has an interval without zero. `equal` is two one-sided tests
    with the margin `MARGIN`. Each has Holm's correction over all comparisons of the study, so that
    each kind of wrong verdict has about the probability `error_rate` in all of the study, or less.
    Where few models succeed, or fail, their differences do not tell how much others may lose: see
    `Difference.of`.
    """
    compared = [
        {"at": at} | found
        for at, here in _by_kind(rows, references)
        for name in references
        if name != MODEL
        for found in _comparisons(here, name, references, machine)
    ]
    side = error_rate / 2
    decide(compared, {"degrades": side, "improves": side, "equal": error_rate})
    for found in compared:
        found["verdict"] = _sentence(found, figure)
    return compared


def _by_kind(
    rows: Sequence[Row], references: dict[str, Level]
) -> Iterator[tuple[dict[str, Level], Sequence[Row]]]:
    """Yield the rows of each kind of models that is a level, or all."""
    if MODEL not in references:
        yield {}, rows
        return
    for kind in dict.fromkeys(row.factors[MODEL] for row in rows):
        yield {MODEL: kind}, [row for row in rows if row.factors[MODEL] == kind]


def _comparisons(
    rows: Sequence[Row], name: str, references: dict[str, Level], machine: str
) -> Iterator[dict[str, Any]]:
    """Yield differences of a factor's levels to its reference, with p-values of all tests."""
    others = [factor for factor in references if factor != name]
    shares, reference = _by_level(rows, name, others, machine), references[name]
    for level in sorted(shares.keys() - {reference}):
        lost, least, *counts = _losses(shares[reference], shares[level])
        found = Difference.of(lost, least, *counts)
        if not found.df:
            continue
        low, high = found.ends(0.95)
        yield {
            "factor": name,
            "level": level,
            "reference": reference,
            "lost": found.mean,
            "low": low,
            "high": high,
            "n_instances": len(lost),
            "degrades": found.is_above(0.0),
            "improves": found.is_below(0.0),
            "equal": found.is_within(MARGIN),
        }


class Difference(NamedTuple):
    """The mean of paired differences, and what is known of it.

    Attributes
    ----------
    mean : float
    df : int
        Degrees of freedom of its standard error: of one pair, none, and the interval has no end.
    ends : callable
        Takes a confidence level and returns the ends of the interval.
    """

    mean: float
    df: int
    ends: Callable[[float], tuple[float, float]]

    @classmethod
    def of(
        cls, differences: NDArray[np.float64], least: float, before: Counts, after: Counts
    ) -> Difference:
        """Take the ends from the spread of the differences: they are Student's.

        `least`, the error of runs alone, stands for it where they show none. `before` and `after`
        are the successes and the runs that they come from. Where fewer than ten models (of fewer
        than 14, three quarters) have a success, or a failure, those that lose much may not be among
        them: there, the ends are those of the difference of two shares that are independent.
        """
        mean, (error, df) = float(differences.mean()), error_of(differences)
        if df and any(has_few(*counts, part=0.75) for counts in (before, after)):
            return cls(mean, df, lambda level: _apart(mean, before, after, level))
        error = error if error > 1e-9 else least
        return cls(mean, df, lambda level: _of_student(mean, error, df, level))

    def is_above(self, least: float) -> Test:
        """Return the test whether it is above, which takes its error rate."""
        return lambda rate: self.ends(1 - 2 * rate)[0] > least

    def is_below(self, most: float) -> Test:
        """Return the test whether it is below."""
        return lambda rate: self.ends(1 - 2 * rate)[1] < most

    def is_within(self, margin: float) -> Test:
        """Return two one-sided tests in one, whether it is no farther from zero than a margin."""
        tests = self.is_above(-margin), self.is_below(margin)
        return lambda rate: all(test(rate) for test in tests)


def _of_student(mean: float, error: float, df: int, level: float) -> tuple[float, float]:
    from scipy.stats import t

    half = float(t.ppf(0.5 + level / 2, max(df, 1))) * error
    return mean - half, mean + half


def _apart(mean: float, before: Counts, after: Counts, level: float) -> tuple[float, float]:
    """Return the ends of a difference of two shares, as if these were of other models."""
    found = _family(*before, level) - _family(*after, level)
    moved = mean - found.value  # where models have unequal numbers of runs
    return found.low + moved, found.high + moved


def _family(hits: NDArray[Any], runs: NDArray[Any], level: float) -> Interval:
    """Return the share of the family; bounds have half of the error on their side, as ends have."""
    n_hits = hits.sum()
    is_bound = not 0 < n_hits < runs.sum()
    if hits.ndim == 1:
        order = np.lexsort((runs, hits))  # equal counts have a profile in common
        hits, runs = hits[order], runs[order]
    return share_of(hits, runs, level=0.5 + level / 2 if is_bound else level).of_family


def decide(found: Sequence[dict[str, Any]], rates: Mapping[str, float]) -> None:
    """Put the decision of each test, by its error rate over all, in its place."""
    for kind, rate in rates.items():
        shown = holm([each[kind] for each in found], rate)
        for each, is_so in zip(found, shown, strict=True):
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
Places = dict[Place, tuple[int, int]]  # successes and runs


def _by_level(
    rows: Sequence[Row], name: str, others: Sequence[str], machine: str
) -> dict[Level, Places]:
    """Return the successes of each model, at levels of the others, for each level of a factor."""
    counts: dict[Level, Places] = {}
    for row in rows:
        which = row.model, row.factors.get(machine, 0)
        place = which, tuple(row.factors[other] for other in others)
        found = counts.setdefault(row.factors[name], {})
        successes, runs = found.get(place, (0, 0))
        found[place] = successes + row.successes, runs + row.runs
    return counts


def _losses(reference: Places, level: Places) -> tuple[NDArray[np.float64], float, Counts, Counts]:
    """Return the mean loss of each model on each machine, over places where both were measured.

    A level that a cliff added stands at some of the others only, and jobs differ in number: means
    of all rows of each level would differ by these. The second value is the error of the mean of
    the runs alone, of one success and one failure more at each place, for models that all lose the
    same and so show no spread; the others are the counts of the reference and of the level.
    """
    lost: dict[tuple[str, Level], list[tuple[float, ...]]] = {}
    for place in sorted(reference.keys() & level.keys()):
        before, after = reference[place], level[place]
        of_runs = variance_of(*before) + variance_of(*after)
        loss = before[0] / before[1] - after[0] / after[1]
        lost.setdefault(place[0], []).append((loss, of_runs, *before, *after))
    n_machines = max(len({number for _, number in lost}), 1)
    means = np.array([np.mean(found, axis=0) for found in lost.values()]).reshape(-1, 6)
    sizes = np.array([len(found) for found in lost.values()])
    least = math.sqrt(float((means[:, 1] / sizes).sum())) / max(len(sizes), 1)
    shape = (-1,) if n_machines == 1 else (-1, n_machines)
    counts = (means[:, 2:].T * sizes).reshape(4, *shape)
    return means[:, 0].reshape(shape), least, (counts[0], counts[1]), (counts[2], counts[3])


def variance_of(successes: Any, runs: Any) -> Any:
    """Return the variance of a share, of one success and one failure more than were seen."""
    p = (successes + 1) / (runs + 2)
    return p * (1 - p) / runs


def holm(tests: Sequence[Test], error_rate: float) -> list[bool]:
    """Return which tests reject their hypothesis, by Holm's procedure."""
    left, rejected = list(range(len(tests))), [False] * len(tests)
    while left:
        found = [k for k in left if tests[k](error_rate / len(left))]
        if not found:
            break
        for k in found:
            rejected[k] = True
        left = [k for k in left if not rejected[k]]
    return rejected


def undecided(*, is_clear: bool) -> str:
    """Return the verdict where nothing is shown; `is_clear`: the interval alone would show it."""
    return "undecided after Holm's correction" if is_clear else "undecided"


def _sentence(found: dict[str, Any], figure: str) -> str:
    what = (
        f"{found['factor']} = {level_text(found['level'])} against {level_text(found['reference'])}"
    )
    what = ", ".join([what, *named_levels(found["at"].items())])
    low, lost, high = (100 * found[name] for name in ("low", "lost", "high"))
    lost = f"{lost:.1f} points lost [{low:.1f}, {high:.1f}]"
    margin = f"{100 * MARGIN:.0f} points"
    if not (found["degrades"] or found["improves"]):
        is_clear = not low <= 0 <= high or -MARGIN < found["low"] <= found["high"] < MARGIN
        said = f"as good, to {margin}" if found["equal"] else undecided(is_clear=is_clear)
        return f"{what}: {said}, {lost}"
    within = f" by less than {margin}" if found["equal"] else ""
    return f"{what}: {figure} {'degrades' if found['degrades'] else 'improves'}{within}, {lost}"
