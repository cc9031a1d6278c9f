r"""Amplitude control at constant pump, with a target that follows the energy.

References
----------
Leleu, Yamamoto, McMahon, Aihara, Phys. Rev. Lett. 122, 040607 (2019), arXiv:1810.12565.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from emulator.dynamics.amplitude_control import AmplitudeControl, controlled
from emulator.dynamics.controlled_base import feed_back
from emulator.dynamics.energy_tracking import track_after
from emulator.products.avx512 import prefer_wide_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.dynamics.amplitude_control import AmplitudeControlConstants
    from emulator.dynamics.base import Precision
    from emulator.dynamics.controlled_base import FeedbackConstants, RunConditions, SharedArrays

__all__ = ["AmplitudeHeterogeneityCorrection", "advance_to_energies", "mean_alignment"]


@njit(cache=True, nogil=True, error_model="numpy")
def mean_alignment(x: NDArray[Any], local_field: NDArray[Any], alignment: NDArray[Any]) -> None:
    r"""Write :math:`\sum_i \sigma_i f_i / \sum_i |x_i|` to `alignment` (runs,), f the local field.

    For amplitudes of equal magnitude this is the mean of :math:`\sigma_i (J\sigma)_i` over spins.
    """
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
    size = np.zeros_like(alignment)
    alignment[:] = 0
    for i in range(len(x)):
        amplitudes, fields = x[i], local_field[i]
        for r in range(len(alignment)):
            alignment[r] += fields[r] if amplitudes[r] >= 0 else -fields[r]
            size[r] += abs(amplitudes[r])
    for r in range(len(alignment)):
        alignment[r] = alignment[r] / size[r] if size[r] > 0 else size[r]


@njit(cache=True, nogil=True, error_model="numpy")
def control_runs(
    arrays: SharedArrays, targets: NDArray[Any], net_gain: Any, c: AmplitudeControlConstants
) -> None:
    """Make a step towards the root of each run's own target (runs,)."""
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
    for i in range(len(arrays.x)):
        x, e, local_field = arrays.x[i], arrays.e[i], arrays.local_field[i]
        for r in range(len(x)):
            x[r], e[r] = controlled(x[r], e[r], local_field[r], targets[r], net_gain, c)


@njit(cache=True, nogil=True, error_model="numpy")
def advance_to_energies(
    loop: FeedbackConstants,
    arrays: SharedArrays,
    base_target: Any,
    net_gains: NDArray[Any],
    c: AmplitudeControlConstants,
) -> None:
    """Make round trips towards targets of `base_target` or more, by the alignment."""
    targets = np.empty_like(arrays.field_term.amplitude)
    for step in range(len(net_gains)):
        feed_back(loop.operand, arrays)
        mean_alignment(arrays.x, arrays.local_field, targets)
        for r in range(len(targets)):
            targets[r] = np.sqrt(max(base_target + c.strength * targets[r], base_target))
        control_runs(arrays, targets, net_gains[step], c)
        track_after(loop.tracker, arrays.x)


@dataclass(frozen=True, kw_only=True)
class AmplitudeHeterogeneityCorrection(AmplitudeControl):
    r"""AHC: error variables at constant pump, with a target that follows the energy.

    The equations of `ChaoticAmplitudeControl`, where the target is that of the current
    configuration,

    .. math:: \alpha = a_0 + \xi\,\frac{\sum_i \sigma_i f_i}{\sum_i |x_i|},
              \qquad f_i = \sum_j J_{ij}x_j + h_i\overline{|x|}

    the mean alignment with the local field being no less than zero. For amplitudes of equal
    magnitude this is Leleu's :math:`a_0 + \xi\langle\sigma_i\sum_jJ_{ij}\sigma_j\rangle`; it
    costs no second product.

    Parameters
    ----------
    coupling_gain : float
        g.
    loss : float
        L; Leleu et al. write :math:`p' - 1` for the net gain :math:`L(p - 1)`.
    base_target : float
        :math:`a_0`, the least target.
    error_rate : float
        :math:`\beta`.
    error_limit : float
    time_step : float
    initial_width : float
    precision : {"single", "double"}

    Raises
    ------
    ValueError
        A parameter out of its range.
    """

    coupling_gain: float = 1.0
    loss: float = 1.0
    base_target: float = 1.0
    error_rate: float = 0.2
    error_limit: float = 32.0
    time_step: float = 0.05
    initial_width: float = 0.1
    precision: Precision = "single"

    def step(
        self,
        loop: FeedbackConstants,
        arrays: SharedArrays,
        conditions: RunConditions,
        constants: AmplitudeControlConstants,
    ) -> None:
        """Make steps towards the targets of the current configurations."""
        base = arrays.x.dtype.type(self.base_target)
        advance_to_energies(loop, arrays, base, self.net_gains(conditions), constants)

    def _own_checks(self) -> dict[str, bool]:
        return {
            "base_target": 0 < self.base_target < math.inf,
            "error_rate": 0 <= self.error_rate < math.inf,
            "error_limit": 0 < self.error_limit < math.inf,
        }
