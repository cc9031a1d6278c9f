"""Simulated studies whose truth is known, by kinds: see ``figure_coverage.py``."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from cliff_studies import cliffs
from interval_coverage import centre
from scipy.special import betaincinv, expit, ndtr, ndtri
from scipy.stats import binom

from cim_hal import IsingModel, SampleSet, open_device
from cim_hal.study import (
    assert_degrades_less_than,
    assert_success,
    assert_success_probability,
)
from cim_hal.study.devices import differences
from cim_hal.study.quantiles import quantile_of
from cim_hal.study.rows import Row
from cim_hal.study.safe import safe_places
from cim_hal.study.shares import Interval, mean_of, of_models, repeats, share_of
from cim_hal.study.solution_times import Length, bracketed, optimum_of, solution_time
from cim_hal.study.verdicts import verdicts
from qnn_train.evaluation import ClassScores, RealScores, generalization_gap

__all__ = ["KINDS"]

RUNS = 64
HARDNESS = ("beta 1", "beta 10", "beta 1e6", "logistic", "two kinds")
Rng = np.random.Generator
Figures = dict[str, Any]
Kinds = Iterator[tuple[str, Callable[[Rng], Figures]]]


def success(hardness: str, mean: float, u: Any) -> Any:
    """Return the success of models that are as hard as a share `u` of their kind."""
    if hardness == "logistic":
        return expit(centre(mean) + 2 * ndtri(u))
    if hardness == "two kinds":
        most = 0.9 if mean <= 0.5 else 1.0
        return most * (u < mean / most)
    c = float(hardness.split()[1])
    return np.full(np.shape(u), mean) if c > 1e5 else betaincinv(mean * c, (1 - mean) * c, u)


def row(factors: dict[str, Any], model: int, hits: int, runs: int = RUNS) -> Row:
    return Row(
        *(factors, f"m{model}", "", 8, 0, 1, "machine", runs, hits, -1.0),
        *("enumerated", -1.0, -1.0, 0.0, 1, 0.0, 0.0, "", ""),
    )


def _ends(truth: float, found: Interval) -> tuple[float, float, float]:
    return truth, found.low, found.high


# ---- a point ------------------------------------------------------------------------------------


def points() -> Kinds:
    """Yield R99, time to solution, and the success of the models that were measured."""
    kinds = itertools.product((5, 20), ("beta 1", "logistic"), (0.1, 0.9))
    for n, hardness, mean in kinds:
        yield f"point {n} {hardness} {mean}", lambda rng, k=(n, hardness, mean): _point(rng, *k)


def _point(rng: Rng, n: int, hardness: str, mean: float) -> Figures:
    p = success(hardness, mean, rng.random(n))
    share = share_of(np.sort(rng.binomial(RUNS, p)), np.full(n, RUNS))
    time = solution_time(share.of_family, 0.01)
    r99 = repeats(Interval(mean, 0, 1)).value
    return {
        "r99": _ends(r99, repeats(share.of_family)),
        "tts": _ends(0.01 * r99, time),
        "these": _ends(float(p.mean()), share.of_these),
    }


def quantiles() -> Kinds:
    sizes = ((0.5, 20), (0.9, 50))
    for (q, n), hardness, mean in itertools.product(sizes, HARDNESS[:4], (0.1, 0.5, 0.9)):
        yield (
            f"quantile {q} {n} {hardness} {mean}",
            lambda rng, k=(q, n, hardness, mean): _quantile(rng, *k),
        )


def _quantile(rng: Rng, q: float, n: int, hardness: str, mean: float) -> Figures:
    hits = rng.binomial(RUNS, success(hardness, mean, rng.random(n)))
    found = quantile_of(hits, np.full(n, RUNS), q).interval
    truth = repeats(Interval(float(success(hardness, mean, 1 - q)), 0, 1)).value
    return {"quantile": None if found is None else _ends(truth, found)}


def measured() -> Kinds:
    """Yield quantiles over models of the shares as measured: less careful, and not stated."""
    for (q, n), hardness in itertools.product(((0.5, 100), (0.9, 50)), HARDNESS[:4]):
        yield f"measured {q} {n} {hardness} 0.1", lambda rng, k=(q, n, hardness): _measured(rng, *k)


def _measured(rng: Rng, q: float, n: int, hardness: str) -> Figures:
    shares = np.sort(rng.binomial(RUNS, success(hardness, 0.1, rng.random(n)))) / RUNS
    first, last = binom.ppf([0.025, 0.975], n, 1 - q).astype(int)
    truth = float(success(hardness, 0.1, 1 - q))
    return {"quantile as measured": (truth, shares[max(first - 1, 0)], shares[min(last, n - 1)])}


def rounded() -> Kinds:
    """Yield the line of the rounded model: shares that are known, mostly 0 or 1."""
    kinds = itertools.product((5, 20, 100), ("two kinds", "beta 1"), (0.01, 0.1, 0.6, 0.95))
    for n, hardness, mean in kinds:
        yield f"rounded {n} {hardness} {mean}", lambda rng, k=(n, hardness, mean): _rounded(rng, *k)


def _rounded(rng: Rng, n: int, hardness: str, mean: float) -> Figures:
    u = rng.random(n)
    shares = (u < mean).astype(float) if hardness == "two kinds" else success(hardness, mean, u)
    return {"rounded": _ends(mean, of_models(shares.tolist()))}


# ---- levels against each other ------------------------------------------------------------------


def levels() -> Kinds:
    """Yield pairs of a level with one that loses nothing, and with one that loses."""
    losses = ((0.1, 0.05), (0.5, 0.05), (0.5, 0.2), (0.999, 0.05))
    all_kinds = ("beta 1", "beta 1e6", "logistic", "two kinds")
    kinds = itertools.chain(
        itertools.product((5, 20), all_kinds, losses),
        itertools.product((100,), all_kinds[2:], (losses[0], losses[3])),
    )
    for n, hardness, (mean, lost) in kinds:
        yield (
            f"levels {n} {hardness} {mean} {lost}",
            lambda rng, k=(n, hardness, mean, lost): _levels(rng, *k),
        )


def _levels(rng: Rng, n: int, hardness: str, mean: float, lost: float) -> Figures:
    """Return the differences of a level that is the same, and of one that is not, and verdicts."""
    u = rng.random(n)
    hits = [rng.binomial(RUNS, success(hardness, p, u)).tolist() for p in (mean, mean, mean - lost)]
    rows = [
        row({"noise": k}, i, found) for k, here in enumerate(hits) for i, found in enumerate(here)
    ]
    same, lower = verdicts(rows, {"noise": 0})
    return {
        "difference of equals": (0.0, same["low"], same["high"]),
        "difference": (lost, lower["low"], lower["high"]),
        "degrades": same["degrades"],
        "improves": same["improves"] or lower["improves"],
        "equal": lower["equal"],
    }


def machines() -> Kinds:
    """Yield two machines, and four, on one model: Fisher, Newcombe and Holm."""
    for runs, p, count in itertools.product((16, 64, 256), (0.01, 0.1, 0.5, 0.9), (2, 4)):
        yield (
            f"compare {runs} {p} {count} equal",
            lambda rng, k=(runs, [p] * count): _machines(rng, *k),
        )
    for runs, p, other in itertools.product((16, 64, 256), (0.02, 0.3), (0.5, 0.99)):
        yield f"compare {runs} {p} {other}", lambda rng, k=(runs, [p, other]): _machines(rng, *k)


def _machines(rng: Rng, runs: int, shares: list[float]) -> Figures:
    """Return whether any of the differences is wrong; for two machines, their intervals."""
    found = [
        {"target": str(k), "successes": int(hits), "runs": runs, "run_s": 0.01}
        for k, hits in enumerate(rng.binomial(runs, shares))
    ]
    said, is_equal = differences(found), len(set(shares)) == 1
    wrong = {"compare shown": any(each["is_shown"] for each in said)} if is_equal else {}
    if len(shares) > 2:
        missed = any(not each["low"] <= 0 <= each["high"] for each in said)
        return wrong | {"compare all": missed}
    (one,) = said
    ratio = repeats(Interval(shares[0], 0, 1)).value / repeats(Interval(shares[1], 0, 1)).value
    times = one["times"] and (ratio, one["times"]["low"], one["times"]["high"])
    return wrong | {
        "compare": (shares[0] - shares[1], one["low"], one["high"]),
        "compare times": times,
    }


# ---- over a factor ------------------------------------------------------------------------------


def optima() -> Kinds:
    """Yield the best length of a run: the optimum inside, or at the shortest length."""
    for n, c in itertools.product((5, 20, 100), (3.0, 1e6)):
        yield f"optimum {n} {c:g} inside", lambda rng, k=(n, c, True): _optimum(rng, *k)
        yield f"optimum {n} {c:g} at the end", lambda rng, k=(n, c, False): _optimum(rng, *k)


def _optimum(rng: Rng, n: int, concentration: float, is_inside: bool) -> Figures:  # noqa: FBT001
    trips = np.array([1, 2, 4, 8, 64])
    at_end = 1 - 0.95 ** np.minimum(trips, 8)
    p = (np.array([0.01, 0.06, 0.3, 0.5, 0.8]) if is_inside else at_end)[:, None]
    shape = (p * concentration, (1 - p) * concentration)
    hits = rng.binomial(RUNS, betaincinv(*shape, rng.random(n)))
    runs = np.full(n, RUNS)
    lengths = [Length(t, float(t), k, runs) for t, k in zip(trips.tolist(), hits, strict=True)]
    found = optimum_of(lengths)
    truth = dict(zip(trips.tolist(), (trips * _r99(p[:, 0])).tolist(), strict=True))
    wrong = {} if is_inside else {"bracketed": not bracketed(lengths, 0.05)[1]}
    return wrong | {"optimum": _ends(truth[int(found.round_trips)], found.time)}


def _r99(p: Any) -> Any:
    return np.maximum(1.0, math.log(0.01) / np.log1p(-p))


def regions() -> Kinds:
    kinds = ((20, "logistic", 0.5), (20, "beta 1", 0.9), (5, "logistic", 0.9))
    for n, hardness, mean in kinds:
        yield f"safe {n} {hardness} {mean}", lambda rng, k=(n, hardness, mean): _region(rng, *k)


def _region(rng: Rng, n: int, hardness: str, mean: float) -> Figures:
    """Six points that are just not safe, of the same models."""
    hits = rng.binomial(RUNS, success(hardness, mean, rng.random(n)), (6, n))
    lows = [
        lambda level, here=here: share_of(here, np.full(n, RUNS), level=level).of_family.low
        for here in np.sort(hits)
    ]
    return {"safe": bool(safe_places(lows, mean, 0.95))}


# ---- more runs until it is narrow, machines that are drawn, gaps -------------------------------


def adaptive() -> Kinds:
    """Yield the success of points with more jobs until their interval is .2 wide, eight at most."""
    for n, hardness, mean in ((20, "logistic", 0.1),):  # 5 models take many jobs
        yield f"width {n} {hardness} {mean}", lambda rng, k=(n, hardness, mean): _narrowed(rng, *k)


def _narrowed(rng: Rng, n: int, hardness: str, mean: float) -> Figures:
    p = success(hardness, mean, rng.random(n))
    hits, runs, found = np.zeros(n, int), np.zeros(n, int), Interval(0, 0, 1)
    while runs[0] < 128 and found.high - found.low > 0.2:
        hits, runs = hits + rng.binomial(16, p), runs + 16
        found = share_of(np.sort(hits), runs).of_family
    return {"width": _ends(mean, found)}


def drawn_machines() -> Kinds:
    """Yield models on machines that are drawn too: a third of the variance is theirs."""
    for (n, m), mean in itertools.product(((5, 3), (20, 3), (20, 10)), (0.02, 0.5, 0.9)):
        yield f"machines {n} {m} {mean}", lambda rng, k=(n, m, mean): _on_machines(rng, *k)


def _on_machines(rng: Rng, n: int, m: int, mean: float) -> Figures:
    shapes, parts = ((n, 1), (1, m), (n, m)), (0.4, 0.3, 0.3)
    z = sum(math.sqrt(a) * rng.normal(size=shape) for a, shape in zip(parts, shapes, strict=True))
    hits = rng.binomial(32, betaincinv(3 * mean, 3 * (1 - mean), ndtr(z)))
    return {"machines": _ends(mean, share_of(hits, np.full((n, m), 32)).of_family)}


def gaps() -> Kinds:
    """Yield energy gaps: gamma (.5 is the most skewed), lognormal, and half of them 0."""
    for n, kind in itertools.product(
        (5, 20, 100), ("gamma 0.5", "gamma 2", "normal 0.5", "half 2")
    ):
        yield f"gap {n} {kind}", lambda rng, k=(n, kind): _gap(rng, *k)


def _gap(rng: Rng, n: int, kind: str) -> Figures:
    name, number = kind.split()
    c = float(number)
    gamma, normal = rng.gamma(c, 1 / c, n), rng.normal(size=n)
    drawn = {
        "gamma": gamma,
        "normal": np.exp(c * normal - c * c / 2),
        "half": gamma * 2 * (normal > 0),
    }
    return {"gap": _ends(1.0, mean_of(drawn[name]))}


def different() -> Kinds:
    """Yield configurations of a job: runs that fail end in one of so many states, lognormal."""
    kinds = itertools.product((5, 20, 100), ("beta 1", "logistic"), (0.1, 0.5, 0.9))
    for n, hardness, mean in kinds:
        name = f"different {n} {hardness} {mean}"
        yield name, lambda rng, k=(n, hardness, mean): _different(rng, *k)


def _states(z: Any) -> Any:
    return 1 + np.floor(np.exp(3 + z))


@cache
def _expected(hardness: str, mean: float) -> float:
    u = (np.arange(2000) + 0.5) / 2000
    p, states = success(hardness, mean, u)[:, None], _states(ndtri(u))
    of_others = states * (1 - (1 - (1 - p) / states) ** RUNS)
    return float((1 - (1 - p) ** RUNS + of_others).mean())


def _different(rng: Rng, n: int, hardness: str, mean: float) -> Figures:
    failed = RUNS - rng.binomial(RUNS, success(hardness, mean, rng.random(n)))
    states = _states(rng.normal(size=n))
    others = [len(set(rng.integers(0, k, m).tolist())) for k, m in zip(states, failed, strict=True)]
    new = np.sort(others + 1 * (failed < RUNS)) - 1
    found, further = share_of(new, np.full(n, RUNS - 1)).of_family, RUNS - 1
    ends = 1 + further * found.low, 1 + further * found.high
    return {"configurations": (_expected(hardness, mean), *ends)}


# ---- assertions, and scores of predictions ------------------------------------------------------


def assertions() -> Kinds:
    """Yield assertions that are just true, each with 5 % of false alarms."""
    for runs, p in itertools.product((64, 1000), (0.05, 0.4, 0.95)):
        yield f"assert {runs} {p}", lambda rng, k=(runs, p): _asserted(rng, *k)


def _asserted(rng: Rng, runs: int, p: float) -> Figures:
    def sample(share: float = p, n: int = runs) -> SampleSet:
        hits = rng.binomial(n, share)
        return replace(_samples(n), energies=np.where(np.arange(n) < hits, -1.0, 1.0))

    often = {"at_least": p, "confidence": 0.95}
    return {
        "assert_success_probability": _fails(assert_success_probability, sample(), -1.0, **often),
        "assert_degrades_less_than": _fails(
            *(assert_degrades_less_than, sample(), sample(p / 2), -1.0), loss=p / 2, confidence=0.95
        ),
        "assert_success": _fails(
            *(assert_success, lambda _: sample(n=16), -1.0), **often, margin=min(p / 2, 0.1)
        ),
    }


@cache
def _samples(runs: int) -> SampleSet:
    pair = IsingModel.from_couplings([[0, 1], [1, 0]])
    with open_device("emulator-mean-field") as session:
        return session.sample(pair, n_runs=runs, seed=1)


def _fails(check: Callable[..., None], *what: Any, **options: Any) -> bool:
    try:
        check(*what, **options)
    except AssertionError:
        return True
    return False


def scores() -> Kinds:
    for n, rare in itertools.product((30, 100, 1000), (0.5, 0.1)):
        yield f"classes {n} {rare}", lambda rng, k=(n, rare): _classes(rng, *k)
    for n, heavy in ((20, False), (50, True)):
        tail = "Laplace" if heavy else "normal"
        yield f"numbers {n} {tail}", lambda rng, k=(n, heavy): _numbers(rng, *k)


def _classes(rng: Rng, n: int, rare: float) -> Figures:
    """Return scores of two classes, of which .9 and .7 are predicted right."""
    answers = (np.arange(n) < rare * n).astype(int)
    right = rng.random(n) < np.where(answers, 0.7, 0.9)
    predicted = np.where(right, answers, 1 - answers)
    found = ClassScores.of(answers, np.arange(2), np.full((n, 2), 0.5), predicted)
    mean = float(np.where(answers, 0.7, 0.9).mean())
    gap = generalization_gap(rng.binomial(4 * n, mean) / (4 * n), 4 * n, found.accuracy, n)
    return {
        "accuracy": _ends(mean, found.accuracy),
        "balanced accuracy": _ends(0.8, found.balanced_accuracy),
        "generalization gap": _ends(0.0, gap),
    }


def _numbers(rng: Rng, n: int, heavy: bool) -> Figures:  # noqa: FBT001
    truth = rng.normal(size=n)
    error = 0.5 * (rng.laplace(size=n) / math.sqrt(2) if heavy else rng.normal(size=n))
    found = RealScores.of(truth + error, truth)
    return {"rmse": _ends(0.5, found.rmse), "r2": _ends(0.8, found.r2)}


KINDS = {
    "levels": levels,
    "compare": machines,
    "quantile": quantiles,
    "measured": measured,
    "rounded": rounded,
    "optimum": optima,
    "cliff": cliffs,
    "point": points,
    "safe": regions,
    "gap": gaps,
    "different": different,
    "machines": drawn_machines,
    "assert": assertions,
    "scores": scores,
    "width": adaptive,
}
