"""Samples to train on: equal ones as one that counts more, in an order of their own.

A fit depends neither on the order of samples nor on whether equal ones are repeated or weighted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
from sklearn.utils.validation import _check_sample_weight

from qnn_train.arrays import Array, ArrayLike, FloatArray, IntArray

__all__ = ["Samples", "checked_weights"]


@dataclass(frozen=True, eq=False)
class Samples:
    """Different samples, and what each counts."""

    features: FloatArray  # shape (n, n_features)
    answers: Array  # shape (n,) or (n, outputs)
    weights: FloatArray | None  # shape (n,), positive; None where all count alike

    @classmethod
    def of(cls, features: FloatArray, answers: Array, weights: FloatArray | None) -> Self:
        """Leave out what counts nothing, and put together what is equal."""
        counts = np.ones(len(features)) if weights is None else weights
        counted = counts > 0
        features, answers, counts = features[counted], answers[counted], counts[counted]
        _, ranks = np.unique(answers, return_inverse=True)
        columns = ranks.reshape(len(answers), -1).astype(np.float64)
        _, first, place = np.unique(
            _words(np.hstack([features, columns])), return_index=True, return_inverse=True
        )
        total = np.bincount(place.ravel(), weights=counts).astype(np.float64)
        alike = bool((total == total[0]).all())
        return cls(features[first], answers[first], None if alike else total)

    def take(self, places: IntArray) -> Samples:
        """Return some of the samples."""
        weights = None if self.weights is None else self.weights[places]
        return Samples(self.features[places], self.answers[places], weights)

    def reweighted(self, factors: FloatArray) -> Samples:
        """Return the samples, each counting `factors` times as much; see `of`.

        A ValueError if one would count nothing, or infinitely much.
        """
        with np.errstate(over="ignore", under="ignore"):
            weights = factors if self.weights is None else self.weights * factors
        if not ((weights > 0) & np.isfinite(weights)).all():
            raise ValueError("class_weight times sample_weight is beyond float64")
        return Samples.of(self.features, self.answers, weights)


def _words(rows: FloatArray) -> Array:
    """Return each row as one word of bytes; equal numbers give equal words."""
    plain = np.ascontiguousarray(rows + 0.0)  # -0 is 0
    return plain.view(np.dtype((np.void, plain.itemsize * plain.shape[1]))).ravel()


def checked_weights(sample_weight: ArrayLike | None, features: FloatArray) -> FloatArray | None:
    """Return weights of samples, float64 (n,); a ValueError if one is negative or all are zero."""
    if sample_weight is None:
        return None
    check = cast("Any", _check_sample_weight)
    weights = check(sample_weight, features, dtype=np.float64, ensure_non_negative=True)
    if not weights.any():
        raise ValueError("sample_weight is zero for all samples")
    return weights
