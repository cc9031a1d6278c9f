"""What a proximal descent asks of a loss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

__all__ = ["DescentLoss", "Expansion"]


@dataclass(frozen=True, eq=False)
class Expansion:
    r"""The loss of each sample to second order in its outputs o: e, and diag(d) - u uᵀ.

    Attributes
    ----------
    scale : float32 array, shape (outputs,)
        Of the margins: :math:`\partial o/\partial m`.
    gradient : float32 array, shape (samples, outputs)
        e.
    diagonal : float32 array, shape (samples, outputs)
        d.
    rank_one : float32 array, shape (samples, outputs), or None
        u; None for zero.
    """

    scale: NDArray[np.float32]
    gradient: NDArray[np.float32]
    diagonal: NDArray[np.float32]
    rank_one: NDArray[np.float32] | None = None

    def rows(self, start: int, stop: int) -> Expansion:
        """Return the expansion of some of the samples."""
        part = slice(start, stop)
        return replace(
            self,
            gradient=self.gradient[part],
            diagonal=self.diagonal[part],
            rank_one=None if self.rank_one is None else self.rank_one[part],
        )


class DescentLoss(Protocol):
    """A mean over samples of a function of margins and targets.

    Margins and targets are arrays of shape (samples, outputs). The scale is a number the descent
    carries from step to step, for a loss that needs it.
    """

    @property
    def free_offset(self) -> bool:
        """Whether an offset of each output is fitted to each network: constants cost nothing."""
        ...

    def targets_of(self, labels: ArrayLike, n_outputs: int) -> NDArray[np.float32]:
        """Return the targets that labels mean, float32."""
        ...

    def rescaled(
        self, margins: NDArray[np.floating], targets: NDArray[np.float32], scale: float
    ) -> float:
        """Return the scale to go on with; the one before is 0 at the beginning."""
        ...

    def mean(
        self, margins: NDArray[np.floating], targets: NDArray[np.float32], scale: float
    ) -> float:
        """Return the mean loss over samples."""
        ...

    def expand(
        self, margins: NDArray[np.float32], targets: NDArray[np.float32], scale: float
    ) -> Expansion:
        """Return the loss of each sample around its margins."""
        ...
