r"""Splines: piecewise constant or linear functions of an integer, the activations and the losses.

.. math:: f(z) = a_i + s_i\,z \qquad \text{for}\quad t_i \le z < t_{i+1},
          \qquad t_0 = -\infty,\ t_{n+1} = \infty

A spline is not an approximation inside the network: it *is* the activation, and with integers
:math:`a_i, s_i` the forward pass is exact. What it is an approximation of, a callable of reals, is
named when it is made: :math:`f(z) \approx L\,\phi(z/S)`, with S the pre-activation that counts as
1 (``scale``) and L the integer that stands for the value 1 (``levels``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

import numpy as np

from qnn_train.arguments import checked
from qnn_train.arrays import Array, ArrayLike
from qnn_train.errors import AssemblyError

__all__ = ["ACTIVATIONS", "Segment", "Spline", "activation_named", "append_segment"]


@checked
@dataclass(frozen=True)
class Spline:
    """A piecewise constant or linear function of an integer.

    Parameters
    ----------
    knots : tuple of int, length n
        Ascending; piece i begins at ``knots[i - 1]`` and ends before ``knots[i]``.
    intercepts, slopes : tuple of int or float, length n + 1
        Piece i is ``intercepts[i] + slopes[i] * z``. An activation needs integers.
    name : str
        For people; two splines are equal where their numbers are.

    Raises
    ------
    AssemblyError
        Lengths that differ, knots that do not ascend, or a number that is not finite.

    Examples
    --------
    >>> Spline.relu()([-2, 0, 3])
    array([0, 0, 3])
    """

    knots: tuple[int, ...]
    intercepts: tuple[float, ...]
    slopes: tuple[float, ...]
    name: str = field(default="spline", compare=False)

    def __post_init__(self) -> None:
        if not len(self.intercepts) == len(self.slopes) == len(self.knots) + 1:
            raise AssemblyError("a spline of n knots has n + 1 intercepts and n + 1 slopes")
        if any(after <= before for before, after in pairwise(self.knots)):
            raise AssemblyError("the knots of a spline must ascend")
        if not all(math.isfinite(number) for number in (*self.intercepts, *self.slopes)):
            raise AssemblyError("a spline has a number that is not finite")

    @classmethod
    def of(
        cls,
        function: Callable[[float], float],
        lo: int,
        hi: int,
        pieces: int,
        *,
        degree: int = 0,
        scale: float = 1.0,
        levels: int | None = None,
        step: int = 1,
        name: str = "spline",
    ) -> Self:
        """Approximate ``levels * function(z / scale)`` for z = lo, lo + step, ..., hi.

        Degree 0 takes the value at the midpoint of each piece; degree 1 joins the values at the
        ends of the pieces. All pieces but the outer ones are equally wide. Outside [lo, hi] the
        spline stays at its end values.

        Parameters
        ----------
        pieces : int
            Largest number of pieces within [lo, hi].
        degree : {0, 1}
        scale : float
            The z at which the argument of `function` is 1.
        levels : int, optional
            The integer that stands for the value 1: values and slopes are rounded to integers,
            slopes so that the spline stays continuous. None leaves them real, as losses are.
        step : int
            Distance between the z that can occur.

        Raises
        ------
        AssemblyError
            No pieces, an empty range, one that `step` does not divide, another degree, or a scale
            or levels that are not positive.
        """
        if step < 1 or (hi - lo) % step or scale <= 0 or (levels is not None and levels < 1):
            raise AssemblyError(
                f"a spline on {lo} to {hi} with step {step}, scale {scale} and levels {levels}",
                hint="a step that divides the range, and a positive scale and levels",
            )
        if pieces < 1 or hi < lo or degree not in {0, 1}:
            raise AssemblyError(f"a spline of degree {degree} with {pieces} pieces on {lo} to {hi}")

        def value(z: float) -> float:
            exact = function(z / scale)
            return float(exact) if levels is None else round(levels * float(exact))

        if degree == 0 or lo == hi:
            edges = _edges(lo, hi + step, pieces, step)
            values = tuple(value((a + b - step) / 2) for a, b in pairwise(edges))
            return cls(edges[1:-1], values, (0,) * len(values), name)
        return cls(*_joined(value, _edges(lo, hi, pieces, step), whole=levels is not None), name)

    @classmethod
    def sign(cls) -> Self:
        """Return the sign, with sign(0) = +1."""
        return cls((0,), (-1, 1), (0, 0), "sign")

    @classmethod
    def identity(cls) -> Self:
        """Return z itself."""
        return cls((), (0,), (1,), "identity")

    @classmethod
    def relu(cls) -> Self:
        """Return max(0, z)."""
        return cls((0,), (0, 0), (0, 1), "relu")

    @classmethod
    def leaky_relu(cls, inverse_slope: int = 4) -> Self:
        """Return z where z ≥ 0 and z / inverse_slope elsewhere, in units of 1 / inverse_slope.

        An AssemblyError for an inverse slope below 1.
        """
        if inverse_slope < 1:
            raise AssemblyError(f"a leaky ReLU of inverse slope {inverse_slope}", hint="1 or more")
        return cls((0,), (0, 0), (1, inverse_slope), "leaky_relu")

    @classmethod
    def hard_tanh(cls, limit: int) -> Self:
        """Return z between -limit and limit, and these beyond."""
        return cls((-limit, limit), (-limit, 0, limit), (0, 1, 0), "hard_tanh")

    @classmethod
    def tanh(cls, pieces: int, *, scale: int, levels: int, degree: int = 0) -> Self:
        """Return levels · tanh(z / scale) in pieces, flat beyond z = ±3 scale; see `of`."""
        options: Any = {"degree": degree, "scale": scale, "levels": levels, "name": "tanh"}
        return cls.of(math.tanh, -3 * scale, 3 * scale, pieces, **options)

    @classmethod
    def sigmoid(cls, pieces: int, *, scale: int, levels: int, degree: int = 0) -> Self:
        """Return levels / (1 + exp(-z / scale)) in pieces, flat beyond ±6 scale; see `of`."""
        options: Any = {"degree": degree, "scale": scale, "levels": levels, "name": "sigmoid"}
        return cls.of(
            lambda u: 1.0 / (1.0 + math.exp(-u)), -6 * scale, 6 * scale, pieces, **options
        )

    @property
    def degree(self) -> int:
        """0 where all pieces are constant, else 1."""
        return int(any(slope != 0 for slope in self.slopes))

    @property
    def is_integral(self) -> bool:
        """Whether integers go to integers."""
        return all(isinstance(number, int) for number in (*self.intercepts, *self.slopes))

    def __call__(self, z: ArrayLike) -> Array:
        """Return f(z) for integers z (...): integers as int64, floats in their own dtype."""
        argument = np.asarray(z)
        whole = argument.astype(np.int64) if argument.dtype.kind in "iub" else argument
        argument = whole if self.is_integral else whole.astype(np.float64)
        dtype = argument.dtype
        pieces = [self._piece(i, argument, dtype) for i in range(len(self.slopes))]
        result = pieces[0]
        for knot, piece in zip(self.knots, pieces[1:], strict=True):
            result = np.where(argument >= knot, piece, result)
        if result.shape != argument.shape:  # all of it is one constant
            result = np.broadcast_to(result, argument.shape)
        return result.astype(dtype, copy=False)

    def _piece(self, index: int, z: Array, dtype: np.dtype[Any]) -> Array:
        intercept = np.asarray(self.intercepts[index], dtype)
        slope = self.slopes[index]
        return intercept if slope == 0 else intercept + np.asarray(slope, dtype) * z

    def segments_within(self, lo: int, hi: int, step: int = 1) -> tuple[Segment, ...]:
        """Return the pieces that the values lo, lo + step, ..., hi reach, cut to these values.

        Neighbours that one line describes are one segment. An AssemblyError for an empty range, or
        a step below 1.
        """
        if hi < lo or step < 1:
            raise AssemblyError(f"the values {lo}, {lo} + {step}, ..., {hi}", hint="ascending ones")
        found: list[Segment] = []
        starts = (lo, *(max(lo, knot) for knot in self.knots))
        ends = (*(min(hi, knot - 1) for knot in self.knots), hi)
        for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
            first = lo - (lo - start) // step * step
            last = lo + (end - lo) // step * step
            if first <= last:
                append_segment(found, Segment(first, last, self.intercepts[i], self.slopes[i]))
        return tuple(found)

    def error(
        self,
        function: Callable[[float], float],
        lo: int,
        hi: int,
        *,
        scale: float = 1.0,
        levels: float = 1.0,
    ) -> float:
        """Return the largest ``|f(z) / levels - function(z / scale)|`` over integers lo to hi."""
        z = np.arange(lo, hi + 1)
        exact = np.array([function(value / scale) for value in z.tolist()], dtype=np.float64)
        return float(np.abs(self(z) / levels - exact).max())


def _edges(lo: int, hi: int, pieces: int, step: int) -> tuple[int, ...]:
    """Cut [lo, hi] into at most `pieces` equal parts, only the outer two perhaps shorter."""
    total = (hi - lo) // step
    width = -(-total // pieces)
    count = -(-total // width)
    start = lo - (count * width - total) // 2 * step
    return (lo, *(start + width * step * i for i in range(1, count)), hi)


def _joined(
    value: Callable[[float], float], nodes: tuple[int, ...], *, whole: bool
) -> tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]]:
    """Join the values at the nodes by lines, and stay at the end values outside."""
    height = value(nodes[0])
    intercepts: list[float] = [height]
    slopes: list[float] = [0]
    for a, b in pairwise(nodes):
        slope = (value(b) - height) / (b - a)
        slope = round(slope) if whole else slope
        intercepts.append(height - slope * a)
        slopes.append(slope)
        height += slope * (b - a)
    return (*nodes[:-1], nodes[-1] + 1), (*intercepts, height), (*slopes, 0)


@checked
@dataclass(frozen=True)
class Segment:
    """The values lo, ..., hi of z, both reached, on which a spline is intercept + slope z."""

    lo: int
    hi: int
    intercept: float
    slope: float

    def at(self, z: int) -> float:
        """Return the value of the line at `z`."""
        return self.intercept + self.slope * z

    def covers(self, other: Segment) -> bool:
        """Return whether the line of this segment is right on all of `other` too."""
        return self.at(other.lo) == other.at(other.lo) and self.at(other.hi) == other.at(other.hi)


def append_segment(found: list[Segment], segment: Segment) -> None:
    """Add a segment, or lengthen the last one if one line describes both."""
    if not found:
        found.append(segment)
        return
    last = found[-1]
    line = last if last.covers(segment) else segment if segment.covers(last) else None
    if line is None:
        found.append(segment)
    else:
        found[-1] = Segment(last.lo, segment.hi, line.intercept, line.slope)


PIECES = 15

ACTIVATIONS: Mapping[str, Callable[[int], Spline]] = {
    "hard_tanh": Spline.hard_tanh,
    "leaky_relu": lambda _: Spline.leaky_relu(),
    "relu": lambda _: Spline.relu(),
    "sigmoid": lambda limit: Spline.sigmoid(PIECES, scale=max(1, limit // 2), levels=limit),
    "sign": lambda _: Spline.sign(),
    "tanh": lambda limit: Spline.tanh(PIECES, scale=limit, levels=limit),
}


def activation_named(name: str, *, limit: int) -> Spline:
    """Return an activation of integers by its key in `ACTIVATIONS`.

    `limit` is the sum at which it saturates and its largest value, where it does saturate slowly.
    An AssemblyError if there is no such activation, or for a limit below 1.
    """
    if name not in ACTIVATIONS:
        raise AssemblyError(f"no activation {name!r}", hint=", ".join(ACTIVATIONS))
    if limit < 1:
        raise AssemblyError(f"an activation that saturates at {limit}", hint="1 or more")
    return ACTIVATIONS[name](limit)
