"""Simulated studies with a cliff at a level that is known: see ``figure_coverage.py``."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.special import expit

from cim_hal.study.cliffs import cliff_of, next_level
from cim_hal.study.plan import Cliff
from cim_hal.study.shares import Interval, mean_of, share_of

__all__ = ["cliffs"]

Rng = np.random.Generator
Figures = dict[str, Any]
Kinds = Iterator[tuple[str, Callable[[Rng], Figures]]]

# levels of a file, models, fall of the logarithm over them, and spread of models
GRIDS = (
    (77, 10, 0.5, 0.0),
    (41, 10, 0.5, 0.0),
    (77, 6, 2.0, 0.0),
    (21, 6, 1.0, 0.0),
    (77, 20, 4.0, 0.0),
    (41, 20, 2.0, 0.5),
)


def cliffs() -> Kinds:
    """Yield cliffs found by bisection: at .37, steep or flat, models that differ little or much."""
    for n, width, spread in ((20, 0.2, 1.0), (5, 0.04, 0.2)):
        yield f"cliff {n} {width} {spread}", lambda rng, k=(n, width, spread): _cliff(rng, *k)
    for n, shape in itertools.product((6, 20), (0.5, 2.0, 100.0)):
        yield f"cliff of a mean {n} {shape:g}", lambda rng, k=(n, shape): _cliff_of_mean(rng, *k)
    for n_levels, n, slope, spread in GRIDS:
        name = f"cliff in levels {n_levels} {n} {slope:g} {spread:g}"
        yield name, lambda rng, k=(n_levels, n, slope, spread): _cliff_in_grid(rng, *k)
    for n_levels, n, slope, spread in ((21, 6, 1.0, 0.0), (21, 20, 2.0, 0.3)):
        name = f"cliff sought in levels {n_levels} {n} {slope:g} {spread:g}"
        yield name, lambda rng, k=(n_levels, n, slope, spread): _cliff_in_grid(rng, *k, seek=True)
    for n_levels, n, slope, spread in ((41, 5, 0.8, 1.0), (41, 5, 2.0, 0.0)):
        name = f"cliff of success in levels {n_levels} {n} {slope:g} {spread:g}"
        yield name, lambda rng, k=(n_levels, n, slope, spread): _success_in_grid(rng, *k)


def _cliff_in_grid(
    rng: Rng, n_levels: int, n: int, slope: float, spread: float, *, seek: bool = False
) -> Figures:
    """Infeasibility in many levels of a file: sizes of trainings, and chance at each level."""
    sizes = _lognormal(rng, spread, n)

    def at(level: float) -> Interval:
        return mean_of(sizes * _lognormal(rng, 0.47, n) * math.exp(slope * (0.37 - level)))

    levels = np.linspace(0, 1, n_levels).tolist()
    return {"cliff in fine levels": _bisected(at, 1.0, "below", levels, seek=seek)}


def _lognormal(rng: Rng, spread: float, n: int) -> Any:
    return np.exp(spread * rng.standard_normal(n) - spread**2 / 2)


def _success_in_grid(rng: Rng, n_levels: int, n: int, slope: float, spread: float) -> Figures:
    """Success of models of 8 runs in many levels: few models and runs have few intervals."""
    hardness = rng.normal(0, spread, n)

    def at(level: float) -> Interval:
        hits = rng.binomial(8, expit(slope * (0.37 - level) + hardness))
        return share_of(np.sort(hits), np.full(n, 8)).of_family

    levels = np.linspace(0, 1, n_levels).tolist()
    return {"cliff in fine levels": _bisected(at, 0.5, "above", levels, seek=False)}


def _cliff(rng: Rng, n: int, width: float, spread: float) -> Figures:
    hardness = rng.normal(0, spread, n)

    def at(level: float) -> Interval:
        hits = rng.binomial(16, expit((0.37 - level) / width + hardness))
        return share_of(np.sort(hits), np.full(n, 16)).of_family

    return {"cliff": _bisected(at, 0.5, "above")}


def _cliff_of_mean(rng: Rng, n: int, shape: float) -> Figures:
    """Infeasibility of trainings of which each has its own size, gamma, and chance at each level.

    Its mean grows over the levels and is 1 at the cliff.
    """
    sizes = rng.gamma(shape, 1 / shape, n)

    def at(level: float) -> Interval:
        return mean_of(sizes * rng.gamma(4, 0.25, n) * math.exp((level - 0.37) / 0.2))

    return {"cliff of a mean": _bisected(at, 1.0, "below")}


def _bisected(
    at: Callable[[float], Interval],
    threshold: float,
    enough: str,
    of_file: Sequence[float] = (1.0, 0.0),
    *,
    seek: bool = True,
) -> tuple[float, float, float] | None:
    """Find the cliff of a figure of which the interval at a level is known when it is asked for."""
    cliff, levels = Cliff(factor="noise", threshold=threshold), {each: at(each) for each in of_file}
    while crossing := cliff_of(levels, threshold, enough):
        level = next_level(crossing, cliff, [0, 1], is_whole=False) if seek else None
        if level is None:
            return 0.37, crossing.low, crossing.high
        levels[level] = at(level)
    return None
