r"""Features on an integer grid: the mean of each cell, in steps of its spread over training images.

.. math:: f_k = \operatorname{round}\Big(L\,\frac{m_k - \mu_k}{\sigma_k}\Big),
          \qquad |f_k| \le c\,L
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from qnn_train.data.features import check_side, mean_pool
from qnn_train.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["PooledLevels"]

MAX_LEVEL = 32_767


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
        if len(self.means) != len(self.deviations) or not (self.deviations > 0).all():
            raise DataError("features need a positive deviation for each mean")
        if self.levels < 1 or self.cut < 1 or self.levels * self.cut > MAX_LEVEL:
            raise DataError(
                f"{self.levels} levels a deviation up to {self.cut} deviations",
                hint=f"at least 1 each, and at most {MAX_LEVEL} together",
            )

    @classmethod
    def fit(cls, images: ArrayLike, *, grid: int, levels: int = 16, cut: int = 4) -> Self:
        """Take means and deviations from images of shape (n, side, side)."""
        cells = mean_pool(images, grid)
        spread = cells.std(axis=0)
        deviations = np.where(spread > 0, spread, 1.0)
        return cls(np.shape(images)[-1], cells.mean(axis=0), deviations, levels, cut)

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
        scaled = (mean_pool(images, self.grid) - self.means) / self.deviations
        largest = self.levels * self.cut
        return np.clip(np.rint(self.levels * scaled), -largest, largest).astype(np.int16)
