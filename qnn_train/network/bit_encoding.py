r"""Bit encodings: a value z on a grid, and the segment of a spline it lies in, written in bits.

Indicators :math:`\beta_i` say which of the n reachable segments it is: none for one segment, one
bit for two (:math:`\beta_1 = \beta, \beta_0 = 1 - \beta`), else n bits under
:math:`\sum_i \beta_i = 1` (F1). That the indicators tell the truth takes equalities and slack
bits, in the shortest of the three forms; then the spline at z is an affine function of
the bits too (F4).

shared
    :math:`z = \sum_i t_i \beta_i + \epsilon \sum_p v_p r_p` (F2'): one equality and one group of
    slack bits where all inner segments are equally wide and the outer ones no wider. The outer ones
    are widened outwards, where z never is. Two segments always allow it.
own
    The same equality with slack bits of its own for each segment, which must be 0 in the other
    segments: :math:`r \le \beta_i`, a gate. Then
    :math:`f(z) = \sum_i f(t_i) \beta_i + \sum_i s_i \epsilon \sum_p v_{ip} r_{ip}` is affine in
    bits even where the slopes :math:`s_i` are not 0 (F4); only this form can do that.
two-sided
    :math:`\sum_i t_i \beta_i \le z \le \sum_i t'_i \beta_i` (F2), two equalities with a group of
    slack bits each.

That activations are cut into linear subintervals is announced by the abstract of arXiv:2506.18240;
these forms of it, and taking the shortest, are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Literal, NamedTuple, Self

import numpy as np

from qnn_train.arguments import check_whole, checked
from qnn_train.arrays import ArrayLike, BitArray, IntArray, NDArray
from qnn_train.errors import AssemblyError
from qnn_train.network.intervals import Grid
from qnn_train.network.spline import Segment, Spline

__all__ = ["FORMS", "BitEncoding", "BitFunction", "Form", "Gate", "Slack", "shortest_encoding"]


@dataclass(frozen=True)
class Gate:
    """Bit `slack` must be 0 unless bit `indicator` is `opens`; both positions in the encoding."""

    slack: int
    indicator: int
    opens: int


class BitFunction(NamedTuple):
    """An affine function of the bits of an encoding."""

    constant: float
    coefficients: tuple[float, ...]  # one for each bit, indicators first


@checked
@dataclass(frozen=True)
class BitEncoding:
    """Bits for the values of a grid cut into segments; make one with `of`.

    The bits are `n_indicators` indicators, then the groups of slack bits in order.
    """

    segments: tuple[Segment, ...]
    step: int  # resolution ε of the grid
    # for each equality, the z of each segment with all slack bits 0
    rows: tuple[tuple[int, ...], ...]
    slacks: tuple[Slack, ...]

    @classmethod
    def of(cls, spline: Spline, grid: Grid, form: Form | None = None) -> Self:
        """Return the encoding for the values of `grid`, the shortest unless a form is named.

        Raises
        ------
        AssemblyError
            The named form does not exist for this spline on this grid.
        """
        segments, step = grid.segments(spline), grid.step
        if len(segments) == 1 and (step == 0 or segments[0].slope == 0):
            return cls(segments, step, (), ())
        possible = [FORMS[name](segments, step) for name in ((form,) if form else FORMS)]
        encodings = [cls(segments, step, *parts) for parts in possible if parts is not None]
        if not encodings:
            raise AssemblyError(f"{spline.name} on {grid} has no {form} encoding")
        return min(encodings, key=lambda encoding: (encoding.n_bits, len(encoding.rows)))

    @property
    def n_indicators(self) -> int:
        """Number of indicator bits: 0, 1, or that of the segments."""
        return {1: 0, 2: 1}.get(len(self.segments), len(self.segments))

    @property
    def slack_bits(self) -> int:
        """Number of slack bits."""
        return sum(len(slack.values) for slack in self.slacks)

    @property
    def n_bits(self) -> int:
        """Number of bits."""
        return self.n_indicators + self.slack_bits

    @property
    def one_hot(self) -> bool:
        """Whether the indicators stand under Σβ = 1."""
        return self.n_indicators > 1

    @property
    def gates(self) -> tuple[Gate, ...]:
        """Slack bits that are 0 outside of their segment."""
        return tuple(
            Gate(bit, segment, 1) if self.one_hot else Gate(bit, 0, segment)
            for start, slack in self._placed()
            if (segment := slack.segment) is not None
            for bit in range(start, start + len(slack.values))
        )

    def equalities(self) -> tuple[BitFunction, ...]:
        """Return z as each equality has it; all of them must be z.

        With Σβ = 1 the z of the middle segment is taken out, so that coefficients are multiples of
        the step and small.
        """
        found = []
        for row, anchors in enumerate(self.rows):
            constant, indicators = self._indicated(anchors, anchors[len(anchors) // 2])
            slack = [v * (s.row == row) for s in self.slacks for v in s.values]
            found.append(BitFunction(constant, (*indicators, *slack)))
        return tuple(found)

    def function(self, *, reference: bool) -> BitFunction:
        """Return the spline at z; of all indicators, or of those that differ from the commonest."""
        anchors = self.rows[0] if self.rows else tuple(part.lo for part in self.segments)
        values = [part.at(z) for part, z in zip(self.segments, anchors, strict=True)]
        taken_out = max(values, key=values.count) if reference else 0
        constant, indicators = self._indicated(values, taken_out)
        # A line with a slope reads only slack bits of its own; a single segment owns its bits.
        slack = [v * self.segments[s.segment or 0].slope for s in self.slacks for v in s.values]
        return BitFunction(constant, (*indicators, *slack))

    def encode(self, z: ArrayLike) -> BitArray:
        """Return the bits of reachable values z (...); int8, shape (..., n_bits).

        An AssemblyError for others.
        """
        given = np.asarray(z)
        check_whole("z", given)
        values, lo, hi = given.astype(np.int64), self.segments[0].lo, self.segments[-1].hi
        if ((values < lo) | (values > hi) | ((values - lo) % (self.step or 1) != 0)).any():
            raise AssemblyError(f"values that are not {lo} to {hi} in steps of {self.step}")
        at = np.searchsorted([part.lo for part in self.segments[1:]], values, side="right")
        parts = [at[..., None] == 1] if len(self.segments) == 2 else []
        if self.one_hot:
            parts = [at[..., None] == np.arange(len(self.segments))]
        for slack in self.slacks:
            rest = np.abs(values - np.array(self.rows[slack.row])[at])
            if slack.segment is not None:
                rest *= at == slack.segment
            parts.append(_digits(rest, np.abs(slack.values), self.step))
        empty = np.zeros((*values.shape, 0))
        return np.concatenate([empty, *parts], axis=-1).astype(np.int8)

    def _placed(self) -> list[tuple[int, Slack]]:
        lengths = (len(slack.values) for slack in self.slacks)
        return list(zip(accumulate(lengths, initial=self.n_indicators), self.slacks, strict=False))

    def _indicated(
        self, values: Sequence[float], taken_out: float
    ) -> tuple[float, tuple[float, ...]]:
        """Return constant and coefficients of Σ values_i β_i; under Σβ = 1 the constant is free."""
        if self.one_hot:
            return taken_out, tuple(value - taken_out for value in values)
        return values[0], tuple(value - values[0] for value in values[1:])


@checked
@lru_cache(maxsize=4096)
def shortest_encoding(spline: Spline, grid: Grid) -> BitEncoding:
    """Return the shortest encoding, cached: neurons and samples share few grids."""
    return BitEncoding.of(spline, grid)


def _digits(rest: IntArray, values: IntArray, step: int) -> NDArray[np.bool_]:
    """Write `rest` with bits of these values; the last need not be a power of two."""
    if not len(values):
        return np.zeros((*rest.shape, 0), dtype=bool)
    top = rest >= values[-1]
    below = (rest - top * values[-1]) // step
    powers = (below[..., None] >> np.arange(len(values) - 1)) & 1
    return np.concatenate([powers == 1, top[..., None]], axis=-1)


Form = Literal["shared", "own", "two-sided"]


@dataclass(frozen=True)
class Slack:
    """A group of slack bits."""

    row: int  # the equality it stands in
    values: tuple[int, ...]  # what each bit adds to the z of that equality; all of one sign
    segment: int | None = None  # the segment in which its bits may be 1; None for every segment


Parts = tuple[tuple[tuple[int, ...], ...], tuple[Slack, ...]]


def _shared(segments: tuple[Segment, ...], step: int) -> Parts | None:
    if any(part.slope != 0 for part in segments):
        return None
    outer = max(_count(segments[0], step), _count(segments[-1], step))
    inner = {_count(part, step) for part in segments[1:-1]} or {_power(outer)}
    if len(inner) > 1 or outer > (size := inner.pop()):
        return None
    anchors = (segments[1].lo - size * step, *(part.lo for part in segments[1:]))
    return (anchors,), (Slack(0, _values(size, step)),)


def _own(segments: tuple[Segment, ...], step: int) -> Parts:
    """Give each segment its own slack bits; the outer ones may reach outwards, where z never is."""
    last = len(segments) - 1
    anchors, slacks = [], []
    for index, part in enumerate(segments):
        downwards = index == 0 < last
        anchors.append(part.hi if downwards else part.lo)
        count = _count(part, step)
        values = _values(count if 0 < index < last else _power(count), step)
        signed = tuple(-v for v in values) if downwards else values
        slacks.append(Slack(0, signed, index if last else None))
    return (tuple(anchors),), tuple(slacks)


def _two_sided(segments: tuple[Segment, ...], step: int) -> Parts | None:
    if any(part.slope != 0 for part in segments):
        return None
    values = _values(_power(max(_count(part, step) for part in segments)), step)
    below, above = tuple(part.lo for part in segments), tuple(part.hi for part in segments)
    return (below, above), (Slack(0, values), Slack(1, tuple(-v for v in values)))


FORMS: dict[Form, Callable[[tuple[Segment, ...], int], Parts | None]] = {
    "shared": _shared,
    "own": _own,
    "two-sided": _two_sided,
}


def _count(segment: Segment, step: int) -> int:
    return (segment.hi - segment.lo) // step + 1


def _power(count: int) -> int:
    """Return the least power of two that is not below `count`."""
    return 1 << (count - 1).bit_length()


def _values(count: int, step: int) -> tuple[int, ...]:
    """Return bit values whose sums are 0, step, ..., (count - 1) step and nothing else."""
    bits = (count - 1).bit_length()
    whole = [step * 2**p for p in range(bits - 1)]
    return (*whole, step * count - step * 2 ** (bits - 1)) if bits else ()
