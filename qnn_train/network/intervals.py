r"""Forward interval propagation: what a pre-activation can reach, and the bits that say which.

The principle is the paper's (arXiv:2506.18240); this form for integer networks is ours. A
pre-activation lies among the values :math:`lo, lo + \epsilon, \dots, hi`. The sign has two
intervals, :math:`z < 0` and :math:`z \ge 0`. Made equally wide, :math:`2^P\epsilon`, they need one
equality, which says in which interval z lies and where in it:

.. math:: z = t - 2^P\epsilon\,(1 - \beta) + \epsilon \sum_{p<P} 2^p r_p

with :math:`t` the least reachable value that is not negative: the two's complement of
:math:`(z - t)/\epsilon`, its sign bit inverted. So z determines :math:`\beta` and :math:`r`, and
the activation is :math:`2\beta - 1`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qnn_train.network.architecture import Architecture, Layer

__all__ = ["Grid", "SignWord", "preactivation_grid", "propagate"]


@dataclass(frozen=True)
class Grid:
    """The integers lo, lo + step, ..., hi; a single value has step 0."""

    lo: int
    hi: int
    step: int

    @classmethod
    def spanning(cls, values: Iterable[int]) -> Self:
        """Return the coarsest grid that holds all `values`."""
        every = list(values)
        return cls(min(every), max(every), gcd(*(value - every[0] for value in every)))

    def __add__(self, other: Grid) -> Grid:
        """Return the grid of sums of independent values."""
        return Grid(self.lo + other.lo, self.hi + other.hi, gcd(self.step, other.step))

    @property
    def signs(self) -> tuple[int, ...]:
        """The signs that can be reached; that of zero is +1."""
        return (1,) if self.lo >= 0 else (-1,) if self.hi < 0 else (-1, 1)


@dataclass(frozen=True)
class SignWord:
    """How a pre-activation that reaches both signs is written in bits.

    Attributes
    ----------
    threshold : int
        Least reachable value that is not negative, t.
    step : int
        Resolution, ε.
    slack_bits : int
        Number of bits r, P.
    """

    threshold: int
    step: int
    slack_bits: int

    @classmethod
    def of(cls, grid: Grid) -> Self:
        """Return the shortest word for the values of `grid`."""
        below = -(grid.lo // grid.step)
        threshold = grid.lo + grid.step * below
        above = (grid.hi - threshold) // grid.step + 1
        return cls(threshold, grid.step, (max(below, above) - 1).bit_length())

    @property
    def width(self) -> int:
        """Width of either interval, 2^P ε."""
        return self.step * 2**self.slack_bits

    @property
    def slack_values(self) -> tuple[int, ...]:
        """Value of each bit r."""
        return tuple(self.step * 2**p for p in range(self.slack_bits))


def preactivation_grid(layer: Layer, activations: Sequence[Sequence[int]]) -> Grid:
    """Return what z of `layer` reaches over all its parameters, input k being in activations[k]."""
    grid = Grid.spanning(layer.biases.values)
    for reachable in activations:
        grid += Grid.spanning(v * a for v in layer.weights.values for a in reachable)
    return grid


def propagate(architecture: Architecture, sample: Sequence[int]) -> list[Grid]:
    """Return the grid of every trained layer for one sample; neurons of a layer share it."""
    activations: list[tuple[int, ...]] = [(int(value),) for value in sample]
    grids = []
    for layer in architecture.layers:
        grids.append(preactivation_grid(layer, activations))
        activations = [grids[-1].signs] * layer.outputs
    return grids
