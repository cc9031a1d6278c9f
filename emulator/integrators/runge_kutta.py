"""The classical method of Runge and Kutta, along the chord of a Brownian path.

References
----------
Rümelin, SIAM J. Numer. Anal. 19, 604 (1982), doi:10.1137/0719041.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emulator.integrators.base import Equation, StratonovichIntegrator

__all__ = ["RungeKutta4"]

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
