r"""The penalty method, what is commonly done: constraints as squares with a weight.

.. math:: \min_x\ f(x) + \lambda\,\big(\lVert Ax - b\rVert^2 + \text{Rosenberg's polynomials}
          + \text{gates}\big)

Every call asks the machine for another sample of the same matrix. With several weights the calls
take turns, so that a search for a good weight is paid for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from qnn_train.arguments import checked
from qnn_train.arrays import FloatArray
from qnn_train.errors import TrainingError
from qnn_train.program import Qcbo
from qnn_train.solve.iterate import Iterate
from qnn_train.solve.lifting import LiftedProblem
from qnn_train.solve.oracle import Oracle

__all__ = ["PenaltyState", "default_weight", "penalty_method"]


@dataclass(frozen=True)
class PenaltyState:
    """Where the method is.

    Attributes
    ----------
    step, calls : int
        Steps made and jobs paid.
    weight : float
        λ of the last call.
    bound : float
        The largest lower bound seen.
    """

    step: int = 0
    calls: int = 0
    weight: float = float("nan")
    bound: float = -np.inf


@checked
def default_weight(qcbo: Qcbo) -> float:
    """Return 1 + upper bound - lower bound of the objective, by its coefficients.

    Constraints of integers being violated by at least 1, no infeasible vector is then the optimum.
    Read in the public code of qiskit-optimization (``LinearEqualityToPenalty``), whose default it
    is; dimod takes ten times the largest coefficient.

    Raises
    ------
    TrainingError
        A constraint with a number that is no integer.
    """
    numbers = np.concatenate([qcbo.equalities.A.data, qcbo.equalities.b])
    if not (numbers == np.rint(numbers)).all():
        raise TrainingError(
            "the default weight is for constraints of integers", hint="give penalty weights"
        )
    off = qcbo.Q - np.diag(qcbo.Q.diagonal())
    return 1.0 + float(np.abs(off).sum() + np.abs(qcbo.c + qcbo.Q.diagonal()).sum())


@checked
def penalty_method(
    qcbo: Qcbo,
    oracle: Oracle,
    *,
    weights: Sequence[float] | None = None,
    state: PenaltyState | None = None,
) -> Iterator[Iterate[PenaltyState]]:
    """Ask for minima of the penalty form; the caller decides when to stop.

    Parameters
    ----------
    weights : sequence of float, optional
        λ of each call in turn; `default_weight` by default.
    state : PenaltyState, optional
        Where to go on.

    Yields
    ------
    Iterate
        Objective and infeasibility of the best sample; its bound is that of the penalty form.

    Raises
    ------
    TrainingError
        A weight that is not positive.
    """
    chosen = [default_weight(qcbo)] if weights is None else list(weights)
    if not chosen or min(chosen) <= 0:
        raise TrainingError(f"penalty weights {chosen}", hint="one or more, all positive")
    problem = LiftedProblem.lift(qcbo)
    state = state or PenaltyState()
    turn = state.step % len(chosen)
    for weight in cycle(chosen[turn:] + chosen[:turn]):
        answer = oracle.minimize(penalty_gradient(qcbo, weight))
        state = PenaltyState(
            state.step + 1,
            state.calls + answer.cost,
            weight,
            max(state.bound, float(answer.values[0])),
        )
        yield Iterate(
            step=state.step,
            calls=state.calls,
            bits=answer.bits,
            atom=answer.best,
            objective=float(qcbo.objective(answer.best)),
            infeasibility=float(np.linalg.norm(problem.image(answer.best))),
            gap=float("nan"),
            bound=state.bound,
            state=state,
        )


def penalty_gradient(qcbo: Qcbo, weight: float) -> FloatArray:
    """Return G with (1;x)ᵀ G (1;x) the penalty form."""
    Q, constant = qcbo.penalized(weight)
    G = np.zeros((qcbo.n_bits + 1, qcbo.n_bits + 1))
    G[1:, 1:] = Q.toarray()
    G[0, 0] = constant
    return G
