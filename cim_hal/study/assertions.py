"""Assertions about success, for test suites that must not fail by chance.

An assertion fails only where the runs show that what it says is false: if it is true, it fails with
at most the probability 1 - `confidence`. That it passes shows nothing by itself: `assert_success`
makes as many runs as it takes to know.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cim_hal.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from cim_hal.model.sampleset import SampleSet

__all__ = ["assert_degrades_less_than", "assert_success", "assert_success_probability"]

CONFIDENCE = 0.99999


def assert_success_probability(
    samples: SampleSet, energy: float, *, at_least: float, confidence: float = CONFIDENCE
) -> None:
    """Fail if so few runs reach an energy that their probability is shown to be less.

    The test is exact: it fails if the probability of as few successes or fewer, were the success
    probability `at_least`, is 1 - `confidence` or less.

    Parameters
    ----------
    samples : SampleSet
        Runs of one job, taken as independent; where all gave one configuration, the message of
        a failure says so.
    energy : float
        A run at or below it is successful, within the tolerance of the samples.
    at_least : float
        The success probability, from 0 to 1.
    confidence : float
        Probability with which the assertion passes, at least, if it is true.

    Raises
    ------
    AssertionError
        The success probability is less.
    ValueError
        A probability out of range, or so few runs that none of their outcomes could fail.
    """
    _check(at_least=at_least)
    _check_inside(confidence=confidence)
    successes, runs = _counts(samples, energy)
    _check_can_fail(runs, at_least, 1 - confidence)
    if _tail(successes, runs, at_least) <= 1 - confidence:
        raise AssertionError(
            f"{_said(successes, runs)}, which is less than {at_least:g} with confidence "
            f"{confidence:g}; {_repeat(samples)}"
        )


def assert_degrades_less_than(
    samples: SampleSet,
    degraded: SampleSet,
    energy: float,
    *,
    loss: float,
    confidence: float = CONFIDENCE,
) -> None:
    """Fail if the success probability is shown to fall by more than `loss` between two jobs.

    It fails if the lower end for the first less the upper end for the second, Clopper and Pearson's
    with half the error rate each, exceeds `loss`; parameters and errors as of
    `assert_success_probability`.
    """
    _check(loss=loss)
    _check_inside(confidence=confidence)
    tail = (1 - confidence) / 2
    counts = before, after = _counts(samples, energy), _counts(degraded, energy)
    _check_can_fall(before[1], after[1], loss, tail)
    low, high = _bound(*before, tail, is_low=True), _bound(*after, tail, is_low=False)
    if low - high > loss:
        said, then = (_said(*each) for each in counts)
        raise AssertionError(
            f"{said}, then {then}: the loss is more than {loss:g} with confidence "
            f"{confidence:g}; {_repeat(degraded)}"
        )


def assert_success(
    sample: Callable[[int], SampleSet],
    energy: float,
    *,
    at_least: float,
    margin: float = 0.1,
    confidence: float = CONFIDENCE,
    missed: float = 0.01,
    max_jobs: int = 1000,
) -> None:
    """Make jobs until the success probability is known to be enough, or not to be.

    Wald's sequential test between `at_least` and `margin` less (Ann. Math. Stat. 16, 117, 1945,
    doi:10.1214/aoms/1177731118). After `max_jobs` all runs are tested as
    `assert_success_probability` does; each of both has half the error rate.

    Parameters
    ----------
    sample : callable
        Takes a seed, from 0 on, and returns the runs of a job.
    margin : float
        A success probability so much less is found out with the probability 1 - `missed`.
    energy, at_least, confidence, max_jobs
        As of `assert_success_probability`.

    Raises
    ------
    AssertionError
        The success probability is less.
    ValueError
        A probability out of range, `margin` is not between 0 and `at_least`, no jobs, or so few
        runs that none of their outcomes could fail.
    """
    _check(at_least=at_least)
    _check_inside(confidence=confidence, missed=missed)
    if max_jobs < 1:
        raise ValueError(f"max_jobs = {max_jobs}: it must be 1 or more")
    if not 0 < margin < at_least:
        raise ValueError(f"margin = {margin}: it must be above 0 and below {at_least}")
    error, low, successes, runs = (1 - confidence) / 2, at_least - margin, 0, 0
    for seed in range(max_jobs):
        found = _counts(sample(seed), energy)
        successes, runs = successes + found[0], runs + found[1]
        ratio = _log_ratio(successes, runs, low, at_least)
        if ratio <= math.log(missed / (1 - error)):
            return
        if ratio >= math.log((1 - missed) / error):
            break
    else:
        _check_can_fail(runs, at_least, error)
        if _tail(successes, runs, at_least) > error:
            return
    raise AssertionError(
        f"{_said(successes, runs)}, which is less than {at_least:g} with confidence {confidence:g}"
    )


def _counts(samples: SampleSet, energy: float) -> tuple[int, int]:
    reached = samples.reached(energy)
    return int(reached.sum()), len(reached)


def _log_ratio(successes: int, runs: int, low: float, high: float) -> float:
    """Return how much likelier the runs are at the low probability than at the high one."""
    failures = runs - successes
    if high >= 1:
        return math.inf if failures else successes * math.log(low)
    return successes * math.log(low / high) + failures * math.log((1 - low) / (1 - high))


def _tail(successes: int, runs: int, p: float) -> float:
    from scipy.stats import binom

    return float(binom.cdf(successes, runs, p))


def _bound(successes: int, runs: int, tail: float, *, is_low: bool) -> float:
    from scipy.stats import beta

    if is_low:
        return float(beta.ppf(tail, successes, runs - successes + 1)) if successes else 0.0
    is_all = successes == runs
    return 1.0 if is_all else float(beta.ppf(1 - tail, successes + 1, runs - successes))


def _check(**probabilities: float) -> None:
    for name, value in probabilities.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} = {value}: it must be from 0 to 1")


def _check_inside(**probabilities: float) -> None:
    for name, value in probabilities.items():
        if not 0 < value < 1:
            raise ValueError(f"{name} = {value}: it must be between 0 and 1")


def _check_can_fail(runs: int, at_least: float, error: float) -> None:
    """Refuse runs of which not even no success shows that the probability is less."""
    if at_least == 0:
        raise ValueError("at_least = 0 is always true")
    if _tail(0, runs, at_least) > error:
        needed = math.ceil(math.log(error) / math.log1p(-at_least))
        raise ValueError(
            f"{counted(runs, 'run')} cannot show less than {at_least:g}, even if none succeeds: "
            f"it takes {needed} or more, or a lower confidence"
        )


def _check_can_fall(before: int, after: int, loss: float, tail: float) -> None:
    """Refuse runs of which not even a fall from all to none shows the loss."""
    if loss == 1:
        raise ValueError("loss = 1 is never exceeded")
    if tail ** (1 / before) + tail ** (1 / after) - 1 <= loss:
        needed = math.floor(math.log(tail) / math.log((1 + loss) / 2)) + 1
        raise ValueError(
            f"{before} and {counted(after, 'run')} cannot show a loss of more than {loss:g}, "
            f"even from all to none: it takes {needed} or more of each, or a lower confidence"
        )


def _said(successes: int, runs: int) -> str:
    return f"{successes} of {counted(runs, 'run')} succeeded ({successes / runs:.3g})"


def _repeat(samples: SampleSet) -> str:
    record, n_different = samples.record, samples.diversity.configurations
    copies = "; all runs gave one configuration, they may be copies" if n_different == 1 else ""
    how = f"repeat it with seed {record.seed} on {record.device}, settings {record.settings}"
    return how + copies
