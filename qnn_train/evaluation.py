r"""How good predictions are: scores with intervals, confusion, calibration, generalization gap.

Intervals are of 95 %. That of a share of right answers is Wilson's, that of a difference of two
shares Newcombe's (Stat. Med. 17, 873, 1998, method 10), and that of a mean over classes is made of
theirs in the same way (Zou and Donner, Stat. Med. 27, 1693, 2008). That of RMSE is Student's, of
the logarithm of the mean square; that of R² is percentiles of bootstrap samples. The expected
calibration error (Guo et al., arXiv:1706.04599) is

.. math:: \sum_b \frac{n_b}{n}\,\lvert \operatorname{acc}_b - \operatorname{conf}_b \rvert

over bins b of the probability of the predicted class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from cim_hal.study import Interval, wilson
from qnn_train.arrays import Array, FloatArray
from qnn_train.errors import AssemblyError

__all__ = [
    "Bin",
    "ClassScores",
    "RealScores",
    "generalization_gap",
    "mean_interval",
]

DRAWS = 1000
BINS = 10


def mean_interval(values: Sequence[float] | FloatArray) -> Interval:
    """Return the mean of splits and Student's interval; no width is known of a single one."""
    from scipy.stats import t  # as long to import as numpy

    numbers = np.asarray(values, np.float64)
    mean, count = float(numbers.mean()), len(numbers)
    if count < 2:
        return Interval(mean, -np.inf, np.inf)
    half = float(t.ppf(0.975, count - 1) * numbers.std(ddof=1) / np.sqrt(count))
    return Interval(mean, mean - half, mean + half)


def generalization_gap(train: float, n_train: int, test: Interval, n_test: int) -> Interval:
    """Return how much better a share of right answers is on training samples.

    It is beyond chance where the interval lies above 0.
    """
    return wilson(train, n_train) - wilson(test.value, n_test)


@dataclass(frozen=True)
class Bin:
    """Predictions of about the same probability: how many, what they promise, and what is right."""

    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class ClassScores:
    """Of predicted classes.

    Attributes
    ----------
    n : int
    accuracy, balanced_accuracy : Interval
        The second is the mean over classes of the share of right answers.
    classes : tuple
    confusion : tuple of tuple of int
        Row: the class that is right; column: the one that was predicted.
    calibration : tuple of Bin
    calibration_error : float
        Expected calibration error.
    """

    n: int
    accuracy: Interval
    balanced_accuracy: Interval
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    calibration: tuple[Bin, ...]
    calibration_error: float

    @classmethod
    def of(
        cls, answers: Array, classes: Array, probabilities: FloatArray, predicted: Array
    ) -> Self:
        """Compare.

        Parameters
        ----------
        answers, predicted : array, shape (n,)
            Labels.
        classes : array, shape (n_classes,)
            Sorted.
        probabilities : array, shape (n, n_classes)

        Raises
        ------
        AssemblyError
            A label that is none of the classes.
        """
        right, told = _places(classes, answers), _places(classes, predicted)
        confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
        np.add.at(confusion, (right, told), 1)
        hits = right == told
        bins = _bins(probabilities[np.arange(len(told)), told], hits)
        errors = (each.count * abs(each.accuracy - each.confidence) for each in bins)
        return cls(
            n=len(answers),
            accuracy=wilson(float(hits.mean()), len(hits)),
            balanced_accuracy=_balanced(right, hits),
            classes=tuple(map(str, classes)),
            confusion=tuple(map(tuple, confusion.tolist())),
            calibration=tuple(bins),
            calibration_error=sum(errors) / len(answers),
        )


@dataclass(frozen=True)
class RealScores:
    """Of predicted numbers.

    R² is not defined where all answers are the same: it is 1 if they are predicted and else 0, as
    in scikit-learn, with an interval without bounds.
    """

    n: int
    r2: Interval
    rmse: Interval
    mean_absolute_error: float

    @classmethod
    def of(cls, answers: FloatArray, predicted: FloatArray) -> Self:
        """Compare arrays (n,)."""
        residuals = predicted - answers

        def r2(rows: Array) -> float:
            spread = float(np.square(answers[rows] - answers[rows].mean()).sum())
            errors = float(np.square(residuals[rows]).sum())
            return 1 - errors / spread if spread else float(not errors)

        mae = float(np.mean(np.abs(residuals)))
        known = _bootstrapped(r2, len(answers))
        if (answers == answers[0]).all():
            known = Interval(float(not residuals.any()), -np.inf, np.inf)
        return cls(len(answers), known, _rmse(residuals), mae)


def _places(classes: Array, labels: Array) -> Array:
    """Return the places of labels among sorted classes; refuse others, which have none."""
    places = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    if (others := classes[places] != labels).any():
        raise AssemblyError(
            f"{str(labels[others][0])!r:.100} is no class of the model",
            hint=f"one of {', '.join(map(str, classes)):.200}",
        )
    return places


def _bins(confidence: FloatArray, hits: Array) -> list[Bin]:
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    members = (place == each for each in range(BINS))
    return [
        Bin(int(some.sum()), float(confidence[some].mean()), float(hits[some].mean()))
        for some in members
        if some.any()
    ]


def _balanced(right: Array, hits: Array) -> Interval:
    groups = [hits[right == each] for each in np.unique(right)]
    shares = [wilson(float(group.mean()), len(group)) for group in groups]
    value = float(np.mean([share.value for share in shares]))
    below = math.hypot(*(share.value - share.low for share in shares)) / len(shares)
    above = math.hypot(*(share.high - share.value for share in shares)) / len(shares)
    return Interval(value, value - below, value + above)


def _rmse(residuals: FloatArray) -> Interval:
    square = mean_interval(np.square(residuals))
    rmse = math.sqrt(square.value)
    times = np.exp(0.5 * (square.high / square.value - 1)) if rmse else 1.0
    return Interval(rmse, float(rmse / times), float(rmse * times))


def _bootstrapped(statistic: Callable[[Array], float], count: int) -> Interval:
    """Return a statistic of all rows, and percentiles of it."""
    rng = np.random.default_rng(0)
    draws = [statistic(rng.choice(count, count)) for _ in range(DRAWS)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(statistic(np.arange(count)), float(low), float(high))
