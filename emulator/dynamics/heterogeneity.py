r"""Amplitude control at constant pump, with a target that follows the energy.

References
----------
Leleu, Yamamoto, McMahon, Aihara, Phys. Rev. Lett. 122, 040607 (2019), arXiv:1810.12565.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emulator.dynamics.amplitude_control import (
    AmplitudeControl,
    AmplitudeControlConstants,
    controlled,
)
from emulator.dynamics.base import (
    Precision,
    coupling_gain_option,
    initial_width_option,
    loss_option,
    precision_option,
    time_step_option,
)
from emulator.dynamics.controlled_base import (
    RunConditions,
    SharedArrays,
    error_limit_option,
    error_rate_option,
)
from emulator.dynamics.energy_tracking import track_after
from emulator.dynamics.feedback import FeedbackConstants, local_fields
from emulator.dynamics.kernel import kernel
from emulator.options import POSITIVE, documented, option
from emulator.preset import algorithm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.machine import EmulatedCim

__all__ = [
    "AmplitudeHeterogeneityCorrection",
    "advance_to_energies",
    "heterogeneity_correction",
    "mean_alignment",
]


@kernel
def mean_alignment(x: NDArray[Any], local_field: NDArray[Any], alignment: NDArray[Any]) -> None:
    r"""Write :math:`\sum_i \sigma_i f_i / \sum_i |x_i|` to `alignment` (runs,), f the local field.

    For amplitudes of equal magnitude this is the mean of :math:`\sigma_i (J\sigma)_i` over spins.
    """
    size = np.zeros_like(alignment)
    alignment[:] = 0
    for i in range(len(x)):
        amplitudes, fields = x[i], local_field[i]
        for r in range(len(alignment)):
            alignment[r] += fields[r] if amplitudes[r] >= 0 else -fields[r]
            size[r] += abs(amplitudes[r])
    for r in range(len(alignment)):
        alignment[r] = alignment[r] / size[r] if size[r] > 0 else size[r]


@kernel
def control_runs(
    arrays: SharedArrays, targets: NDArray[Any], net_gain: Any, c: AmplitudeControlConstants
) -> None:
    """Make a step towards the root of each run's own target (runs,)."""
    for i in range(len(arrays.x)):
        x, e, local_field = arrays.x[i], arrays.e[i], arrays.local_field[i]
        for r in range(len(x)):
            x[r], e[r] = controlled(x[r], e[r], local_field[r], targets[r], net_gain, c)


@kernel
def advance_to_energies(
    loop: FeedbackConstants,
    arrays: SharedArrays,
    base_target: Any,
    net_gains: NDArray[Any],
    c: AmplitudeControlConstants,
) -> None:
    """Make round trips towards targets of `base_target` or more, by the alignment."""
    targets = np.empty_like(loop.field_term.amplitude)
    for step in range(len(net_gains)):
        local_fields(loop, arrays.x, arrays.local_field)
        mean_alignment(arrays.x, arrays.local_field, targets)
        for r in range(len(targets)):
            targets[r] = np.sqrt(max(base_target + c.strength * targets[r], base_target))
        control_runs(arrays, targets, net_gains[step], c)
        track_after(loop.tracker, arrays.x)


@documented
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

    Raises
    ------
    ValueError
        A parameter out of its range.
    """

    coupling_gain: float = coupling_gain_option(1.0)
    loss: float = loss_option(
        1.0, note=r"Leleu et al. write :math:`p' - 1` for the net gain :math:`L(p - 1)`."
    )
    base_target: float = option(
        1.0,
        within=POSITIVE,
        low=0.1,
        high=10.0,
        log=True,
        symbol="a_0",
        doc="What error variables steer to, in squares of amplitudes.\nThe least target.",
    )
    error_rate: float = error_rate_option(0.2)
    error_limit: float = error_limit_option()
    time_step: float = time_step_option(0.05, low=0.005, high=0.3)
    initial_width: float = initial_width_option(0.1)
    precision: Precision = precision_option()

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


def heterogeneity_correction() -> EmulatedCim:
    """Return AHC: `AmplitudeHeterogeneityCorrection` at constant pump."""
    return algorithm(
        "ahc",
        "Amplitude-heterogeneity correction",
        AmplitudeHeterogeneityCorrection(),
        pump=(0.2,),
    )
