"""Euler, with the saturation of an equation taken at the end of a step."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.integrators.base import ItoIntegrator, SemiImplicitEquation

__all__ = ["LinearlyImplicitEuler"]


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
