r"""Three ways to say in which segment of a spline a value lies, by equalities and slack bits.

shared
    :math:`z = \sum_i t_i \beta_i + \epsilon \sum_p v_p r_p` (F2'): one equality and one slack word
    where all inner segments are equally wide and the outer ones no wider. The outer ones are
    widened outwards, where z never is. Two segments always allow it.
own
    The same equality with a word of its own for each segment, of the right length, whose bits must
    be 0 in the other segments: :math:`r \le \beta_i`, a gate. Then
    :math:`f(z) = \sum_i f(t_i) \beta_i + \sum_i s_i \epsilon \sum_p v_{ip} r_{ip}` is affine in
    bits even where the slopes :math:`s_i` are not 0 (F4); only this form can do that.
two-sided
    :math:`\sum_i t_i \beta_i \le z \le \sum_i t'_i \beta_i` (F2), two equalities with a slack
    word each.

The shortest is taken. (F1), (F2) and (F4) follow the principle of the paper (arXiv:2506.18240);
the other two forms, and taking the shortest, are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from qnn_train.network.segments import Segment

__all__ = ["FORMS", "Form", "Slack"]

Form = Literal["shared", "own", "two-sided"]


@dataclass(frozen=True)
class Slack:
    """A word of slack bits.

    Attributes
    ----------
    row : int
        The equality it stands in.
    values : tuple of int
        What each bit adds to the z of that equality; all of one sign.
    segment : int or None
        The segment in which its bits may be 1; None for every segment.
    """

    row: int
    values: tuple[int, ...]
    segment: int | None = None


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
    """Give each segment a word; those of the outer ones may reach outwards, where z never is."""
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
