"""Classical searches to compare with: random networks, and a local search around a network.

Any method must beat the best of as many random networks at the same number of calls. The local
search flips single bits, then pairs of bits, as long as the rank improves. It calls no machine, so
its result is reported apart from what a solver found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, count

import numpy as np

from cim_hal.text import counted
from qnn_train.arguments import checked
from qnn_train.arrays import BitArray
from qnn_train.errors import TrainingError
from qnn_train.network import Architecture, QuantizedNetwork
from qnn_train.solve.extraction import Candidate, Scorer
from qnn_train.solve.iterate import Iterate

__all__ = ["LocalSearchResult", "RandomSearchState", "polish", "random_search"]


@dataclass(frozen=True, eq=False)
class LocalSearchResult:
    """A local optimum and what it cost.

    Attributes
    ----------
    before, after : Candidate
        Where the search began, as it was scored, and where it ended.
    bits : int8 array, shape (n_bits,)
        Of the network after.
    rounds : int
        Neighbourhoods looked through.
    scored : int
        Networks scored.
    """

    before: Candidate
    after: Candidate
    bits: BitArray
    rounds: int
    scored: int


@checked
def polish(
    architecture: Architecture,
    scorer: Scorer,
    bits: BitArray,
    *,
    flips: int = 1,
    max_rounds: int = 100,
) -> LocalSearchResult:
    """Move to the best neighbour until none is better.

    Parameters
    ----------
    bits : int8 array, shape (n_bits or more,)
        Parameter bits of the network to start from.
    flips : {1, 2}
        Bits in which a neighbour may differ; 2 makes all pairs neighbours, n²/2 of them.
    max_rounds : int

    Raises
    ------
    TrainingError
        Another number of flips.
    """
    if flips not in {1, 2}:
        raise TrainingError(f"neighbours by {counted(flips, 'flip')}", hint="1 or 2")
    here = np.asarray(bits, dtype=np.int8)[: architecture.n_bits]
    best = before = scorer.best(QuantizedNetwork.from_bits(architecture, here[None]))[1]
    moves = _moves(len(here), flips)
    rounds, scored = 0, 1
    while rounds < max_rounds:
        neighbours = here ^ moves
        at, candidate = scorer.best(QuantizedNetwork.from_bits(architecture, neighbours))
        rounds, scored = rounds + 1, scored + len(moves)
        if candidate.rank >= best.rank:
            break
        here, best = neighbours[at], candidate
    return LocalSearchResult(before, best, here, rounds, scored)


def _moves(n_bits: int, flips: int) -> BitArray:
    rows = [at for size in range(1, flips + 1) for at in combinations(range(n_bits), size)]
    moves = np.zeros((len(rows), n_bits), np.int8)
    for move, at in zip(moves, rows, strict=True):
        move[list(at)] = 1
    return moves


@dataclass(frozen=True)
class RandomSearchState:
    """How many steps were made."""

    step: int = 0


@checked
def random_search(
    n_bits: int, *, n_samples: int, seed: int, state: RandomSearchState | None = None
) -> Iterator[Iterate[RandomSearchState]]:
    """Draw as many networks a step as a call of the machine has runs; without any machine.

    Parameters
    ----------
    n_bits : int
        Parameter bits.
    n_samples : int
        Networks of a step.
    seed : int
    state : RandomSearchState, optional
        Where to go on.

    Yields
    ------
    Iterate
        A step counts as a call, so that histories can be compared. There is no program, hence
        neither objective nor infeasibility: NaN.
    """
    nothing = float("nan")
    done = state.step if state else 0
    for made in count(done + 1):
        rng = np.random.default_rng([seed, made])
        bits = rng.integers(0, 2, (n_samples, n_bits), np.int8)
        after = RandomSearchState(made)
        yield Iterate(made, made, bits, bits[0], nothing, nothing, nothing, nothing, after)
