"""Segments: the values on which a spline is one line."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Segment", "append_segment"]


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
