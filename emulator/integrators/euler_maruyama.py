"""The simplest integrator there is.

References
----------
Kloeden, Platen, "Numerical solution of stochastic differential equations", Springer (1992),
chapter 10, doi:10.1007/978-3-662-12616-5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emulator.integrators.base import Equation, ItoIntegrator

__all__ = ["EulerMaruyama"]


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
