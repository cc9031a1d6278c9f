"""Losses: what they are, and that their splines are the same where they promise to be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnn_train import (
    AssemblyError,
    HingeLoss,
    SquaredLoss,
    TabulatedLoss,
    ZeroOneLoss,
    cross_entropy_loss,
    logistic_loss,
    one_against_rest,
)
from qnn_train.network import Grid

GRID = Grid(-9, 11, 2)
MARGINS = np.arange(-9, 12, 2)

EXACT = [
    ZeroOneLoss(),
    HingeLoss(),
    HingeLoss(2.5),
    SquaredLoss(1.5),
    logistic_loss(3.0),
    cross_entropy_loss(2.0, smoothing=0.1),
    TabulatedLoss(lambda m, y: abs(m - 3 * y) ** 0.5),
]


@pytest.mark.parametrize("loss", EXACT, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("label", [-1, 1])
def test_the_spline_is_the_loss_at_every_reachable_margin(loss, label):
    spline = loss.spline(GRID, label)
    expected = [loss(margin, label) for margin in MARGINS.tolist()]
    np.testing.assert_allclose(spline(MARGINS), expected, atol=1e-12)


@given(st.floats(0.05, 8), st.integers(-12, 12), st.sampled_from([-1, 1]))
def test_hinge_and_zero_one_are_two_pieces_at_every_integer(width, margin, label):
    for loss in (HingeLoss(width), ZeroOneLoss()):
        spline = loss.spline(GRID, label)
        assert len(spline.slopes) == 2
        assert spline(margin) == pytest.approx(loss(margin, label), abs=1e-12)


def test_the_losses_are_their_formulas():
    assert [ZeroOneLoss()(m, 1) for m in (-1, 0, 1)] == [1, 1, 0]
    assert [ZeroOneLoss()(m, -1) for m in (-1, 0, 1)] == [0, 0, 1]
    assert [HingeLoss(2)(m, -1) for m in (-3, -1, 1)] == [0, 1, 3]
    assert SquaredLoss(3)(1, -1) == 16
    assert logistic_loss(2)(4, -1) == pytest.approx(math.log(1 + math.exp(2)))
    p = 1 / (1 + math.exp(-1.5))
    expected = -0.9 * math.log(p) - 0.1 * math.log(1 - p)
    assert cross_entropy_loss(2, smoothing=0.1)(3, 1) == pytest.approx(expected)
    assert cross_entropy_loss(2)(3, 1) == pytest.approx(logistic_loss(2)(3, 1))


@pytest.mark.parametrize("degree", [0, 1])
def test_pieces_save_segments_and_come_near(degree):
    exact, coarse = logistic_loss(4.0), logistic_loss(4.0, pieces=4, degree=degree)
    spline = coarse.spline(GRID, 1)
    assert len(GRID.segments(exact.spline(GRID, 1))) == 11
    assert len(GRID.segments(spline)) <= 4
    width = 6 / 4.0  # three margins, in units of the scale; |f'| ≤ 1 and f'' ≤ 1/4
    bound = width / 2 if degree == 0 else width**2 / 8 / 4
    errors = [abs(spline(m) - exact(m, 1)) for m in MARGINS.tolist()]
    assert max(errors) <= bound


def test_one_against_rest_marks_the_class():
    np.testing.assert_array_equal(one_against_rest([1, 0], 3), [[-1, 1, -1], [1, -1, -1]])
    with pytest.raises(AssemblyError, match="0 to 2"):
        one_against_rest([3], 3)
