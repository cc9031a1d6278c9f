"""The cells of an image on an integer grid, see `qnn_train.data.grid`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from qnn_train.data.features import check_side, mean_pool
from qnn_train.data.grid import FeatureGrid

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["PooledLevels"]


@dataclass(frozen=True, eq=False)
class PooledLevels:
    """Cells of an image as small integers, zero for the usual brightness.

    Parameters
    ----------
    side : int
        Pixels along a side of an image.
    means, deviations : float64 array, shape (grid²,)
        Mean µ and standard deviation σ of each cell over the training images; σ is 1 for a cell
        that never changes.
    levels : int
        Steps L a standard deviation.
    cut : int
        Standard deviations c beyond which all is the same.

    Raises
    ------
    DataError
        Deviations that are not positive, or more than 32,767 levels on a side of zero.
    """

    side: int
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    levels: int = 16
    cut: int = 4

    def __post_init__(self) -> None:
        _ = self._steps  # checks itself

    @classmethod
    def fit(cls, images: ArrayLike, *, grid: int, levels: int = 16, cut: int = 4) -> Self:
        """Take means and deviations from images of shape (n, side, side)."""
        steps = FeatureGrid.fit(mean_pool(images, grid), levels=levels, cut=cut)
        return cls(np.shape(images)[-1], steps.means, steps.deviations, levels, cut)

    @property
    def grid(self) -> int:
        """Cells along a side."""
        return round(len(self.means) ** 0.5)

    def transform(self, images: ArrayLike) -> NDArray[np.int16]:
        """Return the features of images (n, side, side); int16, shape (n, grid²).

        Raises
        ------
        DataError
            Images of another size.
        """
        check_side(images, self.side)
        return self._steps.transform(mean_pool(images, self.grid))

    @property
    def _steps(self) -> FeatureGrid:
        return FeatureGrid(self.means, self.deviations, self.levels, self.cut)
