"""Heun's predictor and corrector.

References
----------
Rümelin, SIAM J. Numer. Anal. 19, 604 (1982), doi:10.1137/0719041.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emulator.integrators.base import Equation, StratonovichIntegrator

__all__ = ["Heun"]


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
