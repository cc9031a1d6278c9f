r"""Losses of a margin m at a label y, -1 or +1.

A loss on intervals is linear in the indicators of the output,

.. math:: L(m, y) = \sum_i L(c_i, y)\,\beta_i ,

so that any function will do. That arbitrary losses enter by splines is announced by the abstract
of arXiv:2506.18240; this form of it is ours. Here a loss is a spline over
the reachable margins, of degree 0 or 1; the zero-one and the hinge loss are splines already, any
other is taken at every reachable margin, exactly, or approximated in a number of pieces. The
squared loss is a quadratic function of the bits as it stands and needs no indicators; ours.

Several outputs add their losses, each with its own labels: one against the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from qnn_train.arguments import check_whole, checked
from qnn_train.arrays import IntArray, NDArray
from qnn_train.errors import AssemblyError
from qnn_train.network.intervals import Grid
from qnn_train.network.spline import Spline

__all__ = [
    "HingeLoss",
    "Loss",
    "SquaredLoss",
    "TabulatedLoss",
    "ZeroOneLoss",
    "cross_entropy_loss",
    "logistic_loss",
    "one_against_rest",
]


class Loss(Protocol):
    """A loss of a margin and a label."""

    def __call__(self, margin: float, label: int) -> float:
        """Return the loss itself."""
        ...

    def spline(self, grid: Grid, label: int) -> Spline:
        """Return the spline that stands for it on the reachable margins."""
        ...


@checked
@dataclass(frozen=True)
class SquaredLoss:
    """(m - τ y)², without indicators.

    Parameters
    ----------
    target : float
        Margin τ that a sample should have on the side of its label.
    """

    target: float

    def __call__(self, margin: float, label: int) -> float:
        """Return (m - τ y)²."""
        return (margin - self.target * label) ** 2

    def spline(self, grid: Grid, label: int) -> Spline:
        """Return the values at all margins of `grid`."""
        return _table(self, grid, label)


@dataclass(frozen=True)
class ZeroOneLoss:
    """1 where the predicted class is not the label, else 0; see `second_class`."""

    def __call__(self, margin: float, label: int) -> float:
        """Return 0 or 1."""
        return float((margin > 0) != (label > 0))

    def spline(self, grid: Grid, label: int) -> Spline:  # noqa: ARG002  two pieces on any grid
        """Return two constant pieces; margins are whole numbers."""
        return Spline((1,), (0, 1) if label < 0 else (1, 0), (0, 0), "zero-one")


@checked
@dataclass(frozen=True)
class HingeLoss:
    """max(0, μ - y m).

    Parameters
    ----------
    margin : float
        μ, beyond which nothing is lost.
    """

    margin: float = 1.0

    def __call__(self, margin: float, label: int) -> float:
        """Return max(0, μ - y m)."""
        return max(0.0, self.margin - label * margin)

    def spline(self, grid: Grid, label: int) -> Spline:  # noqa: ARG002  two pieces on any grid
        """Return a line and a constant, equal to the loss at every integer."""
        if label > 0:
            return Spline((math.ceil(self.margin),), (self.margin, 0), (-1, 0), "hinge")
        return Spline((math.floor(-self.margin) + 1,), (0, self.margin), (0, 1), "hinge")


@checked
@dataclass(frozen=True)
class TabulatedLoss:
    """Any function of margin and label.

    Parameters
    ----------
    function : callable
        ``function(margin, label)`` is the loss.
    pieces : int, optional
        Pieces of the spline; by default one for every reachable margin, which is exact.
    degree : {0, 1}
        Of the spline, where `pieces` are given.
    name : str

    Raises
    ------
    AssemblyError
        No pieces, or another degree.
    """

    function: Callable[[float, int], float]
    pieces: int | None = None
    degree: int = 0
    name: str = field(default="loss", compare=False)

    def __post_init__(self) -> None:
        if (self.pieces is not None and self.pieces < 1) or self.degree not in {0, 1}:
            raise AssemblyError(f"a loss in {self.pieces} pieces of degree {self.degree}")

    def __call__(self, margin: float, label: int) -> float:
        """Return the function itself."""
        return float(self.function(margin, label))

    def spline(self, grid: Grid, label: int) -> Spline:
        """Return the spline over the margins of `grid`."""
        if self.pieces is None:
            return _table(self, grid, label)
        return Spline.of(
            lambda margin: self(margin, label),
            grid.lo,
            grid.hi,
            self.pieces,
            degree=self.degree,
            step=grid.step or 1,
            name=self.name,
        )


@checked
def logistic_loss(
    scale: float = 1.0, *, pieces: int | None = None, degree: int = 0
) -> TabulatedLoss:
    """Return ln(1 + exp(-y m / scale)), exact or in pieces.

    An AssemblyError for a scale that is not positive.
    """
    if scale <= 0:
        raise AssemblyError(f"a logistic loss of scale {scale}", hint="above 0")

    def logistic(margin: float, label: int) -> float:
        return float(np.logaddexp(0.0, -label * margin / scale))

    return TabulatedLoss(logistic, pieces, degree, "logistic")


@checked
def cross_entropy_loss(
    scale: float = 1.0, *, smoothing: float = 0.0, pieces: int | None = None, degree: int = 0
) -> TabulatedLoss:
    """Return the cross-entropy of the margin as log-odds m / scale, exact or in pieces.

    The label is believed with probability 1 - `smoothing`; with 0 this is the logistic loss. An
    AssemblyError for a scale that is not positive, or a smoothing that is no probability.
    """
    if not 0 <= smoothing <= 1:
        raise AssemblyError(f"a smoothing of {smoothing}", hint="from 0 to 1")
    logistic = logistic_loss(scale)

    def cross_entropy(margin: float, label: int) -> float:
        against = smoothing * logistic(margin, -label) if smoothing else 0.0
        return (1.0 - smoothing) * logistic(margin, label) + against

    return TabulatedLoss(cross_entropy, pieces, degree, "cross-entropy")


@checked
def one_against_rest(classes: NDArray[np.integer], n_classes: int) -> IntArray:
    """Return labels (samples, n_classes): +1 at the class of each sample, else -1.

    Raises
    ------
    AssemblyError
        A class below 0, not below `n_classes`, or no integer.
    """
    at = np.asarray(classes)
    check_whole("classes", at)
    if at.size and not (at.min() >= 0 and at.max() < n_classes):
        raise AssemblyError(f"classes from {at.min()} to {at.max()}", hint=f"0 to {n_classes - 1}")
    return np.where(at[:, None] == np.arange(n_classes), 1, -1)


def _table(loss: Loss, grid: Grid, label: int) -> Spline:
    margins = range(grid.lo, grid.hi + 1, grid.step or 1)
    values = tuple(loss(margin, label) for margin in margins)
    return Spline(tuple(margins[1:]), values, (0,) * len(values), "table")
