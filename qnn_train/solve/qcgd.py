r"""Quantum conditional gradient descent: an endless generator of iterates.

.. math::
    \beta_t &= \beta_0\sqrt{t+1}, \qquad \eta_t = \frac{2}{t+1} \\
    G_t &= C + \mathcal A^T\big(y_t + \beta_t\,\mathcal A W_t\big) \\
    w_t &\in \arg\min_w\ w^T G_t w \qquad\text{(the oracle)} \\
    W_{t+1} &= (1-\eta_t)\,W_t + \eta_t\,w_t w_t^T, \qquad
    y_{t+1} = y_t + \gamma_t\,\mathcal A W_{t+1}

from :math:`t = 1`, :math:`W_1 = 0`, :math:`y_1 = 0`; the right-hand side of
:math:`\mathcal A W = v` is 0, see `lifting`. That a conditional gradient with an Ising machine as
oracle trains the network is the paper's (arXiv:2506.18240); the steps are those of CGAL
(Yurtsever et al., ICML 2019), since the body of the paper was not available to us.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from qnn_train.solve.dual import BoundedDual, DualRule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from qnn_train.solve.lifting import LiftedProblem
    from qnn_train.solve.oracle import Answer, Oracle

__all__ = ["Iterate", "State", "advance", "conditional_gradient"]


@dataclass(frozen=True, eq=False)
class State:
    """What is known of W between two steps.

    Attributes
    ----------
    step : int
        Number of steps made, t - 1.
    image : float64 array, shape (m,)
        𝒜W.
    value : float
        ⟨C, W⟩.
    dual : float64 array, shape (m,)
        y.
    """

    step: int
    image: NDArray[np.float64]
    value: float
    dual: NDArray[np.float64]

    @classmethod
    def start(cls, problem: LiftedProblem) -> State:
        """W = 0 and y = 0."""
        zero = np.zeros(problem.n_constraints)
        return cls(0, zero, 0.0, zero)


@dataclass(frozen=True, eq=False)
class Iterate:
    """One step, as the caller sees it.

    Attributes
    ----------
    step : int
        From 1; also the number of oracle calls.
    answer : Answer
        Everything the oracle returned; its best is the new atom.
    objective : float
        Objective of the averaged W, in the program's own units.
    infeasibility : float
        ‖𝒜W‖, each constraint having norm 1.
    gap : float
        Surrogate duality gap at the W before the step, in units of the scaled objective; the
        oracle being inexact, it may be too small, even negative.
    dual : float64 array, shape (m,)
    """

    step: int
    answer: Answer
    objective: float
    infeasibility: float
    gap: float
    dual: NDArray[np.float64]

    @property
    def atom(self) -> NDArray[np.int8]:
        """The new atom's bits, int8, shape (n,); its weight in W is 2/(step + 1)."""
        return self.answer.best


def conditional_gradient(
    problem: LiftedProblem, oracle: Oracle, *, rule: DualRule | None = None, penalty: float = 1.0
) -> Iterator[Iterate]:
    """Minimize; the caller decides when to stop.

    Parameters
    ----------
    rule : DualRule, optional
        How the multipliers move; `BoundedDual` by default.
    penalty : float
        β0, positive.

    Yields
    ------
    Iterate
    """
    if rule is None:
        rule = BoundedDual(penalty, reach=problem.size**2 * problem.squared_norm())
    state = State.start(problem)
    for _ in count():
        answer = oracle.minimize(problem.gradient(multipliers(state, penalty)))
        state, gap = advance(problem, state, answer.best, rule=rule, penalty=penalty)
        yield Iterate(
            step=state.step,
            answer=answer,
            objective=problem.objective_scale * state.value,
            infeasibility=float(np.linalg.norm(state.image)),
            gap=gap,
            dual=state.dual,
        )


def multipliers(state: State, penalty: float) -> NDArray[np.float64]:
    """Return y + β 𝒜W."""
    return state.dual + penalty * np.sqrt(state.step + 2) * state.image


def advance(
    problem: LiftedProblem,
    state: State,
    atom: NDArray[np.int8],
    *,
    rule: DualRule,
    penalty: float,
) -> tuple[State, float]:
    """Move W towards an atom; return the new state and the surrogate gap of the old one."""
    step = state.step + 1
    eta = 2.0 / (step + 1)
    image, value = problem.image(atom), problem.objective(atom)
    beta = penalty * np.sqrt(step + 1)
    gap = (
        state.value
        - value
        - state.dual @ image
        + beta * state.image @ (state.image - image)
        - 0.5 * beta * state.image @ state.image
    )
    moved = (1 - eta) * state.image + eta * image
    dual = rule.move(state.dual, moved, step=step)
    return State(step, moved, (1 - eta) * state.value + eta * value, dual), float(gap)
