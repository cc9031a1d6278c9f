"""Random weights, the best of which any method must beat at the same number of calls."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from qnn_train.solve.iterate import Iterate

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["GuessingState", "random_weights"]


@dataclass(frozen=True)
class GuessingState:
    """How many steps were made."""

    step: int = 0


def random_weights(
    n_bits: int, *, n_samples: int, seed: int, state: GuessingState | None = None
) -> Iterator[Iterate[GuessingState]]:
    """Draw as many networks a step as a call of the machine has runs; without any machine.

    Parameters
    ----------
    n_bits : int
        Parameter bits.
    n_samples : int
        Networks of a step.
    seed : int
    state : GuessingState, optional
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
        after = GuessingState(made)
        yield Iterate(made, made, bits, bits[0], nothing, nothing, nothing, nothing, after)
