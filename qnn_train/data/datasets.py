"""Labelled images, and the choice of two classes and a few samples from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qnn_train.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Dataset", "ImageSet", "Pair"]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Square images and what they show.

    Parameters
    ----------
    images : array, shape (n, side, side)
    labels : int64 array, shape (n,)
    """

    images: NDArray
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> ImageSet:
        """Return some of the images."""
        return ImageSet(self.images[indices], self.labels[indices])

    def stratified(self, n_samples: int, *, seed: int) -> NDArray[np.int64]:
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
                f"{n_samples} training samples", hint=f"between {len(classes)} and {most}"
            )
        shares = np.array_split(np.arange(n_samples), len(classes))
        rng, chosen = np.random.default_rng(seed), []
        for label, share in zip(classes, shares, strict=True):
            members = np.flatnonzero(self.labels == label)
            chosen.append(rng.choice(members, len(share), replace=False))
        return np.concatenate(chosen)


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

    def pair(self, first: int, second: int) -> Pair:
        """Keep two classes; labels become -1 for the first and +1 for the second.

        Raises
        ------
        DataError
            The same class twice, or one that does not exist.
        """
        for label in (first, second):
            if not 0 <= label < len(self.class_names):
                raise DataError(
                    f"{self.name} has no class {label}",
                    hint="it has " + ", ".join(self._labelled_names()),
                )
        if first == second:
            raise DataError(f"classes {first} and {second} are the same", hint="name two")
        names = (self.class_names[first], self.class_names[second])
        splits = (_two_classes(split, first, second) for split in (self.train, self.test))
        return Pair(self.name, (first, second), names, *splits)

    def _labelled_names(self) -> list[str]:
        pairs = enumerate(self.class_names)
        return [name if name == str(c) else f"{c} ({name})" for c, name in pairs]


@dataclass(frozen=True, eq=False)
class Pair:
    """Two classes of a dataset, labelled -1 and +1.

    Parameters
    ----------
    dataset : str
    classes : tuple of int
        The labels in the dataset of -1 and +1.
    class_names : tuple of str
    train, test : ImageSet
    """

    dataset: str
    classes: tuple[int, int]
    class_names: tuple[str, str]
    train: ImageSet
    test: ImageSet


def _two_classes(split: ImageSet, first: int, second: int) -> ImageSet:
    kept = split.take(np.flatnonzero((split.labels == first) | (split.labels == second)))
    return ImageSet(kept.images, np.where(kept.labels == second, 1, -1))
