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

Several samples of one answer may be the atoms of a step, in equal shares, and a run may start from
known atoms; both ours.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol, TypeAlias

import numpy as np

from qnn_train.arguments import checked
from qnn_train.arrays import Array, ArrayLike, BitArray, FloatArray
from qnn_train.errors import TrainingError
from qnn_train.solve.iterate import Iterate
from qnn_train.solve.lifting import CoupledProblem, LiftedProblem
from qnn_train.solve.oracle import Answer, Oracle, minimize_all

__all__ = [
    "Atoms",
    "BoundedDual",
    "DualRule",
    "FixedDual",
    "State",
    "advance",
    "conditional_gradient",
    "multipliers",
]

ConicProgram: TypeAlias = LiftedProblem | CoupledProblem


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
    calls : int
        Jobs paid.
    bound : float
        The largest lower bound seen, in units of ⟨C, W⟩.
    """

    step: int
    image: FloatArray
    value: float
    dual: FloatArray
    calls: int = 0
    bound: float = -np.inf

    @classmethod
    def start(cls, problem: ConicProgram) -> State:
        """W = 0 and y = 0."""
        zero = np.zeros(problem.n_constraints)
        return cls(0, zero, 0.0, zero)

    @classmethod
    def warm(cls, problem: ConicProgram, atoms: ArrayLike, *, step: int) -> State:
        """W the average of known atoms (k, n), y = 0, as if `step` steps had been made.

        The more steps, the slower W leaves these atoms: the next moves it by 2/(step + 2).

        Raises
        ------
        TrainingError
            No atom, or no step: the first step of all forgets W.
        """
        bits = np.atleast_2d(np.asarray(atoms))
        if step < 1 or not bits.size:
            raise TrainingError("a warm start from nothing", hint="at least one atom and one step")
        image, value = _average(problem, bits)
        return cls(step, image, value, np.zeros(problem.n_constraints))


@checked
def conditional_gradient(
    problem: ConicProgram,
    oracle: Oracle,
    *,
    rule: DualRule | None = None,
    penalty: float = 1.0,
    atoms: int = 1,
    state: State | None = None,
) -> Iterator[Iterate[State]]:
    """Minimize; the caller decides when to stop.

    Parameters
    ----------
    problem : LiftedProblem or CoupledProblem
    rule : DualRule, optional
        How the multipliers move; `BoundedDual` by default.
    penalty : float
        β0, positive.
    atoms : int
        Different samples of an answer, the best ones, that share a step; fewer if there are not
        so many.
    state : State, optional
        Where to begin, see `State.warm`, or where to go on.

    Yields
    ------
    Iterate
        Its gap is that of W before the step.
    """
    if rule is None:
        rule = BoundedDual(penalty, reach=problem.reach)
    state = State.start(problem) if state is None else state
    for _ in count():
        answers = minimize_all(oracle, problem.gradients(multipliers(state, penalty)))
        chosen = _best(answers, atoms)
        bound = sum(float(answer.values[0]) for answer in answers)
        paid = sum(answer.cost for answer in answers)
        state, gap = advance(
            problem, state, chosen, rule=rule, penalty=penalty, bound=bound, paid=paid
        )
        yield Iterate(
            step=state.step,
            calls=state.calls,
            bits=problem.found(answers),
            atom=chosen[0],
            objective=problem.objective_scale * state.value,
            infeasibility=float(np.linalg.norm(state.image)),
            gap=gap,
            bound=problem.objective_scale * state.bound,
            state=state,
        )


def multipliers(state: State, penalty: float) -> FloatArray:
    """Return y + β 𝒜W."""
    return state.dual + penalty * np.sqrt(state.step + 2) * state.image


def advance(
    problem: ConicProgram,
    state: State,
    atoms: ArrayLike,
    *,
    rule: DualRule,
    penalty: float,
    bound: float = -np.inf,
    paid: int = 1,
) -> tuple[State, float]:
    """Move W towards atoms (n,) or (k, n); return the new state and the gap of the old one."""
    step = state.step + 1
    eta = 2.0 / (step + 1)
    image, value = _average(problem, np.atleast_2d(np.asarray(atoms)))
    beta = penalty * np.sqrt(step + 1)
    gap = (
        state.value
        - value
        - state.dual @ image
        + beta * state.image @ (state.image - image)
        - 0.5 * beta * state.image @ state.image
    )
    moved = (1 - eta) * state.image + eta * image
    after = State(
        step,
        moved,
        (1 - eta) * state.value + eta * value,
        rule.move(state.dual, moved, step=step),
        state.calls + paid,
        max(state.bound, bound),
    )
    return after, float(gap)


def _average(problem: ConicProgram, atoms: Array) -> tuple[FloatArray, float]:
    images = np.array([problem.image(atom) for atom in atoms])
    return images.mean(axis=0), float(np.mean([problem.objective(atom) for atom in atoms]))


def _best(answers: Sequence[Answer], atoms: int) -> BitArray:
    """Return atoms (k, n) of all parts, made of their best different samples."""
    columns = []
    for answer in answers:
        seen = {row.tobytes(): row for row in answer.bits} if atoms > 1 else {}
        rows = list(seen.values())[:atoms] or [answer.best]
        columns.append([rows[min(k, len(rows) - 1)] for k in range(atoms)])
    each = max(1, *(len({row.tobytes() for row in rows}) for rows in columns))
    return np.array([np.concatenate([rows[k] for rows in columns]) for k in range(each)], np.int8)


class DualRule(Protocol):
    """Choose the multipliers after a step."""

    def move(self, dual: FloatArray, residual: FloatArray, *, step: int) -> FloatArray:
        """Return the multipliers of the next step, shape (m,)."""
        ...


@checked
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

    def move(self, dual: FloatArray, residual: FloatArray, *, step: int) -> FloatArray:
        """Move by γ_t unless that leaves the ball."""
        squared = float(residual @ residual)
        if squared == 0.0:
            return dual
        eta, beta = 2.0 / (step + 1), self.penalty * np.sqrt(step + 2)
        moved = dual + min(self.penalty, 4 * beta * eta**2 * self.reach / squared) * residual
        return moved if np.linalg.norm(moved) <= self.bound else dual


@checked
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
        dual: FloatArray,
        residual: FloatArray,
        *,
        step: int,  # noqa: ARG002  the same at every step
    ) -> FloatArray:
        """Move by γ."""
        return dual + self.gamma * residual


CHUNK = 1024


@checked
class Atoms:
    r"""W as a convex combination of atoms, packed bits and weights; grows as atoms are added.

    A step :math:`W \leftarrow (1 - \eta) W + \eta\, ww^T` shrinks all weights and adds one. 10,000
    atoms of 1000 bits take 1.3 MB; W would have a million entries.

    Parameters
    ----------
    n_bits : int
        n, of every atom.
    """

    def __init__(self, n_bits: int) -> None:
        self._n_bits = n_bits
        self._packed = bytearray()
        self._etas = array("d")

    def __len__(self) -> int:
        return len(self._etas)

    @property
    def nbytes(self) -> int:
        """Bytes in use."""
        return len(self._packed) + self._etas.itemsize * len(self)

    def add(self, atom: ArrayLike, eta: float) -> None:
        """Move towards bits (n,) by η, which is 1 for the first atom."""
        self._packed += np.packbits(np.asarray(atom, dtype=np.uint8)).tobytes()
        self._etas.append(eta)

    @property
    def weights(self) -> FloatArray:
        """Weight of each atom in W; their sum is 1."""
        etas = np.array(self._etas)
        kept = np.concatenate([np.cumprod((1 - etas)[:0:-1])[::-1], [1.0]])[: len(self)]
        return etas * kept

    @property
    def bits(self) -> BitArray:
        """All atoms, int8, shape (atoms, n)."""
        return self._unpacked(0, len(self))

    def mean(self) -> FloatArray:
        """Return the first moments, the mean of x; float64, shape (n,)."""
        total = np.zeros(self._n_bits)
        for weights, bits in self._chunks():
            total += weights @ bits
        return total

    def matrix(self) -> FloatArray:
        """Return W (n + 1, n + 1), for those who can afford it."""
        W = np.zeros((self._n_bits + 1, self._n_bits + 1))
        for weights, bits in self._chunks():
            w = np.hstack([np.ones((len(bits), 1)), bits])
            W += (w * weights[:, None]).T @ w
        return W

    def _chunks(self) -> Iterator[tuple[FloatArray, BitArray]]:
        weights = self.weights
        for start in range(0, len(self), CHUNK):
            stop = min(start + CHUNK, len(self))
            yield weights[start:stop], self._unpacked(start, stop)

    def _unpacked(self, start: int, stop: int) -> BitArray:
        width = -(-self._n_bits // 8)
        packed = bytes(self._packed[start * width : stop * width])
        rows = np.frombuffer(packed, np.uint8).reshape(-1, width)
        return np.unpackbits(rows, axis=1, count=self._n_bits).view(np.int8)
