r"""Machines that force all amplitudes to one target, so that amplitudes stop distorting energies.

An error variable :math:`e_i` multiplies the field that spin i feels and grows while
:math:`x_i^2` is below the target. Minima of the analog energy that are none of the Ising energy
become unstable, and a run wanders from one low minimum to the next: read it with `BestSeen`.

References
----------
Leleu et al., Commun. Phys. 4, 266 (2021), arXiv:2009.04084.
Reifenstein, Kako, Khoyratee, Leleu, Yamamoto, Adv. Quantum Technol. 4, 2100077 (2021),
arXiv:2108.07369.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from emulator.dynamics.base import Precision, state_dtype
from emulator.dynamics.controlled import Conditions, ControlledDynamics, Ramp, Shared, ramped
from emulator.dynamics.mean_field import drift

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "AmplitudeControl",
    "ChaoticAmplitudeControl",
    "advance_controlled_amplitudes",
    "amplitude_constants",
]

# Amplitudes end at this multiple of the target's root.
CLIP = 1.5
# An error variable shrinks to no less than half in one step, and so stays positive.
MOST_SHRINK = -0.5


class AmplitudeControlConstants(NamedTuple):
    """Scalars of `advance_controlled_amplitudes`, all of the state's dtype."""

    clip: Any
    time_step: Any
    net_gain: Any
    strength: Any
    error_step: Any
    most_shrink: Any
    error_limit: Any


@njit(cache=True, nogil=True, error_model="numpy")
def advance_controlled_amplitudes(
    arrays: Shared,
    target: NDArray[Any],
    c: AmplitudeControlConstants,
) -> None:
    """Make one Euler step of every amplitude, then one of its error variable.

    `target` (runs,) is that of x^2; |x| ends at `clip` times its root.
    """
    limit = c.clip * np.sqrt(target)
    for i in range(len(arrays.x)):
        x, e, product, h = arrays.x[i], arrays.e[i], arrays.product[i], arrays.field[i]
        for r in range(len(target)):
            local_field = product[r] + h * arrays.field_amplitude[r]
            drive = c.strength * e[r] * local_field
            moved = x[r] + c.time_step * drift(x[r], drive, c.net_gain)
            moved = min(max(moved, -limit[r]), limit[r])
            x[r] = moved
            growth = max(c.error_step * (target[r] - moved * moved), c.most_shrink)
            e[r] = min(e[r] + e[r] * growth, c.error_limit)


class AmplitudeControl(ControlledDynamics):
    """A machine whose error variables hold x^2 to a target, whatever sets the target."""

    error_rate: float
    error_limit: float


def amplitude_constants(
    dynamics: AmplitudeControl, natural_strength: float, pump: float
) -> AmplitudeControlConstants:
    """Return the scalars of one step."""
    scalar = state_dtype(dynamics.precision).type
    return AmplitudeControlConstants(
        clip=scalar(CLIP),
        time_step=scalar(dynamics.time_step),
        net_gain=scalar(dynamics.loss * (pump - 1)),
        strength=scalar(dynamics.coupling_gain * natural_strength),
        error_step=scalar(dynamics.time_step * dynamics.error_rate),
        most_shrink=scalar(MOST_SHRINK),
        error_limit=scalar(dynamics.error_limit),
    )


@dataclass(frozen=True, kw_only=True)
class ChaoticAmplitudeControl(AmplitudeControl):
    r"""CAC: error variables, with pump and target ramped over a run.

    .. math:: \dot x_i &= \big(L(p - 1) - x_i^2\big)x_i + \xi e_i \Big(\sum_j J_{ij}x_j + h_i
              \overline{|x|}\Big), \qquad \xi = g\,\xi_0 \\
              \dot e_i &= -\beta\,(x_i^2 - \alpha)\,e_i

    with :math:`\xi_0` from `natural_strength`. p = 1 is the threshold of a lone oscillator of
    loss L; Reifenstein et al. write :math:`p' - 1` for the net gain, so that their
    :math:`p' = 1 + L(p - 1)`, -0.5 to 1, is p from 0 to 1 with L = 1.5. A round trip is one Euler
    step; :math:`|x|` ends at :math:`1.5\sqrt\alpha`.

    Parameters
    ----------
    coupling_gain : float
        g.
    loss : float
        L.
    target : tuple of float
        :math:`\alpha` at the first and the last round trip.
    error_rate : float
        :math:`\beta`.
    error_limit : float
        Largest e; without one, the error variable of an uncoupled spin overflows.
    time_step : float
    initial_width : float
        Of the normal amplitudes a run starts from.
    precision : {"single", "double"}

    Raises
    ------
    ValueError
        A parameter out of its range.
    """

    coupling_gain: float = 0.7
    loss: float = 1.5
    target: Ramp = (1.0, 3.0)
    error_rate: float = 0.3
    error_limit: float = 32.0
    time_step: float = 0.075
    initial_width: float = 0.1
    precision: Precision = "single"

    def step(self, arrays: Shared, conditions: Conditions) -> None:
        """Make one step towards the target of this moment."""
        target = np.full_like(arrays.field_amplitude, ramped(self.target, conditions.progress))
        constants = amplitude_constants(self, conditions.natural_strength, conditions.pump)
        advance_controlled_amplitudes(arrays, target, constants)

    def _own_checks(self) -> dict[str, bool]:
        return {
            "target": 0 < min(self.target) <= max(self.target) < math.inf,
            "error_rate": 0 <= self.error_rate < math.inf,
            "error_limit": 0 < self.error_limit < math.inf,
        }
