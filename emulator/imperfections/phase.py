"""The phase between what is injected and the pulses in the cavity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emulator.imperfections.streams import PHASE
from emulator.noise import NoiseKey, fill_normals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.imperfections.options import Imperfections

__all__ = ["PhaseWalk"]


class PhaseWalk:
    r"""The phase error of each run of a block: a random walk between locks.

    .. math:: \varphi_k = \varphi_0 + r_l\,u_l + s\sum_{j = l + 1}^{k} w_j

    with l the round trip of the last lock, s the drift, r the residual of a lock, and u, w
    standard normals. All pulses of a run share it.

    Attributes
    ----------
    phase : float64 array, shape (runs,)
        In the current round trip, in radians.
    largest : float64 array, shape (runs,)
        Largest magnitude so far, in radians.
    relocks : int
        Locks so far, the one before the first round trip aside.
    """

    def __init__(
        self, imperfections: Imperfections, key: NoiseKey, *, first_run: int, n_runs: int
    ) -> None:
        self.phase = np.full(n_runs, imperfections.injection_phase_rad)
        self.largest = np.zeros(n_runs)
        self.relocks = 0
        self._imperfections, self._key, self._first_run = imperfections, key, first_run
        self._normals = np.zeros((2, n_runs))

    def advance(self, round_trip: int) -> None:
        """Go on to a round trip, the next one."""
        options = self._imperfections
        fill_normals(self._key, PHASE | round_trip, self._first_run, self._normals)
        step, residual = self._normals
        every = options.relock_round_trips
        if round_trip == 0 or (every and round_trip % every == 0):
            self.relocks += round_trip > 0
            self.phase = options.injection_phase_rad + options.relock_residual_rad * residual
        else:
            self.phase += options.phase_drift_rad * step
        np.maximum(self.largest, np.abs(self.phase), out=self.largest)

    def projection(self) -> NDArray[np.float64]:
        r"""Return :math:`\cos\varphi`, the share of the injection in phase with the pulses."""
        return np.cos(self.phase)
