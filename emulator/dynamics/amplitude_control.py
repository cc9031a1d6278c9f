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

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emulator.dynamics.base import (
    Precision,
    coupling_gain_option,
    initial_width_option,
    loss_option,
    precision_option,
    state_dtype,
    time_step_option,
)
from emulator.dynamics.controlled_base import (
    ControlledDynamics,
    Ramp,
    RunConditions,
    SharedArrays,
    error_limit_option,
    error_rate_option,
    ramped,
)
from emulator.dynamics.energy_tracking import track_after
from emulator.dynamics.feedback import FeedbackConstants, local_fields
from emulator.dynamics.kernel import inlined, kernel
from emulator.dynamics.saturation import cubic_drift
from emulator.options import POSITIVE, documented, option
from emulator.preset import algorithm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.machine import EmulatedCim


__all__ = [
    "AmplitudeControl",
    "ChaoticAmplitudeControl",
    "advance_to_targets",
    "chaotic_amplitude_control",
    "controlled",
]

# Amplitudes end at this multiple of the target's root.
CLIP = 1.5
# An error variable shrinks to no less than half in one step, and so stays positive.
MOST_SHRINK = -0.5


class AmplitudeControlConstants(NamedTuple):
    """Scalars of `controlled`, all of the state's dtype."""

    clip: Any
    time_step: Any
    strength: Any
    error_step: Any
    most_shrink: Any
    error_limit: Any


@inlined
def controlled(
    x: Any,
    e: Any,
    local_field: Any,
    target: Any,
    net_gain: Any,
    c: AmplitudeControlConstants,
) -> tuple[Any, Any]:
    """Return an amplitude after an Euler step, and its error variable after that.

    `target` is the root of that of x^2; |x| ends at `clip` times it.
    """
    drive = c.strength * e * local_field
    moved = x + c.time_step * cubic_drift(x, drive, net_gain)
    moved = min(max(moved, -c.clip * target), c.clip * target)
    growth = max(c.error_step * (target * target - moved * moved), c.most_shrink)
    return moved, min(e + e * growth, c.error_limit)


@kernel
def control_amplitudes(
    arrays: SharedArrays, target: Any, net_gain: Any, c: AmplitudeControlConstants
) -> None:
    """Make a step towards the same target for all runs."""
    x, e = arrays.x.reshape(-1), arrays.e.reshape(-1)
    local_field = arrays.local_field.reshape(-1)
    for k in range(len(x)):
        x[k], e[k] = controlled(x[k], e[k], local_field[k], target, net_gain, c)


@kernel
def advance_to_targets(
    loop: FeedbackConstants,
    arrays: SharedArrays,
    targets: NDArray[Any],
    net_gains: NDArray[Any],
    c: AmplitudeControlConstants,
) -> None:
    """Make a round trip towards each of the `targets`, roots of those of x^2."""
    for step in range(len(targets)):
        local_fields(loop, arrays.x, arrays.local_field)
        control_amplitudes(arrays, targets[step], net_gains[step], c)
        track_after(loop.tracker, arrays.x)


class AmplitudeControl(ControlledDynamics):
    """A machine whose error variables hold x^2 to a target, whatever sets the target."""

    error_rate: float
    error_limit: float

    def net_gains(self, conditions: RunConditions) -> NDArray[Any]:
        """Return L(p - 1) of each round trip."""
        return (self.loss * (conditions.pump - 1)).astype(state_dtype(self.precision))

    def constants(self, natural_strength: float) -> AmplitudeControlConstants:
        """Return the scalars of `controlled`."""
        scalar = state_dtype(self.precision).type
        return AmplitudeControlConstants(
            clip=scalar(CLIP),
            time_step=scalar(self.time_step),
            strength=scalar(self.coupling_gain * natural_strength),
            error_step=scalar(self.time_step * self.error_rate),
            most_shrink=scalar(MOST_SHRINK),
            error_limit=scalar(self.error_limit),
        )


@documented
@dataclass(frozen=True, kw_only=True)
class ChaoticAmplitudeControl(AmplitudeControl):
    r"""CAC: error variables, with pump and target ramped over a run.

    .. math:: \dot x_i &= \big(L(p - 1) - x_i^2\big)x_i + \xi e_i \Big(\sum_j J_{ij}x_j + h_i
              \overline{|x|}\Big), \qquad \xi = g\,\xi_0 \\
              \dot e_i &= -\beta\,(x_i^2 - \alpha)\,e_i

    with :math:`\xi_0` from `Norms.natural_strength`. p = 1 is the threshold of a lone oscillator of
    loss L; Reifenstein et al. write :math:`p' - 1` for the net gain, so that their
    :math:`p' = 1 + L(p - 1)`, -0.5 to 1, is p from 0 to 1 with L = 1.5. A round trip is one Euler
    step; :math:`|x|` ends at :math:`1.5\sqrt\alpha`.

    Raises
    ------
    ValueError
        A parameter out of its range.
    """

    coupling_gain: float = coupling_gain_option(0.7)
    loss: float = loss_option(1.5)
    target: Ramp = option(
        (1.0, 3.0),
        within=POSITIVE,
        symbol=r"\alpha",
        doc="Target of the squared amplitudes at the first and the last round trip.",
    )
    error_rate: float = error_rate_option(0.3)
    error_limit: float = error_limit_option()
    time_step: float = time_step_option(0.075, low=0.005, high=0.3)
    initial_width: float = initial_width_option(0.1)
    precision: Precision = precision_option()

    def step(
        self,
        loop: FeedbackConstants,
        arrays: SharedArrays,
        conditions: RunConditions,
        constants: AmplitudeControlConstants,
    ) -> None:
        """Make one step towards the target of each moment."""
        roots = np.sqrt(ramped(self.target, conditions.progress))
        targets = roots.astype(state_dtype(self.precision))
        advance_to_targets(loop, arrays, targets, self.net_gains(conditions), constants)


def chaotic_amplitude_control() -> EmulatedCim:
    """Return CAC: `ChaoticAmplitudeControl` as it is by default."""
    return algorithm("cac", "Chaotic amplitude control", ChaoticAmplitudeControl())
