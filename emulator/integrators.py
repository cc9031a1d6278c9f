"""Integrators: each states what it converges to and how fast; equations are what they step.

A block of runs shows an integrator its state and by how much it changes in a step. The two are
matched when a machine is described, by type and by the sense in which noise is meant.

References
----------
Kloeden, Platen, "Numerical solution of stochastic differential equations", Springer (1992),
chapter 10, doi:10.1007/978-3-662-12616-5 (Euler and Maruyama).
Rümelin, SIAM J. Numer. Anal. 19, 604 (1982), doi:10.1137/0719041 (Heun; Runge and Kutta along the
chord of a Brownian path).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Equation",
    "EulerMaruyama",
    "Heun",
    "Integrator",
    "Interpretation",
    "ItoIntegrator",
    "LinearlyImplicitEuler",
    "RungeKutta4",
    "SemiImplicitEquation",
    "SplitEquation",
    "StrangSplitting",
    "StratonovichIntegrator",
    "check_integrator",
]

Interpretation: TypeAlias = Literal["ito", "stratonovich"]

_SENSES: dict[Interpretation, str] = {"ito": "Itô", "stratonovich": "Stratonovich"}


class Equation(ABC):
    r"""A step of :math:`dy = f(y)\,dt + g(y)\,dW`, noise diagonal, as an integrator sees it.

    Attributes
    ----------
    state : array
        y, which an integrator changes in place.
    bound : float
        Largest magnitude of a component; infinite where there is no wall.
    """

    state: NDArray[Any]
    bound: float = math.inf

    @abstractmethod
    def draw(self) -> None:
        """Draw dW of the next step, for all stages of it."""

    @abstractmethod
    def increment(self, state: NDArray[Any], pump: float, out: NDArray[Any]) -> None:
        """Write f dt + g dW at `state` to `out`, at the price of a coupling product."""

    def confine(self, state: NDArray[Any]) -> None:
        """Clip `state` at the walls."""
        if math.isfinite(self.bound):
            np.clip(state, -self.bound, self.bound, out=state)


class SemiImplicitEquation(Equation):
    """An equation that can take the term that saturates it at the end of a step."""

    @abstractmethod
    def semi_implicit_step(self, pump: float) -> None:
        """Draw noise and make one step of linearly implicit Euler, in one kernel."""


class SplitEquation(Equation):
    """An equation whose parts can be solved one by one."""

    @abstractmethod
    def flow(self, pump: float) -> None:
        """Solve the first part over half a step, at this pump until the next."""

    @abstractmethod
    def kick_and_flow(self) -> None:
        """Draw noise, solve the second part over a step, then the first over half a step."""


EquationT_contra = TypeVar("EquationT_contra", bound=Equation, contravariant=True)


class Integrator(ABC, Generic[EquationT_contra]):
    """A way to make one step of an equation; no state of its own.

    Attributes
    ----------
    interpretation : {"ito", "stratonovich"}
        Sense of the noise in which paths converge; with additive noise the two agree.
    strong_order : float
        Order of paths in dt, with noise that depends on the state and commutes.
    additive_order : float
        Order of paths in dt, with noise that does not depend on the state.
    deterministic_order : int
        Order without noise.
    takes : type
        What an equation must be.
    """

    interpretation: ClassVar[Interpretation]
    strong_order: ClassVar[float]
    additive_order: ClassVar[float] = 1.0
    deterministic_order: ClassVar[int]
    takes: ClassVar[type[Equation]] = Equation

    @abstractmethod
    def step(self, equation: EquationT_contra, pump: float) -> None:
        """Advance the state of `equation` by one step at a pump rate."""


class ItoIntegrator(Integrator[EquationT_contra]):
    """An integrator of noise in the sense of Itô."""

    interpretation = "ito"


class StratonovichIntegrator(Integrator[EquationT_contra]):
    """An integrator of noise in the sense of Stratonovich."""

    interpretation = "stratonovich"


def check_integrator(
    integrator: Integrator[Any], *, equation: type[Equation], interpretation: Interpretation | None
) -> None:
    """Refuse an integrator that does not suit an equation, the class of the blocks to step.

    `interpretation` is the sense in which it is written; None where noise is additive.

    Raises
    ------
    ValueError
        The integrator needs an equation of another kind, or understands noise in another sense.
    """
    name, serves = type(integrator).__name__, issubclass(equation, integrator.takes)
    if not serves:
        raise ValueError(f"integrator = {name}() does not serve this equation")
    understood = integrator.interpretation
    if interpretation is not None and interpretation != understood:
        raise ValueError(
            f"integrator = {name}() understands noise in the sense of {_SENSES[understood]}, and "
            f"the equation is written in that of {_SENSES[interpretation]}: "
            f'interpretation="{understood}" rewrites it, with the same law'
        )


@dataclass(frozen=True)
class EulerMaruyama(ItoIntegrator[Equation]):
    r"""Euler and Maruyama: noise and drift of the start of a step, all along it.

    .. math:: y \leftarrow y + f(y)\,dt + g(y)\,dW
    """

    strong_order = 0.5
    deterministic_order = 1

    def step(self, equation: Equation, pump: float) -> None:
        """Make one step with one coupling product."""
        change = np.empty_like(equation.state)
        equation.draw()
        equation.increment(equation.state, pump, change)
        equation.state += change
        equation.confine(equation.state)


@dataclass(frozen=True)
class Heun(StratonovichIntegrator[Equation]):
    r"""Heun: the mean of the changes at the start and at the end that the first predicts.

    .. math:: k_1 = f(y)\,dt + g(y)\,dW, \quad k_2 = f(y + k_1)\,dt + g(y + k_1)\,dW, \quad
              y \leftarrow y + \tfrac12(k_1 + k_2)

    With several noises that do not commute the strong order is 1/2.
    """

    strong_order = 1.0
    deterministic_order = 2

    def step(self, equation: Equation, pump: float) -> None:
        """Make one step with two coupling products."""
        state = equation.state
        change, corrected, predicted = (np.empty_like(state) for _ in range(3))
        equation.draw()
        equation.increment(state, pump, change)
        np.add(state, change, out=predicted)
        equation.confine(predicted)
        equation.increment(predicted, pump, corrected)
        change += corrected
        change *= 0.5
        state += change
        equation.confine(state)


# (share of the last change that leads to a stage, weight of the change there)
STAGES = ((0.5, 2.0), (0.5, 2.0), (1.0, 1.0))


@dataclass(frozen=True)
class RungeKutta4(StratonovichIntegrator[Equation]):
    r"""Runge and Kutta of fourth order, for equations with little noise or none.

    .. math:: k_1 = F(y), \quad k_2 = F(y + \tfrac12k_1), \quad k_3 = F(y + \tfrac12k_2), \quad
              k_4 = F(y + k_3), \quad y \leftarrow y + \tfrac16(k_1 + 2k_2 + 2k_3 + k_4)

    with :math:`F(y) = f(y)\,dt + g(y)\,dW`. Noise holds the strong order at 1, additive or not:
    a chord does not know the area under the path. Noises that do not commute hold it at 1/2.
    """

    strong_order = 1.0
    deterministic_order = 4

    def step(self, equation: Equation, pump: float) -> None:
        """Make one step with four coupling products."""
        state = equation.state
        total, change, stage = (np.empty_like(state) for _ in range(3))
        equation.draw()
        equation.increment(state, pump, total)
        change[:] = total
        for share, weight in STAGES:
            np.multiply(change, share, out=stage)
            stage += state
            equation.confine(stage)
            equation.increment(stage, pump, change)
            total += weight * change
        total /= 6.0
        state += total
        equation.confine(state)


@dataclass(frozen=True)
class LinearlyImplicitEuler(ItoIntegrator[SemiImplicitEquation]):
    r"""Euler, linearly implicit in the term that saturates.

    .. math:: y \leftarrow y + \frac{f(y)\,dt}{1 + k(y)\,dt} + g\,dW, \qquad k(y) = s'(y)

    for a drift that ends in :math:`-s(y)`. It has the order and the fixed points of
    `EulerMaruyama` and, where nothing saturates, its very numbers, but no coupling is strong
    enough to make it diverge.
    """

    strong_order = 0.5
    deterministic_order = 1
    takes = SemiImplicitEquation

    def step(self, equation: SemiImplicitEquation, pump: float) -> None:
        """Make one step with one coupling product."""
        equation.semi_implicit_step(pump)


@dataclass(frozen=True)
class StrangSplitting(ItoIntegrator[SplitEquation]):
    """Strang: half a step of what is solved exactly, a step of all else, half a step again.

    The orders are those a step of Euler and Maruyama for the second part brings; a block that
    solves its second part better has better ones.

    References
    ----------
    Strang, SIAM J. Numer. Anal. 5, 506 (1968), doi:10.1137/0705041.
    """

    strong_order = 0.5
    deterministic_order = 1
    takes = SplitEquation

    def step(self, equation: SplitEquation, pump: float) -> None:
        """Make one step with one coupling product."""
        equation.flow(pump)
        equation.kick_and_flow()
