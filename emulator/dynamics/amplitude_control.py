r"""Machines that force all amplitudes to one target, so that amplitudes stop distorting energies.

An error variable :math:`e_i` multiplies the field that spin i feels and grows while
:math:`x_i^2` is below the target. Minima of the analog energy that are none of the Ising energy
become unstable, and a run wanders from one low minimum to the next: read it with `BestSeen`.

References
----------
Leleu et al., Commun. Phys. 4, 266 (2021), arXiv:2009.04084 (the target is ramped).
Reifenstein, Kako, Khoyratee, Leleu, Yamamoto, Adv. Quantum Technol. 4, 2100077 (2021),
arXiv:2108.07369.
Leleu, Yamamoto, McMahon, Aihara, Phys. Rev. Lett. 122, 040607 (2019), arXiv:1810.12565 (the
target follows the energy, at constant pump).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

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
from emulator.kernel import inlined, kernel
from emulator.machine import EmulatedCim, algorithm, entry_point
from emulator.options import POSITIVE, documented, option

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.converters import Converter
    from emulator.dynamics.base import Precision
    from emulator.imperfections import Imperfections

__all__ = [
    "AmplitudeHeterogeneityCorrection",
    "ChaoticAmplitudeControl",
    "chaotic_amplitude_control",
    "heterogeneity_correction",
    "mean_alignment",
]


class AmplitudeControlConstants(NamedTuple):
    """Scalars of `controlled`, all of the state's dtype."""

    clip: float
    time_step: float
    strength: float
    error_step: float
    most_shrink: float
    error_limit: float


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
    loop: FeedbackLoop,
    arrays: SharedArrays,
    series: tuple[NDArray[Any], NDArray[Any]],
    c: AmplitudeControlConstants,
) -> None:
    """Make round trips at net gains towards targets, given as roots of those of x^2."""
    net_gains, targets = series
    for step in range(len(targets)):
        local_fields(loop, arrays.x, arrays.local_field)
        control_amplitudes(arrays, targets[step], net_gains[step], c)
        track_after(loop.tracker, arrays.x)


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
    loop: FeedbackLoop,
    arrays: SharedArrays,
    series: tuple[NDArray[Any], NDArray[Any]],
    c: AmplitudeControlConstants,
) -> None:
    """Make round trips at net gains towards the base targets or more, by the alignment."""
    net_gains, base_targets = series
    targets = np.empty_like(loop.field_term.amplitude)
    for step in range(len(net_gains)):
        base = base_targets[step]
        local_fields(loop, arrays.x, arrays.local_field)
        mean_alignment(arrays.x, arrays.local_field, targets)
        for r in range(len(targets)):
            targets[r] = np.sqrt(max(base + c.strength * targets[r], base))
        control_runs(arrays, targets, net_gains[step], c)
        track_after(loop.tracker, arrays.x)


class AmplitudeControl(ControlledDynamics):
    """A machine whose error variables hold x^2 to a target, whatever sets the target."""

    error_rate: float
    error_limit: float

    def constants(self, natural_strength: float) -> AmplitudeControlConstants:
        """Return the scalars of `controlled`."""
        constants = AmplitudeControlConstants(
            clip=CLIP,
            time_step=self.time_step,
            strength=self.coupling_gain * natural_strength,
            error_step=self.time_step * self.error_rate,
            most_shrink=MOST_SHRINK,
            error_limit=self.error_limit,
        )
        return self.scalars(constants)


@documented
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
    """

    coupling_gain: float = shared.coupling_gain(0.7)
    loss: float = shared.loss(1.5)
    target: Ramp = option(
        (1.0, 3.0),
        within=POSITIVE,
        symbol=r"\alpha",
        doc="Target of the squared amplitudes at the first and the last round trip.",
    )
    error_rate: float = shared.error_rate(0.3)
    error_limit: float = shared.error_limit()
    time_step: float = shared.time_step(0.075, low=0.005, high=0.3)
    stability: float = shared.stability(0.12)
    initial_width: float = shared.initial_width(0.1)
    precision: Precision = shared.precision()
    noise: float = errors.amplitude_noise()
    detector_noise: float = errors.detector_noise()
    adc: Converter = errors.adc()
    dac: Converter = errors.dac()
    imperfections: Imperfections = errors.imperfections()

    advance = staticmethod(advance_to_targets)

    def control(self, arrays: SharedArrays, values: tuple[Any, ...], constants: Any) -> None:
        """Make one step with the local fields in `arrays`."""
        net_gain, target = values
        control_amplitudes(arrays, target, net_gain, constants)

    def ramps(self, progress: NDArray[np.float64]) -> tuple[NDArray[np.float64]]:
        """Return the roots of the targets."""
        return (np.sqrt(ramped(self.target, progress)),)


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
    """

    coupling_gain: float = shared.coupling_gain(1.0)
    loss: float = shared.loss(
        1.0, note=r"Leleu et al. write :math:`p' - 1` for the net gain :math:`L(p - 1)`."
    )
    base_target: float = shared.target(symbol="a_0", note="The least target.")
    error_rate: float = shared.error_rate(0.2)
    error_limit: float = shared.error_limit()
    time_step: float = shared.time_step(0.05, low=0.005, high=0.3)
    stability: float = shared.stability(0.2)
    initial_width: float = shared.initial_width(0.1)
    precision: Precision = shared.precision()
    noise: float = errors.amplitude_noise()
    detector_noise: float = errors.detector_noise()
    adc: Converter = errors.adc()
    dac: Converter = errors.dac()
    imperfections: Imperfections = errors.imperfections()

    advance = staticmethod(advance_to_energies)

    def control(self, arrays: SharedArrays, values: tuple[Any, ...], constants: Any) -> None:
        """Make one step with the local fields in `arrays`."""
        net_gain, base = values
        targets = np.empty(arrays.x.shape[1], self.dtype)
        mean_alignment(arrays.x, arrays.local_field, targets)
        targets[:] = np.sqrt(np.maximum(base + constants.strength * targets, base))
        control_runs(arrays, targets, net_gain, constants)

    def ramps(self, progress: NDArray[np.float64]) -> tuple[NDArray[np.float64]]:
        """Return the base target, for every round trip."""
        return (np.full(progress.shape, float(self.base_target)),)


@entry_point
def chaotic_amplitude_control() -> EmulatedCim:
    """Return CAC: `ChaoticAmplitudeControl` as it is by default."""
    return algorithm(
        "cac", "Chaotic amplitude control, for hard glasses", ChaoticAmplitudeControl()
    )


@entry_point
def heterogeneity_correction() -> EmulatedCim:
    """Return AHC: `AmplitudeHeterogeneityCorrection` at constant pump."""
    dynamics = AmplitudeHeterogeneityCorrection()
    title = "Amplitude-heterogeneity correction, for comparison with the literature"
    return algorithm("ahc", title, dynamics, pump=(0.2,))
