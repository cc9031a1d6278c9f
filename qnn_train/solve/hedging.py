r"""Progressive hedging: parts solved one by one, pulled together by multipliers and distance.

.. math::
    w_s &\leftarrow \arg\min_w\ f_s(w) + \langle\lambda_s, w\rangle
        + \tfrac{\rho}{2}\lVert w - \bar w\rVert^2 \\
    \bar w &\leftarrow \text{mean of } w_s, \qquad
    \lambda_s \leftarrow \lambda_s + \rho\,(w_s - \bar w)

For bits the distance is linear and adds no coupling; the multipliers always add up to zero. The
rule is that of Rockafellar and Wets (1991), its use with an Ising machine (QPH) is the paper's
(arXiv:2506.18240, a later version). Ours: constraints of a part as penalties in it, ρ growing
from call to call, and growing faster when the copies run in a circle. The last consensus is worth
less than the best copy seen, so all copies and the rounded mean are handed out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Self

import numpy as np

from qnn_train.arguments import checked
from qnn_train.arrays import BitArray, FloatArray
from qnn_train.errors import TrainingError
from qnn_train.program.qcbo import Parts
from qnn_train.solve.iterate import Iterate
from qnn_train.solve.lifting import CoupledProblem
from qnn_train.solve.oracle import Answer, Oracle, minimize_all
from qnn_train.solve.penalty import default_weight, penalty_gradient

__all__ = ["HedgingState", "RhoSchedule", "period", "progressive_hedging"]

REMEMBERED = 24


@checked
@dataclass(frozen=True)
class RhoSchedule:
    """ρ from a first to a last value in equal ratios, and faster out of a circle.

    Parameters
    ----------
    first, last : float
        In units of the objective.
    steps : int
        Steps until `last` is reached; it stays there.
    escape : float
        Factor for every circle that was seen.
    """

    first: float = 0.1
    last: float = 1.0
    steps: int = 20
    escape: float = 2.0

    def at(self, step: int, circles: int) -> float:
        """Return ρ of a step, the first of which is 0."""
        done = min(1.0, step / max(1, self.steps - 1))
        return self.first ** (1 - done) * self.last**done * self.escape**circles


@dataclass(frozen=True, eq=False)
class HedgingState:
    """All that the next step depends on.

    Attributes
    ----------
    step, calls : int
        Steps made and jobs paid.
    copies : int8 array, shape (parts, shared)
        w_s; of no meaning before the first step.
    mean : float64 array, shape (shared,)
        Their mean.
    multipliers : float64 array, shape (parts, shared)
        λ_s, whose sum is zero.
    rho : float
        Of the last step.
    circles : int
        How often the copies were seen to run in a circle.
    history : tuple of bytes
        The last copies, packed.
    """

    step: int
    calls: int
    copies: BitArray
    mean: FloatArray
    multipliers: FloatArray
    rho: float
    circles: int
    history: tuple[bytes, ...]

    @classmethod
    def start(cls, parts: Parts) -> Self:
        """No multiplier, no mean that would pull."""
        shape = (len(parts), parts.shared)
        mean = np.full(parts.shared, 0.5)
        return cls(0, 0, np.zeros(shape, np.int8), mean, np.zeros(shape), 0.0, 0, ())

    @property
    def agrees(self) -> bool:
        """Whether all copies are the same."""
        return self.step > 0 and bool((self.copies == self.copies[0]).all())


@checked
def progressive_hedging(
    parts: Parts,
    oracle: Oracle,
    *,
    rho: RhoSchedule | None = None,
    weight: float | None = None,
    state: HedgingState | None = None,
) -> Iterator[Iterate[HedgingState]]:
    """Solve all parts at every step; the caller decides when to stop.

    Parameters
    ----------
    rho : RhoSchedule, optional
    weight : float, optional
        Penalty of a part's constraints; `default_weight` of each part by default.
    state : HedgingState, optional
        Where to go on.

    Yields
    ------
    Iterate
        Its bits are the rounded mean, then the shared bits of all samples of all parts.

    Raises
    ------
    TrainingError
        A weight that is not positive.
    """
    if weight is not None and weight <= 0:
        raise TrainingError(f"a penalty weight of {weight}", hint="positive")
    schedule = rho or RhoSchedule()
    weights = [default_weight(one) if weight is None else weight for one in parts.programs]
    pairs = zip(parts.programs, weights, strict=True)
    forms = [penalty_gradient(program, one) for program, one in pairs]
    problem = CoupledProblem.lift(parts)
    state = HedgingState.start(parts) if state is None else state
    for _ in count():
        strength = schedule.at(state.step, state.circles)
        linear = state.multipliers + strength * (0.5 - state.mean)
        tilted = [_tilted(form, one) for form, one in zip(forms, linear, strict=True)]
        answers = minimize_all(oracle, tilted)
        state = _moved(state, answers, strength)
        pairs = zip(parts.programs, answers, strict=True)
        atom = np.concatenate([answer.best for answer in answers])
        yield Iterate(
            step=state.step,
            calls=state.calls,
            bits=problem.found(answers),
            atom=atom,
            objective=sum(float(program.objective(answer.best)) for program, answer in pairs),
            infeasibility=float(np.linalg.norm(problem.image(atom))),
            gap=float("nan"),
            bound=float("nan"),
            state=state,
        )


def period(history: tuple[bytes, ...]) -> int:
    """Return after how many steps the last copies repeat, seen twice over; 0 if they do not."""
    for length in range(2, len(history) // 2 + 1):
        if history[-length:] == history[-2 * length : -length]:
            return length if len(set(history[-length:])) > 1 else 0
    return 0


def _moved(state: HedgingState, answers: list[Answer], rho: float) -> HedgingState:
    shared = len(state.mean)
    stacked = np.array([answer.best[:shared] for answer in answers])
    mean = stacked.mean(axis=0)
    packed = np.packbits(stacked).tobytes()
    history = (*state.history, packed)[-REMEMBERED:]
    circling = period(history) > 0
    return HedgingState(
        state.step + 1,
        state.calls + sum(answer.cost for answer in answers),
        stacked,
        mean,
        state.multipliers + rho * (stacked - mean),
        rho,
        state.circles + circling,
        () if circling else history,
    )


def _tilted(form: FloatArray, linear: FloatArray) -> FloatArray:
    tilted = form.copy()
    tilted[0, 1 : len(linear) + 1] += 0.5 * linear
    tilted[1 : len(linear) + 1, 0] += 0.5 * linear
    return tilted
