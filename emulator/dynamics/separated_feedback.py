r"""A machine with two injections: a saturating one, and one against what lasts.

References
----------
Reifenstein, Kako, Khoyratee, Leleu, Yamamoto, Adv. Quantum Technol. 4, 2100077 (2021),
arXiv:2108.07369.
"""

from __future__ import annotations

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
    Ramp,
    RunConditions,
    SharedArrays,
    ramped,
)
from emulator.dynamics.energy_tracking import track_after
from emulator.dynamics.feedback import FeedbackConstants, local_fields
from emulator.dynamics.kernel import inlined, kernel
from emulator.dynamics.saturation import cubic_drift
from emulator.options import NON_NEGATIVE, documented, option
from emulator.preset import algorithm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.machine import EmulatedCim


__all__ = [
    "TANH",
    "SeparatedFeedbackControl",
    "advance_separated_feedback",
    "control_separately",
    "rational_tanh",
    "separated_feedback_control",
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


@inlined
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


@kernel
def control_separately(
    arrays: SharedArrays, ramps: SeparatedFeedbackRamps, step: int, c: SeparatedFeedbackConstants
) -> None:
    """Make one Euler step of every amplitude and of its error variable."""
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


@kernel
def advance_separated_feedback(
    loop: FeedbackConstants,
    arrays: SharedArrays,
    ramps: SeparatedFeedbackRamps,
    c: SeparatedFeedbackConstants,
) -> None:
    """Make a round trip for each of the ramps' values."""
    for step in range(len(ramps.net_gain)):
        local_fields(loop, arrays.x, arrays.local_field)
        control_separately(arrays, ramps, step, c)
        track_after(loop.tracker, arrays.x)


@documented
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

    Raises
    ------
    ValueError
        A parameter out of its range.
    """

    coupling_gain: float = coupling_gain_option(1.0)
    loss: float = loss_option(2.0)
    steepness: Ramp = option(
        (1.0, 3.0),
        within=NON_NEGATIVE,
        symbol="c",
        doc="""Steepness of the saturation at the first and the last round trip.
Without bound, and k = 0, injection is a sign.""",
    )
    memory: float = option(
        0.2,
        within=NON_NEGATIVE,
        low=0.0,
        high=2.0,
        symbol="k",
        doc="Strength of the push against what lasts.",
    )
    error_rate: Ramp = option(
        (0.3, 0.0),
        within=NON_NEGATIVE,
        symbol=r"\beta",
        doc="How fast error variables follow, at the first and the last round trip.",
    )
    time_step: float = time_step_option(0.1, low=0.005, high=0.3)
    initial_width: float = initial_width_option(0.1)
    precision: Precision = precision_option()

    initial_error = 0.0  # an error variable is a moving mean of z

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


def separated_feedback_control() -> EmulatedCim:
    """Return SFC: `SeparatedFeedbackControl` as it is by default."""
    return algorithm("sfc", "Separated feedback control", SeparatedFeedbackControl())
