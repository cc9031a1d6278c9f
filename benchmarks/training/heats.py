"""The best of many networks on the training images, by heats on ever more of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from qnn_train import QuantizedNetwork, Scorer, one_against_rest
from qnn_train.solve import Extractor

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from qnn_train import Architecture
    from qnn_train.solve import Candidate
    from qnn_train.training import Examples

__all__ = ["accuracy", "best_of"]

# Images of a heat, and how many networks stay. 80,000 networks of ten classes take 20 s.
HEATS = ((1000, 256), (8000, 16))
CHUNK = 256


def best_of(
    architecture: Architecture,
    count: int,
    bits: Callable[[slice], NDArray[np.int8]],
    train: Examples,
    rng: np.random.Generator,
) -> Candidate:
    """Return the network that is most often right on all of `train`.

    Ties are broken as `Scorer` breaks them.

    Parameters
    ----------
    count : int
        Networks.
    bits : callable
        Returns the parameter bits (k, n_bits) of a slice of them; called once for each.
    """
    order = rng.permutation(len(train))
    (images, keep), *later = HEATS
    right = partial(_right, architecture, train)
    pool, found = np.zeros((0, architecture.n_bits), np.int8), np.zeros(0)
    for first in range(0, count, CHUNK):
        some = bits(slice(first, min(first + CHUNK, count)))
        pool = np.concatenate([pool, some])
        found = np.concatenate([found, right(some, order[:images])])
        best = np.argsort(-found, kind="stable")[:keep]
        pool, found = pool[best], found[best]
    for images, keep in later:
        pool = pool[np.argsort(-right(pool, order[:images]), kind="stable")[:keep]]
    signs = train.labels
    if architecture.n_outputs > 1:
        signs = one_against_rest(train.labels, architecture.n_outputs)
    return Extractor(architecture, Scorer(train.inputs, signs)).add(pool)


def accuracy(network: QuantizedNetwork, examples: Examples) -> Any:
    """Return the share of examples that networks (...) are right about; float64 (...)."""
    return (network.predict(examples.inputs) == examples.labels).mean(axis=-1)


def _right(
    architecture: Architecture,
    train: Examples,
    bits: NDArray[np.int8],
    chosen: NDArray[np.int64],
) -> NDArray[np.float64]:
    part = type(train)(train.inputs[chosen], train.labels[chosen])
    return accuracy(QuantizedNetwork.from_bits(architecture, bits), part)
