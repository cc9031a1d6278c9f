"""Copies of images that show the same: moved by a few pixels, and seen in a mirror."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from qnn_train.data.datasets import ImageSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["augmented"]


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


def _moved(images: NDArray, rows: int, columns: int) -> NDArray:
    moved = np.roll(images, (rows, columns), axis=(1, 2))
    for axis, by in ((1, rows), (2, columns)):
        gone = slice(None, by) if by > 0 else slice(by, None)
        if by:
            np.moveaxis(moved, axis, 0)[gone] = 0
    return moved
