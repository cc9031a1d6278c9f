"""Labelled images, and the choice of two classes and a few samples from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from qnn_train.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Dataset", "ImageSet", "Pair", "Selection"]


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
    """Some classes of a dataset.

    Parameters
    ----------
    dataset : str
    classes : tuple of int
        The labels in the dataset of -1 and +1, or of 0, 1, 2, ... where there are more than two.
    class_names : tuple of str
    train, test : ImageSet
    """

    dataset: str
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
