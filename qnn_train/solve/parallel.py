"""Independent minimizations that run together, or packed into one task of a larger machine.

Samples of a packed task are cut into blocks, and each block is ranked by its own values: the best
sample of one block may come from another run than that of the next. Blocks are scaled to equal
largest coefficients first, since all share one integer scale; this costs resolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from qnn_train.errors import TrainingError
from qnn_train.solve.oracle import Answer, evaluate, largest, to_ising

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qnn_train.arrays import FloatArray
    from qnn_train.solve.oracle import Answer, Oracle

__all__ = ["PackedOracle", "ParallelOracle", "minimize_all"]


@runtime_checkable
class ParallelOracle(Protocol):
    """An oracle that takes independent problems together: several machines, or one large task."""

    def minimize(self, gradient: FloatArray) -> Answer:
        """Answer for one gradient."""
        ...

    def minimize_all(self, gradients: Sequence[FloatArray]) -> list[Answer]:
        """Answer for each gradient, in their order."""
        ...


def minimize_all(oracle: Oracle, gradients: Sequence[FloatArray]) -> list[Answer]:
    """Answer for each gradient: together where the oracle can, else one after the other."""
    if isinstance(oracle, ParallelOracle):
        return oracle.minimize_all(gradients)
    return [oracle.minimize(gradient) for gradient in gradients]


class PackedOracle:
    """Puts neighbouring problems together as long as they fit.

    Parameters
    ----------
    oracle : Oracle
    max_bits : int
        Bits of a task: the spins of the machine, one less where it has no field.
    """

    def __init__(self, oracle: Oracle, max_bits: int) -> None:
        self._oracle = oracle
        self._max_bits = max_bits

    def minimize(self, gradient: FloatArray) -> Answer:
        """Answer for one gradient, which is a task of its own."""
        return self.minimize_all([gradient])[0]

    def minimize_all(self, gradients: Sequence[FloatArray]) -> list[Answer]:
        """Answer for each gradient; the first of a task carries its cost.

        Raises
        ------
        TrainingError
            A problem with more bits than a task may have.
        """
        groups = self._groups([len(gradient) - 1 for gradient in gradients])
        tasks = [block_diagonal([gradients[at] for at in group]) for group in groups]
        answers = []
        for group, answer in zip(groups, minimize_all(self._oracle, tasks), strict=True):
            start = 0
            for at in group:
                stop = start + len(gradients[at]) - 1
                cost = answer.cost if at == group[0] else 0
                answers.append(evaluate(gradients[at], answer.bits[:, start:stop], cost=cost))
                start = stop
        return answers

    def _groups(self, sizes: list[int]) -> list[list[int]]:
        groups: list[list[int]] = []
        room = 0
        for at, size in enumerate(sizes):
            if size > self._max_bits:
                raise TrainingError(
                    f"a problem of {size} bits for a task of {self._max_bits}",
                    hint="fewer samples in a part, or a larger machine",
                )
            if size > room:
                groups.append([])
                room = self._max_bits
            groups[-1].append(at)
            room -= size
        return groups


def block_diagonal(gradients: Sequence[FloatArray]) -> FloatArray:
    """Return G of all blocks side by side, each scaled to a largest Ising coefficient of 1."""
    size = 1 + sum(len(gradient) - 1 for gradient in gradients)
    joined = np.zeros((size, size))
    start = 1
    for gradient in gradients:
        stop = start + len(gradient) - 1
        scale = 1.0 / (largest(to_ising(gradient)) or 1.0)
        joined[0, 0] += scale * gradient[0, 0]
        joined[0, start:stop] = joined[start:stop, 0] = scale * gradient[0, 1:]
        joined[start:stop, start:stop] = scale * gradient[1:, 1:]
        start = stop
    return joined
