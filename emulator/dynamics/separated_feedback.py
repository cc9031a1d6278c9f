r"""A machine with two injections: a saturating one, and one against what lasts.

References
----------
Reifenstein, Kako, Khoyratee, Leleu, Yamamoto, Adv. Quantum Technol. 4, 2100077 (2021),
arXiv:2108.07369.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

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
    "TANH",
    "SeparatedFeedbackControl",
    "advance_separated_feedback",
    "control_separately",
    "rational_tanh",
]

# Largest magnitude of an amplitude.
CLIP = 1.5


class Tanh(NamedTuple):
    """Coefficients of x and of 1 in ascending powers of x^2, and where the quotient ends."""

    odd: tuple[Any, ...]
    even: tuple[Any, ...]
    top: Any


# Minimax quotient for float32, from Eigen (`generic_fast_tanh_float`).
TANH = Tanh(
    odd=(
        4.89352455891786e-03,
        6.37261928875436e-04,
        1.48572235717979e-05,
        5.12229709037114e-08,
        -8.60467152213735e-11,
        2.00018790482477e-13,
        -2.76076847742355e-16,
    ),
    even=(4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06),
    top=7.90531110763549805,
)


class SeparatedFeedbackConstants(NamedTuple):
    """Scalars of `control_separately`, all of the state's dtype."""

    time_step: Any
    strength: Any
    clip: Any
    memory: Any
    tanh: Tanh


class SeparatedFeedbackRamps(NamedTuple):
    """What changes from step to step, each of shape (round trips,) and the state's dtype."""

    net_gain: NDArray[Any]
    steepness: NDArray[Any]
    error_step: NDArray[Any]


@njit(inline="always")
def rational_tanh(x: Any, c: Tanh) -> Any:
    """Return tanh(x) to 3e-7, without a call, so that the loop over runs vectorizes."""
    x = min(max(x, -c.top), c.top)
    s = x * x
    odd = c.odd[6]
    odd = odd * s + c.odd[5]
    odd = odd * s + c.odd[4]
    odd = odd * s + c.odd[3]
    odd = odd * s + c.odd[2]
    odd = odd * s + c.odd[1]
    odd = odd * s + c.odd[0]
    even = ((c.even[3] * s + c.even[2]) * s + c.even[1]) * s + c.even[0]
    return x * odd / even


@njit(cache=True, nogil=True, error_model="numpy")
def control_separately(
    arrays: SharedArrays, ramps: SeparatedFeedbackRamps, step: int, c: SeparatedFeedbackConstants
) -> None:
    """Make one Euler step of every amplitude and of its error variable."""
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
    net_gain, steepness = ramps.net_gain[step], ramps.steepness[step]
    error_step = ramps.error_step[step]
    x, e = arrays.x.reshape(-1), arrays.e.reshape(-1)
    local_field = arrays.local_field.reshape(-1)
    for k in range(len(x)):
        z = c.strength * local_field[k]
        drive = rational_tanh(steepness * z, c.tanh) + c.memory * (z - e[k])
        moved = x[k] + c.time_step * cubic_drift(x[k], drive, net_gain)
        x[k] = min(max(moved, -c.clip), c.clip)
        e[k] += error_step * (z - e[k])


@njit(cache=True, nogil=True, error_model="numpy")
def advance_separated_feedback(
    loop: FeedbackConstants,
    arrays: SharedArrays,
    ramps: SeparatedFeedbackRamps,
    c: SeparatedFeedbackConstants,
) -> None:
    """Make a round trip for each of the ramps' values."""
    for step in range(len(ramps.net_gain)):
        feed_back(loop.operand, arrays)
        control_separately(arrays, ramps, step, c)
        track_after(loop.tracker, arrays.x)


@dataclass(frozen=True, kw_only=True)
class SeparatedFeedbackControl(ControlledDynamics):
    r"""SFC: a saturating injection, and error variables that push against what lasts.

    .. math:: z_i &= \xi \Big(\sum_j J_{ij}x_j + h_i \overline{|x|}\Big), \qquad
              \xi = g\,\xi_0 \\
              \dot x_i &= \big(L(p - 1) - x_i^2\big)x_i + \tanh(c z_i) + k\,(z_i - e_i) \\
              \dot e_i &= -\beta\,(e_i - z_i)

    with :math:`\xi_0` from `Norms.natural_strength`; z and e are those of Reifenstein et al. with
    the opposite sign, so that positive z pulls up. Pump and loss are as in
    `ChaoticFeedbackControl`. A round trip is one Euler step; :math:`|x|` ends at 1.5.

    Parameters
    ----------
    coupling_gain : float
        g.
    loss : float
        L.
    steepness : tuple of float
        c at the first and the last round trip; without bound, and k = 0, injection is a sign.
    memory : float
        k.
    error_rate : tuple of float
        :math:`\beta` at the first and the last round trip.
    time_step : float
    initial_width : float
        Of the normal amplitudes a run starts from.
    precision : {"single", "double"}
        Of the state; the hyperbolic tangent is right to 3e-7 in both.

    Raises
    ------
    ValueError
        A parameter out of its range.
    """

    coupling_gain: float = 1.0
    loss: float = 2.0
    steepness: Ramp = (1.0, 3.0)
    memory: float = 0.2
    error_rate: Ramp = (0.3, 0.0)
    time_step: float = 0.1
    initial_width: float = 0.1
    precision: Precision = "single"

    @property
    def initial_error(self) -> float:
        """Zero: an error variable is a moving mean of z."""
        return 0.0

    def constants(self, natural_strength: float) -> SeparatedFeedbackConstants:
        """Return the scalars of `control_separately`."""
        scalar = state_dtype(self.precision).type
        return SeparatedFeedbackConstants(
            time_step=scalar(self.time_step),
            strength=scalar(self.coupling_gain * natural_strength),
            clip=scalar(CLIP),
            memory=scalar(self.memory),
            tanh=Tanh(
                odd=tuple(scalar(term) for term in TANH.odd),
                even=tuple(scalar(term) for term in TANH.even),
                top=scalar(TANH.top),
            ),
        )

    def step(
        self,
        loop: FeedbackConstants,
        arrays: SharedArrays,
        conditions: RunConditions,
        constants: SeparatedFeedbackConstants,
    ) -> None:
        """Make one step for each of the conditions."""
        pump, progress = conditions
        series = (
            self.loss * (pump - 1),
            ramped(self.steepness, progress),
            self.time_step * ramped(self.error_rate, progress),
        )
        ramps = SeparatedFeedbackRamps(*(values.astype(arrays.x.dtype) for values in series))
        advance_separated_feedback(loop, arrays, ramps, constants)

    def _own_checks(self) -> dict[str, bool]:
        return {
            "steepness": 0 <= min(self.steepness) <= max(self.steepness) < math.inf,
            "memory": 0 <= self.memory < math.inf,
            "error_rate": 0 <= min(self.error_rate) <= max(self.error_rate) < math.inf,
        }
