r"""How far the multipliers move: :math:`y \leftarrow y + \gamma_t (\mathcal A W - v)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BoundedDual", "DualRule", "FixedDual"]


class DualRule(Protocol):
    """Choose the multipliers after a step."""

    def move(
        self, dual: NDArray[np.float64], residual: NDArray[np.float64], *, step: int
    ) -> NDArray[np.float64]:
        """Return the multipliers of the next step, shape (m,)."""
        ...


@dataclass(frozen=True)
class BoundedDual:
    r"""The rule of CGAL.

    .. math:: \gamma_t = \min\Big(\beta_0,\
              \frac{4 \beta_{t+1} \eta_t^2 \alpha^2 \lVert\mathcal A\rVert^2}
                   {\lVert \mathcal A W - v \rVert^2}\Big)

    A move that would make the multipliers longer than `bound` is not made.

    Parameters
    ----------
    penalty : float
        β0.
    reach : float
        α² ‖𝒜‖², with α a bound on the trace of W: the number of rows of W.
    bound : float
        Largest length of y.

    References
    ----------
    Yurtsever, Fercoq and Cevher, ICML 2019 (CGAL).
    """

    penalty: float
    reach: float
    bound: float = 1e6

    def move(
        self, dual: NDArray[np.float64], residual: NDArray[np.float64], *, step: int
    ) -> NDArray[np.float64]:
        """Move by γ_t unless that leaves the ball."""
        squared = float(residual @ residual)
        if squared == 0.0:
            return dual
        eta, beta = 2.0 / (step + 1), self.penalty * np.sqrt(step + 2)
        moved = dual + min(self.penalty, 4 * beta * eta**2 * self.reach / squared) * residual
        return moved if np.linalg.norm(moved) <= self.bound else dual


@dataclass(frozen=True)
class FixedDual:
    """γ constant; 0 leaves the growing penalty alone at work (homotopy).

    Parameters
    ----------
    gamma : float
    """

    gamma: float

    def move(
        self,
        dual: NDArray[np.float64],
        residual: NDArray[np.float64],
        *,
        step: int,  # noqa: ARG002  the same at every step
    ) -> NDArray[np.float64]:
        """Move by γ."""
        return dual + self.gamma * residual
