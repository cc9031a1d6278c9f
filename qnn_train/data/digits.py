"""The 1,797 handwritten digits of 8x8 pixels that come with scikit-learn."""

from __future__ import annotations

import numpy as np

from qnn_train.data.datasets import Dataset, ImageSet

__all__ = ["load_digits"]


def load_digits() -> Dataset:
    """Load the digits, every second image of each class for the test.

    The split is fixed: within each class, in the order of the file, images 0, 2, 4, ... train and
    images 1, 3, 5, ... test. Pixels run from 0 to 16.
    """
    from sklearn.datasets import load_digits as load

    images, labels = load(return_X_y=True)
    every = ImageSet(images.reshape(-1, 8, 8), np.asarray(labels, dtype=np.int64))
    order = np.argsort(every.labels, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(every.labels))[:-1]])
    rank = np.empty(len(every), dtype=np.int64)
    rank[order] = np.arange(len(every)) - starts[every.labels[order]]
    halves = (every.take(np.flatnonzero(rank % 2 == odd)) for odd in (0, 1))
    return Dataset("digits", tuple("0123456789"), *halves)
