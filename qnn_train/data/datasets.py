"""Labelled images: selections of classes and samples, augmented copies, and bundled digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np

from cim_hal.text import counted
from qnn_train.arguments import checked
from qnn_train.arrays import Array, IntArray
from qnn_train.errors import DataError

__all__ = ["Dataset", "ImageSet", "Pair", "Selection", "augmented", "load_digits"]


@checked
@dataclass(frozen=True, eq=False)
class ImageSet:
    """Square images and what they show.

    Parameters
    ----------
    images : array, shape (n, side, side)
    labels : int64 array, shape (n,)
    """

    images: Array
    labels: IntArray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: IntArray) -> ImageSet:
        """Return some of the images."""
        return ImageSet(self.images[indices], self.labels[indices])

    def stratified(self, n_samples: int, *, seed: int) -> IntArray:
        """Draw equally many indices of each label; an odd one goes to the first labels.

        Raises
        ------
        DataError
            Fewer than one image of each label asked for, or more than there are.
        """
        classes, counts = np.unique(self.labels, return_counts=True)
        most = len(classes) * int(counts.min())
        if not len(classes) <= n_samples <= most:
            raise DataError(
                counted(n_samples, "training sample"),
                hint=f"between {len(classes)} and {most}",
            )
        shares = np.array_split(np.arange(n_samples), len(classes))
        rng, chosen = np.random.default_rng(seed), []
        for label, share in zip(classes, shares, strict=True):
            members = np.flatnonzero(self.labels == label)
            chosen.append(rng.choice(members, len(share), replace=False))
        return np.concatenate(chosen)


@checked
@dataclass(frozen=True, eq=False)
class Dataset:
    """A training split and a test split.

    Parameters
    ----------
    name : str
    class_names : tuple of str
        Class c is called ``class_names[c]``.
    train, test : ImageSet
    """

    name: str
    class_names: tuple[str, ...]
    train: ImageSet
    test: ImageSet

    def pair(self, first: int, second: int) -> Selection:
        """Keep two classes; labels become -1 for the first and +1 for the second.

        Raises
        ------
        DataError
            The same class twice, or one that does not exist.
        """
        return self.select((first, second))

    def select(self, classes: Sequence[int] | None = None) -> Selection:
        """Keep some classes, all of them by default.

        Labels become -1 and +1 for two classes, and 0, 1, 2, ... in the given order for more.

        Raises
        ------
        DataError
            Fewer than two classes, one that stands twice, or one that does not exist.
        """
        kept = tuple(range(len(self.class_names))) if classes is None else tuple(classes)
        for label in kept:
            if not 0 <= label < len(self.class_names):
                raise DataError(
                    f"{self.name} has no class {label}",
                    hint="it has " + ", ".join(self._labelled_names()),
                )
        if len(kept) < 2:
            raise DataError("fewer than two classes", hint="name two or more")
        if len(set(kept)) < len(kept):
            numbers = " and ".join(map(str, kept))
            raise DataError(f"classes {numbers} are the same", hint="name different ones")
        names = tuple(self.class_names[label] for label in kept)
        splits = (_only(split, kept) for split in (self.train, self.test))
        return Selection(self.name, kept, names, *splits)

    def _labelled_names(self) -> list[str]:
        pairs = enumerate(self.class_names)
        return [name if name == str(c) else f"{c} ({name})" for c, name in pairs]


@dataclass(frozen=True, eq=False)
class Selection:
    """Some classes of a dataset."""

    dataset: str
    # the labels in the dataset of -1 and +1, or of 0, 1, 2, ... where there are more than two
    classes: tuple[int, ...]
    class_names: tuple[str, ...]
    train: ImageSet
    test: ImageSet

    @property
    def n_outputs(self) -> int:
        """Margins a network needs: one for two classes, else one for each."""
        return 1 if len(self.classes) == 2 else len(self.classes)


Pair: TypeAlias = Selection


def _only(split: ImageSet, classes: tuple[int, ...]) -> ImageSet:
    kept = split.take(np.flatnonzero(np.isin(split.labels, classes)))
    order = np.argsort(classes)
    labels = order[np.searchsorted(classes, kept.labels, sorter=order)]
    return ImageSet(kept.images, 2 * labels - 1 if len(classes) == 2 else labels)


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


def augmented(images: ImageSet, *, shift: int = 0, mirror: bool = False) -> ImageSet:
    """Return the images and their copies, the originals first.

    Parameters
    ----------
    shift : int
        Copies are moved by -shift, 0 or shift pixels along each side, and what is uncovered is 0;
        9 of each image, or 1 where it is 0.
    mirror : bool
        Whether every copy is there a second time with left and right exchanged.
    """
    offsets = sorted(product({0, -shift, shift}, repeat=2), key=lambda o: o != (0, 0))
    copies = [_moved(images.images, rows, columns) for rows, columns in offsets]
    if mirror:
        copies += [copy[:, :, ::-1] for copy in copies]
    return ImageSet(np.concatenate(copies), np.tile(images.labels, len(copies)))


def _moved(images: Array, rows: int, columns: int) -> Array:
    moved = np.roll(images, (rows, columns), axis=(1, 2))
    for axis, by in ((1, rows), (2, columns)):
        gone = slice(None, by) if by > 0 else slice(by, None)
        if by:
            np.moveaxis(moved, axis, 0)[gone] = 0
    return moved
