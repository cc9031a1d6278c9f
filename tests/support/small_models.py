"""Models of few spins, and all their configurations."""

from __future__ import annotations

import itertools

import numpy as np

from cim_hal import IsingModel

__all__ = ["configurations", "model"]


def model(n: int, seed: int, *, field: bool) -> IsingModel:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.normal(size=(n, n)), 1)
    return IsingModel.from_couplings(upper + upper.T, rng.normal(size=n) if field else None)


def configurations(n: int) -> np.ndarray:
    found = np.array(list(itertools.product((-1, 1), repeat=n)), dtype=np.int8)
    return found[:, ::-1]  # the first spin changes fastest
