r"""A strong penalty, made as weak as still outweighs the objective beside it.

A penalty :math:`P(a\cdot x - b)^2` is one mode of J, :math:`\lambda v_iv_j`, without its diagonal,
which no spin feels and every amplitude does: hollow, all other modes gain
:math:`-\lambda v_i^2`, and an objective a thousand times weaker no longer decides which of them
leaves threshold; and levels of few bits are all taken by the penalty. Where one mode is far above
all else, a machine is given

.. math:: J' = J + D + (1 - \gamma)|\lambda|\,vv^T, \qquad h' = h - (1 - \gamma)(v\cdot h)\,v,
          \qquad D_{ii} = \lambda v_i^2

with :math:`\lambda < 0` and v such that J + D is nearest to this one mode, and :math:`\gamma` such
that its eigenvalue is 2n times the largest of all others, and of the field (3n in a model that any
machine gets). D is a self-coupling, which a machine may have and a model need not: without it
energies are the same but for a constant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cim_hal.model.ising import IsingModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["WeakenedPenalty", "weakened_beside_a_spin", "weakened_model", "weakened_penalty"]

# In units of the largest other eigenvalue, for each spin: a flip against the penalty then costs
# four times a typical one in its favour. Chosen on knapsacks and portfolios: 1 is as good, and
# with 8 fewer of them are solved.
LEAST_PENALTY = 2.0
# Of a model that any machine gets, whose last record may break a constraint; chosen likewise. With
# 2 fewer knapsacks are solved, with 4 fewer of both in levels of 8 bits.
LEAST_PENALTY_OF_MODEL = 3.0
# Below this share of the penalty there is no objective but rounding: the penalty is the objective.
LEAST_OBJECTIVE = 1e-8
MOST_SWEEPS = 60


class WeakenedPenalty(NamedTuple):
    """Couplings J' (n, n) and field h' (n,), in units of a step, with a penalty of this share."""

    couplings: NDArray[np.float64]
    field: NDArray[np.float64]
    share: float
    step: float = 1.0

    def rounded(self, top: int) -> WeakenedPenalty:
        """Return it in integers up to `top`."""
        step = max(_peak(self.couplings), _peak(self.field)) / top
        couplings, field = (np.rint(values / step) for values in self[:2])
        return WeakenedPenalty(couplings, field, self.share, step)


def weakened_penalty(
    J: Any, h: NDArray[Any], least: float = LEAST_PENALTY
) -> WeakenedPenalty | None:
    """Return what a machine is given in place of dense `J` (n, n) and `h`; None for most models.

    `least` is what is left of the penalty, in units of the largest other eigenvalue a spin.
    """
    if not _has_one_mode(J):
        return None
    exponent = int(np.frexp(_peak(J))[1])  # squares must not overflow
    couplings, field = (np.ldexp(np.asarray(a, np.float64), -exponent) for a in (J, h))
    found = _nearest_mode(couplings)
    if found is None:
        return None
    eigenvalue, v = found
    couplings[np.diag_indices_from(couplings)] = eigenvalue * v**2
    couplings -= eigenvalue * np.outer(v, v)
    along = float(v @ field)
    rest = field - along * v
    n = len(v)
    largest = max(2 * np.linalg.norm(couplings), np.linalg.norm(rest)) / np.sqrt(n)
    share = float(least * n * largest / -eigenvalue)
    if largest < LEAST_OBJECTIVE * -eigenvalue or share >= 1:
        return None
    couplings += share * eigenvalue * np.outer(v, v)
    rest += share * along * v
    return WeakenedPenalty(np.ldexp(couplings, exponent), np.ldexp(rest, exponent), share)


def weakened_beside_a_spin(J: Any, h: NDArray[Any]) -> WeakenedPenalty | None:
    """Return what `weakened_penalty` does of a model whose last spin stands for its field.

    With that spin a penalty has a mode of either sign.
    """
    applied = weakened_penalty(J[:-1, :-1], J[-1, :-1])
    if applied is None:
        return None
    couplings = np.pad(applied.couplings, (0, 1))
    couplings[-1, :-1] = couplings[:-1, -1] = applied.field
    return WeakenedPenalty(couplings, np.asarray(h, np.float64), applied.share)


def weakened_model(model: IsingModel) -> tuple[IsingModel, float] | None:
    """Return a dense model with its penalty weakened, and to what share; None for most models."""
    if not isinstance(model.J, np.ndarray):
        return None
    found = weakened_penalty(model.J, model.h, LEAST_PENALTY_OF_MODEL)
    if found is None:
        return None
    couplings = (found.couplings + found.couplings.T) / 2
    np.fill_diagonal(couplings, 0.0)
    return IsingModel.from_couplings(couplings, found.field), found.share


def _has_one_mode(J: Any) -> bool:
    """Whether one negative mode may make most of J, by three products, which tell a glass apart."""
    peak = _peak(J)
    if peak == 0 or len(J) < 3:
        return False
    matrix = np.empty(J.shape, np.float32)
    np.divide(J, peak, out=matrix, dtype=np.float64, casting="unsafe")
    v = np.random.default_rng(0).normal(size=len(matrix)).astype(np.float32)
    eigenvalue = 0.0
    for _ in range(3):
        v /= np.linalg.norm(v) or 1.0
        image = matrix @ v
        eigenvalue, v = float(v @ image), image
    return eigenvalue < -0.4 * float(np.linalg.norm(matrix))


def _peak(J: NDArray[Any]) -> float:
    return max(float(np.max(J, initial=0)), -float(np.min(J, initial=0)))


def _nearest_mode(J: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]] | None:
    """Return eigenvalue and mode of J with the diagonal that this mode has; None if there is none.

    The principal-factor method of statistics.
    """
    v = J[np.argmax(np.abs(J).sum(axis=1))].copy()
    v /= np.linalg.norm(v)
    diagonal, eigenvalue = np.zeros(len(J)), 0.0
    for _ in range(MOST_SWEEPS):
        for _ in range(2):
            v = J @ v + diagonal * v
            v /= np.linalg.norm(v)
        eigenvalue = float(v @ (J @ v + diagonal * v))
        before, diagonal = diagonal, eigenvalue * v**2
        if np.abs(diagonal - before).max() <= 1e-3 * LEAST_OBJECTIVE * abs(eigenvalue):
            return (eigenvalue, v) if eigenvalue < 0 else None
    return None
