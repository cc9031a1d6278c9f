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

from emulator.dynamics.amplitude_control import (
    AmplitudeControl,
    advance_controlled_amplitudes,
    amplitude_constants,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.dynamics.base import Precision
    from emulator.dynamics.controlled import Conditions, Shared

__all__ = ["AmplitudeHeterogeneityCorrection", "mean_alignment"]


@njit(cache=True, nogil=True, error_model="numpy")
def mean_alignment(arrays: Shared, alignment: NDArray[Any]) -> None:
    r"""Write :math:`\sum_i \sigma_i f_i / \sum_i |x_i|` to `alignment` (runs,), f the local field.

    For amplitudes of equal magnitude this is the mean of :math:`\sigma_i (J\sigma)_i` over spins.
    """
    size = np.zeros_like(alignment)
    alignment[:] = 0
    for i in range(len(arrays.x)):
        x, product, h = arrays.x[i], arrays.product[i], arrays.field[i]
        for r in range(len(alignment)):
            local_field = product[r] + h * arrays.field_amplitude[r]
            alignment[r] += local_field if x[r] >= 0 else -local_field
            size[r] += abs(x[r])
    for r in range(len(alignment)):
        alignment[r] = alignment[r] / size[r] if size[r] > 0 else 0


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

    def step(self, arrays: Shared, conditions: Conditions) -> None:
        """Make one step towards the target of the current configuration."""
        constants = amplitude_constants(self, conditions.natural_strength, conditions.pump)
        target = np.empty_like(arrays.field_amplitude)
        mean_alignment(arrays, target)
        target *= constants.strength
        np.maximum(target, 0, out=target)
        target += target.dtype.type(self.base_target)
        advance_controlled_amplitudes(arrays, target, constants)

    def _own_checks(self) -> dict[str, bool]:
        return {
            "base_target": 0 < self.base_target < math.inf,
            "error_rate": 0 <= self.error_rate < math.inf,
            "error_limit": 0 < self.error_limit < math.inf,
        }
