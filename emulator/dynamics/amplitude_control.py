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
from emulator.dynamics.controlled_base import (
    ControlledDynamics,
    FeedbackConstants,
    Ramp,
    RunConditions,
    SharedArrays,
    feed_back,
    ramped,
)
from emulator.dynamics.energy_tracking import track_after
from emulator.dynamics.saturation import cubic_drift
from emulator.products.avx512 import prefer_wide_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = [
    "AmplitudeControl",
    "ChaoticAmplitudeControl",
    "advance_to_targets",
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


@njit(inline="always")
def controlled(  # noqa: PLR0917  called from kernels
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


@njit(cache=True, nogil=True, error_model="numpy")
def control_amplitudes(
    arrays: SharedArrays, target: Any, net_gain: Any, c: AmplitudeControlConstants
) -> None:
    """Make a step towards the same target for all runs."""
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
    x, e = arrays.x.reshape(-1), arrays.e.reshape(-1)
    local_field = arrays.local_field.reshape(-1)
    for k in range(len(x)):
        x[k], e[k] = controlled(x[k], e[k], local_field[k], target, net_gain, c)


@njit(cache=True, nogil=True, error_model="numpy")
def advance_to_targets(
    loop: FeedbackConstants,
    arrays: SharedArrays,
    targets: NDArray[Any],
    net_gains: NDArray[Any],
    c: AmplitudeControlConstants,
) -> None:
    """Make a round trip towards each of the `targets`, roots of those of x^2."""
    for step in range(len(targets)):
        feed_back(loop.operand, arrays)
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

    def _own_checks(self) -> dict[str, bool]:
        return {
            "target": 0 < min(self.target) <= max(self.target) < math.inf,
            "error_rate": 0 <= self.error_rate < math.inf,
            "error_limit": 0 < self.error_limit < math.inf,
        }
