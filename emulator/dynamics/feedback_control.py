r"""A machine whose error variables steer the injected field instead of the amplitude.

References
----------
Reifenstein, Kako, Khoyratee, Leleu, Yamamoto, Adv. Quantum Technol. 4, 2100077 (2021),
arXiv:2108.07369.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

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
    RunConditions,
    SharedArrays,
    error_limit_option,
    error_rate_option,
)
from emulator.dynamics.energy_tracking import track_after
from emulator.dynamics.feedback import FeedbackConstants, local_fields
from emulator.dynamics.kernel import kernel
from emulator.dynamics.saturation import cubic_drift
from emulator.options import POSITIVE, Interval, documented, option
from emulator.preset import algorithm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.machine import EmulatedCim


__all__ = [
    "ChaoticFeedbackControl",
    "advance_chaotic_feedback",
    "chaotic_feedback_control",
    "control_feedback",
]

# Largest magnitude of an amplitude.
CLIP = 1.5
# An error variable shrinks to no less than half in one step, and not below this.
MOST_SHRINK = -0.5
LEAST_ERROR = 0.01


class ChaoticFeedbackConstants(NamedTuple):
    """Scalars of `control_feedback`, all of the state's dtype."""

    time_step: Any
    strength: Any
    clip: Any
    error_step: Any
    target: Any
    most_shrink: Any
    error_floor: Any
    error_limit: Any


@kernel
def control_feedback(arrays: SharedArrays, net_gain: Any, c: ChaoticFeedbackConstants) -> None:
    """Make one Euler step of every amplitude and of its error variable."""
    x, e = arrays.x.reshape(-1), arrays.e.reshape(-1)
    local_field = arrays.local_field.reshape(-1)
    for k in range(len(x)):
        drive = c.strength * e[k] * local_field[k]
        moved = x[k] + c.time_step * cubic_drift(x[k], drive, net_gain)
        x[k] = min(max(moved, -c.clip), c.clip)
        growth = max(c.error_step * (c.target - drive * drive), c.most_shrink)
        e[k] = min(max(e[k] + e[k] * growth, c.error_floor), c.error_limit)


@kernel
def advance_chaotic_feedback(
    loop: FeedbackConstants,
    arrays: SharedArrays,
    net_gains: NDArray[Any],
    c: ChaoticFeedbackConstants,
) -> None:
    """Make a round trip at each of the net gains."""
    for step in range(len(net_gains)):
        local_fields(loop, arrays.x, arrays.local_field)
        control_feedback(arrays, net_gains[step], c)
        track_after(loop.tracker, arrays.x)


@documented
@dataclass(frozen=True, kw_only=True)
class ChaoticFeedbackControl(ControlledDynamics):
    r"""CFC: error variables that bring the injected field to one magnitude.

    .. math:: z_i &= \xi e_i \Big(\sum_j J_{ij}x_j + h_i \overline{|x|}\Big), \qquad
              \xi = g\,\xi_0 \\
              \dot x_i &= \big(L(p - 1) - x_i^2\big)x_i + z_i \\
              \dot e_i &= -\beta\,(z_i^2 - \alpha)\,e_i

    with :math:`\xi_0` from `Norms.natural_strength`. p = 1 is the threshold of a lone oscillator of
    loss L; Reifenstein et al. write :math:`p' - 1` for the net gain, so that their
    :math:`p' = 1 + L(p - 1)`, -1 to 1, is p from 0 to 1 with L = 2. A round trip is one Euler
    step; :math:`|x|` ends at 1.5, and e stays between 0.01 and `error_limit`.

    Raises
    ------
    ValueError
        A parameter out of its range.
    """

    coupling_gain: float = coupling_gain_option(0.7)
    loss: float = loss_option(2.0)
    target: float = option(
        1.0,
        within=POSITIVE,
        low=0.1,
        high=10.0,
        log=True,
        symbol=r"\alpha",
        doc="What error variables steer to, in squares of amplitudes.",
    )
    error_rate: float = error_rate_option(0.15)
    error_limit: float = error_limit_option(Interval(LEAST_ERROR, math.inf, includes_high=False))
    time_step: float = time_step_option(0.1, low=0.005, high=0.3)
    initial_width: float = initial_width_option(0.1)
    precision: Precision = precision_option()

    def constants(self, natural_strength: float) -> ChaoticFeedbackConstants:
        """Return the scalars of `control_feedback`."""
        scalar = state_dtype(self.precision).type
        return ChaoticFeedbackConstants(
            time_step=scalar(self.time_step),
            strength=scalar(self.coupling_gain * natural_strength),
            clip=scalar(CLIP),
            error_step=scalar(self.time_step * self.error_rate),
            target=scalar(self.target),
            most_shrink=scalar(MOST_SHRINK),
            error_floor=scalar(LEAST_ERROR),
            error_limit=scalar(self.error_limit),
        )

    def step(
        self,
        loop: FeedbackConstants,
        arrays: SharedArrays,
        conditions: RunConditions,
        constants: ChaoticFeedbackConstants,
    ) -> None:
        """Make one step for each of the conditions."""
        net_gains = (self.loss * (conditions.pump - 1)).astype(arrays.x.dtype)
        advance_chaotic_feedback(loop, arrays, net_gains, constants)


def chaotic_feedback_control() -> EmulatedCim:
    """Return CFC: `ChaoticFeedbackControl` as it is by default."""
    return algorithm("cfc", "Chaotic feedback control", ChaoticFeedbackControl())
