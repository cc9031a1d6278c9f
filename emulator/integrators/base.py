"""What an integrator and an equation know of each other.

A block of runs shows an integrator its state and by how much it changes in a step; an integrator
says what it converges to, and how fast. The two are matched when a machine is described, by type
and by the sense in which noise is meant.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Equation",
    "Integrator",
    "Interpretation",
    "ItoIntegrator",
    "SemiImplicitEquation",
    "SplitEquation",
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
    """An integrator that understands noise in the sense of Itô."""

    interpretation = "ito"


class StratonovichIntegrator(Integrator[EquationT_contra]):
    """An integrator that understands noise in the sense of Stratonovich."""

    interpretation = "stratonovich"


def check_integrator(
    integrator: Integrator[Any],
    *,
    equation: type[Equation],
    interpretation: Interpretation | None,
) -> None:
    """Refuse an integrator that does not suit an equation.

    Parameters
    ----------
    integrator : Integrator
    equation : type
        Class of the blocks to step.
    interpretation : {"ito", "stratonovich"} or None
        Sense in which the equation is written; None where noise is additive.

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
