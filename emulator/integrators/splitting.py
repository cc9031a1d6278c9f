"""Parts of an equation, one after the other, each as exactly as it can be."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.integrators.base import ItoIntegrator, SplitEquation

__all__ = ["StrangSplitting"]


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
