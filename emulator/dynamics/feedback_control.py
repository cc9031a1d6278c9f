r"""Machines whose error variables steer the injected field instead of the amplitude.

References
----------
Reifenstein, Kako, Khoyratee, Leleu, Yamamoto, Adv. Quantum Technol. 4, 2100077 (2021),
arXiv:2108.07369.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from emulator.dynamics import imperfect_control as errors
from emulator.dynamics import shared_options as shared
from emulator.dynamics.controlled_base import (
    CLIP,
    MOST_SHRINK,
    ControlledDynamics,
    Ramp,
    SharedArrays,
    ramped,
)
from emulator.dynamics.feedback import FeedbackLoop, local_fields, track_after
from emulator.dynamics.saturation import cubic_drift
from emulator.dynamics.stability import LinearLimit
from emulator.kernel import inlined, kernel
from emulator.machine import EmulatedCim, algorithm, entry_point
from emulator.options import NON_NEGATIVE, Interval, documented, option

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from emulator.converters import Converter
    from emulator.dynamics.base import Precision
    from emulator.imperfections import Imperfections

__all__ = [
    "TANH",
    "ChaoticFeedbackControl",
    "SeparatedFeedbackControl",
    "chaotic_feedback_control",
    "rational_tanh",
    "separated_feedback_control",
]

LEAST_ERROR = 0.01


class ChaoticFeedbackConstants(NamedTuple):
    """Scalars of `control_feedback`, all of the state's dtype."""

    time_step: float
    strength: float
    clip: float
    error_step: float
    target: float
    most_shrink: float
    error_floor: float
    error_limit: float


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
    loop: FeedbackLoop,
    arrays: SharedArrays,
    series: tuple[NDArray[Any]],
    c: ChaoticFeedbackConstants,
) -> None:
    """Make a round trip at each of the net gains."""
    (net_gains,) = series
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

    with :math:`\xi_0` from `natural_strength`. p = 1 is the threshold of a lone oscillator of
    loss L; Reifenstein et al. write :math:`p' - 1` for the net gain, so that their
    :math:`p' = 1 + L(p - 1)`, -1 to 1, is p from 0 to 1 with L = 2. A round trip is one Euler
    step; :math:`|x|` ends at 1.5, and e stays between 0.01 and `error_limit`.
    """

    coupling_gain: float = shared.coupling_gain(0.7)
    loss: float = shared.loss(2.0)
    target: float = shared.target(symbol=r"\alpha")
    error_rate: float = shared.error_rate(0.15)
    error_limit: float = shared.error_limit(Interval(LEAST_ERROR, math.inf, includes_high=False))
    time_step: float = shared.time_step(0.1, low=0.005, high=0.3)
    stability: float = shared.stability(0.4)
    initial_width: float = shared.initial_width(0.1)
    precision: Precision = shared.precision()
    noise: float = errors.amplitude_noise()
    detector_noise: float = errors.detector_noise()
    adc: Converter = errors.adc()
    dac: Converter = errors.dac()
    imperfections: Imperfections = errors.imperfections()

    advance = staticmethod(advance_chaotic_feedback)

    def control(self, arrays: SharedArrays, values: tuple[Any, ...], constants: Any) -> None:
        """Make one step with the local fields in `arrays`."""
        (net_gain,) = values
        control_feedback(arrays, net_gain, constants)

    def constants(self, natural_strength: float) -> ChaoticFeedbackConstants:
        """Return the scalars of `control_feedback`."""
        constants = ChaoticFeedbackConstants(
            time_step=self.time_step,
            strength=self.coupling_gain * natural_strength,
            clip=CLIP,
            error_step=self.time_step * self.error_rate,
            target=self.target,
            most_shrink=MOST_SHRINK,
            error_floor=LEAST_ERROR,
            error_limit=self.error_limit,
        )
        return self.scalars(constants)


class Tanh(NamedTuple):
    """Coefficients of x and of 1 in ascending powers of x^2, and where the quotient ends."""

    odd: tuple[Any, ...]
    even: tuple[Any, ...]
    top: float


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

    time_step: float
    strength: float
    clip: float
    memory: float
    tanh: Tanh


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
    arrays: SharedArrays,
    net_gain: Any,
    steepness: Any,
    error_step: Any,
    c: SeparatedFeedbackConstants,
) -> None:
    """Make one Euler step of every amplitude and of its error variable."""
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
    loop: FeedbackLoop,
    arrays: SharedArrays,
    series: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    c: SeparatedFeedbackConstants,
) -> None:
    """Make a round trip for each net gain, steepness, and step of the error variables."""
    net_gains, steepness, error_steps = series
    for step in range(len(net_gains)):
        local_fields(loop, arrays.x, arrays.local_field)
        control_separately(arrays, net_gains[step], steepness[step], error_steps[step], c)
        track_after(loop.tracker, arrays.x)


@documented
@dataclass(frozen=True, kw_only=True)
class SeparatedFeedbackControl(ControlledDynamics):
    r"""SFC: a saturating injection, and error variables that push against what lasts.

    .. math:: z_i &= \xi \Big(\sum_j J_{ij}x_j + h_i \overline{|x|}\Big), \qquad
              \xi = g\,\xi_0 \\
              \dot x_i &= \big(L(p - 1) - x_i^2\big)x_i + \tanh(c z_i) + k\,(z_i - e_i) \\
              \dot e_i &= -\beta\,(e_i - z_i)

    with :math:`\xi_0` from `natural_strength`; z and e are those of Reifenstein et al. with
    the opposite sign, so that positive z pulls up. Pump and loss are as in
    `ChaoticFeedbackControl`. A round trip is one Euler step; :math:`|x|` ends at 1.5.
    """

    coupling_gain: float = shared.coupling_gain(1.0)
    loss: float = shared.loss(2.0)
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
    time_step: float = shared.time_step(0.1, low=0.005, high=0.3)
    stability: float = shared.stability(0.8)
    initial_width: float = shared.initial_width(0.1)
    precision: Precision = shared.precision()
    noise: float = errors.amplitude_noise()
    detector_noise: float = errors.detector_noise()
    adc: Converter = errors.adc()
    dac: Converter = errors.dac()
    imperfections: Imperfections = errors.imperfections()

    initial_error = 0.0  # an error variable is a moving mean of z
    error_multiplies = False
    advance = staticmethod(advance_separated_feedback)

    @property
    def linear_limit(self) -> LinearLimit:
        """Of a step where the saturation is steepest."""
        slope = max(self.steepness) + self.memory
        return LinearLimit(self.time_step * self.coupling_gain * slope)

    def control(self, arrays: SharedArrays, values: tuple[Any, ...], constants: Any) -> None:
        """Make one step with the local fields in `arrays`."""
        net_gain, steepness, error_step = values
        control_separately(arrays, net_gain, steepness, error_step, constants)

    def constants(self, natural_strength: float) -> SeparatedFeedbackConstants:
        """Return the scalars of `control_separately`."""
        scalar = self.dtype.type
        odd, even = (tuple(map(scalar, terms)) for terms in (TANH.odd, TANH.even))
        return SeparatedFeedbackConstants(
            time_step=scalar(self.time_step),
            strength=scalar(self.coupling_gain * natural_strength),
            clip=scalar(CLIP),
            memory=scalar(self.memory),
            tanh=Tanh(odd, even, scalar(TANH.top)),
        )

    def ramps(self, progress: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Return the steepness, and the steps of the error variables."""
        rates = ramped(self.error_rate, progress)
        return ramped(self.steepness, progress), self.time_step * rates


@entry_point
def chaotic_feedback_control() -> EmulatedCim:
    """Return CFC: `ChaoticFeedbackControl` as it is by default."""
    return algorithm("cfc", "Chaotic feedback control, for hard glasses", ChaoticFeedbackControl())


@entry_point
def separated_feedback_control() -> EmulatedCim:
    """Return SFC: `SeparatedFeedbackControl` as it is by default."""
    title = "Separated feedback control, for good solutions in a given time"
    return algorithm("sfc", title, SeparatedFeedbackControl())
