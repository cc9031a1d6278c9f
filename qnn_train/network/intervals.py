"""Forward interval propagation: what every pre-activation of a network can reach.

The abstract of arXiv:2506.18240 names it; this form for integer networks is ours. All that a
sum can be lies among the values lo, lo + step, ..., hi; such a grid goes through the network layer
by layer. How a value on a grid is written in bits is `bit_encoding`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Self

from cim_hal.text import counted
from qnn_train.arguments import checked
from qnn_train.errors import AssemblyError
from qnn_train.network.architecture import Architecture, Layer
from qnn_train.network.codes import ParameterCode
from qnn_train.network.spline import Segment, Spline

__all__ = ["Grid", "activation_grid", "margin_grid", "preactivation_grid", "propagate"]


@checked
@dataclass(frozen=True)
class Grid:
    """The integers lo, lo + step, ..., hi; a single value has step 0.

    Raises
    ------
    AssemblyError
        Numbers that do not make such a grid.
    """

    lo: int
    hi: int
    step: int

    def __post_init__(self) -> None:
        reach = self.hi - self.lo
        if min(reach, self.step) < 0 or (reach % self.step if self.step else reach):
            raise AssemblyError(f"a grid from {self.lo} to {self.hi} in steps of {self.step}")

    @classmethod
    def spanning(cls, values: Iterable[int]) -> Self:
        """Return the coarsest grid that holds all `values`."""
        every = list(values)
        return cls(min(every), max(every), gcd(*(value - every[0] for value in every)))

    def __add__(self, other: Grid) -> Grid:
        """Return the grid of sums of independent values."""
        return Grid(self.lo + other.lo, self.hi + other.hi, gcd(self.step, other.step))

    def __mul__(self, other: Grid) -> Grid:
        """Return the coarsest grid that holds all products of independent values."""
        corners = [a * b for a in (self.lo, self.hi) for b in (other.lo, other.hi)]
        # w a - w0 a0 = w0 (a - a0) + a0 (w - w0) + (w - w0)(a - a0)
        step = gcd(self.lo * other.step, other.lo * self.step, self.step * other.step)
        return Grid(min(corners), max(corners), step)

    def __len__(self) -> int:
        """Return the number of values."""
        return 1 + (self.hi - self.lo) // (self.step or 1)

    def segments(self, spline: Spline) -> tuple[Segment, ...]:
        """Return the pieces of `spline` that the grid reaches."""
        return spline.segments_within(self.lo, self.hi, self.step or 1)


def preactivation_grid(layer: Layer, activations: Sequence[Grid]) -> Grid:
    """Return what z of `layer` reaches over all its parameters, input k being on activations[k]."""
    grid = _code_grid(layer.biases)
    for reachable in activations:
        grid += _code_grid(layer.weights) * reachable
    return grid


@checked
@lru_cache(maxsize=4096)
def activation_grid(spline: Spline, grid: Grid) -> Grid:
    """Return what an integer `spline` reaches on `grid`; an AssemblyError if it has reals."""
    if not spline.is_integral:
        raise AssemblyError(f"the spline {spline.name} has real numbers")
    segments = grid.segments(spline)
    ends = [int(part.at(z)) for part in segments for z in (part.lo, part.hi)]
    within = [int(part.slope) * grid.step for part in segments if part.hi > part.lo]
    return Grid(min(ends), max(ends), gcd(*(end - ends[0] for end in ends), *within))


@checked
def margin_grid(architecture: Architecture, grids: Sequence[Grid]) -> Grid:
    """Return what a margin reaches, from the grids of all layers."""
    if architecture.readout is not None:
        return grids[-1]
    last = architecture.hidden[-1]
    vote = activation_grid(last.activation, grids[-1])
    return Grid(last.outputs * vote.lo, last.outputs * vote.hi, vote.step)


@checked
def propagate(architecture: Architecture, sample: Sequence[int]) -> list[Grid]:
    """Return the grid of every trained layer for one sample; neurons of a layer share it.

    An AssemblyError for a sample of another size.
    """
    if len(sample) != architecture.n_inputs:
        raise AssemblyError(f"{counted(len(sample), 'feature')}, not {architecture.n_inputs}")
    activations = [Grid(int(value), int(value), 0) for value in sample]
    grids = []
    for layer in architecture.layers:
        grids.append(preactivation_grid(layer, activations))
        activations = [activation_grid(layer.activation, grids[-1])] * layer.outputs
    return grids


@lru_cache(maxsize=256)
def _code_grid(code: ParameterCode) -> Grid:
    return Grid.spanning(code.values)
