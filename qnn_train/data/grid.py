r"""Any real features on an integer grid, in steps of their spread over the training samples.

.. math:: f_k = \operatorname{round}\Big(L\,\frac{x_k - \mu_k}{\sigma_k}\Big),
          \qquad |f_k| \le c\,L

For tables, and for the cells of images (`qnn_train.data.PooledLevels`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from qnn_train.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FeatureGrid"]

MAX_LEVEL = 32_767


@dataclass(frozen=True, eq=False)
class FeatureGrid:
    """Real features as small integers, zero for the mean.

    Parameters
    ----------
    means, deviations : float64 array, shape (n_features,)
        Mean and standard deviation over the training samples; 1 for a feature that is constant.
    levels : int
        Steps L a standard deviation.
    cut : int
        Standard deviations c beyond which all is the same.

    Raises
    ------
    DataError
        Deviations that are not positive, or more than 32,767 levels on a side of zero.
    """

    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    levels: int
    cut: int

    def __post_init__(self) -> None:
        if self.means.shape != self.deviations.shape or not (self.deviations > 0).all():
            raise DataError("features need a positive deviation for each mean")
        if self.levels < 1 or self.cut < 1 or self.levels * self.cut > MAX_LEVEL:
            raise DataError(
                f"{self.levels} levels a deviation up to {self.cut} deviations",
                hint=f"at least 1 each, and at most {MAX_LEVEL} together",
            )

    @classmethod
    def fit(cls, X: NDArray[np.float64], *, levels: int, cut: int) -> Self:
        """Take means and deviations from samples (n, n_features)."""
        spread = X.std(axis=0)
        return cls(X.mean(axis=0), np.where(spread > 0, spread, 1.0), levels, cut)

    def transform(self, X: NDArray[np.float64]) -> NDArray[np.int16]:
        """Return the integers of samples (n, n_features); int16, the same shape."""
        largest = self.levels * self.cut
        with np.errstate(over="ignore"):
            scaled = self.levels * ((X - self.means) / self.deviations)
        return np.clip(np.rint(scaled), -largest, largest).astype(np.int16)
