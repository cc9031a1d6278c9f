r"""Machines that force all amplitudes to one target, so that amplitudes stop distorting energies.

An error variable :math:`e_i` multiplies the field that spin i feels and grows while
:math:`x_i^2` is below the target. Minima of the analog energy that are none of the Ising energy
become unstable, and a run wanders from one low minimum to the next: read it with `BestSeen`.

References
----------
Leleu, Yamamoto, McMahon, Aihara, Phys. Rev. Lett. 122, 040607 (2019), arXiv:1810.12565.
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

from emulator.dynamics.base import Dynamics, Precision, Wiring
from emulator.dynamics.controlled import ControlledBlock, Ramp, Shared, check_options, ramped

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "AmplitudeHeterogeneityCorrection",
    "ChaoticAmplitudeControl",
    "advance_controlled_amplitudes",
    "mean_alignment",
]

# Amplitudes end at this multiple of the target's root.
CLIP = 1.5


class AmplitudeControlConstants(NamedTuple):
    """Scalars of `advance_controlled_amplitudes`, all of the state's dtype."""

    time_step: Any
    net_gain: Any
    strength: Any
    error_step: Any
    error_limit: Any


@njit(inline="always")
def oscillator_drift(x: float, drive: float, net_gain: float) -> float:
    """Return the drift (gain - x^2) x + drive of an oscillator."""
    return (net_gain - x * x) * x + drive


@njit(cache=True, nogil=True, error_model="numpy")
def advance_controlled_amplitudes(
    arrays: Shared,
    target: NDArray[Any],
    limit: NDArray[Any],
    c: AmplitudeControlConstants,
) -> None:
    """Make one Euler step of every amplitude, then one of its error variable.

    `target` and `limit` (runs,) are the target of x^2 and the largest magnitude of x.
    """
    for i in range(len(arrays.x)):
        x, e, product, h = arrays.x[i], arrays.e[i], arrays.product[i], arrays.field[i]
        for r in range(len(target)):
            local_field = product[r] + h * arrays.field_amplitude[r]
            drive = c.strength * e[r] * local_field
            moved = x[r] + c.time_step * oscillator_drift(x[r], drive, c.net_gain)
            moved = min(max(moved, -limit[r]), limit[r])
            x[r] = moved
            error = e[r] + c.error_step * e[r] * (target[r] - moved * moved)
            e[r] = min(error, c.error_limit)


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
class ChaoticAmplitudeControl(Dynamics):
    r"""CAC: error variables, with pump and target ramped over a run.

    .. math:: \dot x_i &= \big(L(p - 1) - x_i^2\big)x_i + \xi e_i \Big(\sum_j J_{ij}x_j + h_i
              \overline{|x|}\Big), \qquad \xi = g\,\xi_0 \\
              \dot e_i &= -\beta\,(x_i^2 - \alpha)\,e_i

    with :math:`\xi_0` from `natural_strength`. p = 1 is the threshold of a lone oscillator of
    loss L; Reifenstein et al. write :math:`p' - 1` for the net gain, so that their
    :math:`p' = 1 + L(p - 1)`, -0.5 to 1, is p from 0 to 1 with L = 1.5. A round trip is one Euler
    step; |x| ends at :math:`1.5\sqrt\alpha`.

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
        A parameter out of its range; or a step so long that an error variable could turn
        negative.
    """

    coupling_gain: float = math.sqrt(2.0)
    loss: float = 1.5
    target: Ramp = (1.0, 3.0)
    error_rate: float = 0.3
    error_limit: float = 32.0
    time_step: float = 0.075
    initial_width: float = 0.1
    precision: Precision = "single"

    def __post_init__(self) -> None:
        worst = self.time_step * self.error_rate * (CLIP**2 - 1) * max(self.target)
        checks = {
            "coupling_gain": 0 <= self.coupling_gain < math.inf,
            "loss": 0 <= self.loss < math.inf,
            "target": 0 < min(self.target) <= max(self.target) < math.inf,
            "error_rate": 0 <= self.error_rate < math.inf,
            "error_limit": 0 < self.error_limit < math.inf,
            "time_step": self.time_step > 0 and worst < 1,
            "initial_width": 0 <= self.initial_width < math.inf,
            "precision": self.precision in {"single", "double"},
        }
        check_options(self, checks)

    @property
    def largest_code(self) -> float | None:
        """None: amplitudes are fed back as they are."""
        return None

    @property
    def has_field(self) -> bool:
        """Always."""
        return True

    def start(self, wiring: Wiring, *, first_run: int, n_runs: int) -> AmplitudeControlBlock:
        """Return a block of runs at their random initial amplitudes."""
        return AmplitudeControlBlock(self, wiring, first_run, n_runs)


@dataclass(frozen=True, kw_only=True)
class AmplitudeHeterogeneityCorrection(Dynamics):
    r"""AHC: error variables at constant pump, with a target that follows the energy.

    The equations of `ChaoticAmplitudeControl`, where the target is that of the current
    configuration,

    .. math:: \alpha = a_0 + \xi\,\frac{\sum_i \sigma_i f_i}{\sum_i |x_i|},
              \qquad f_i = \sum_j J_{ij}x_j + h_i\overline{|x|}

    For amplitudes of equal magnitude this is Leleu's
    :math:`a_0 + \xi\langle\sigma_i\sum_jJ_{ij}\sigma_j\rangle`; it costs no second product. With
    :math:`a_0 = L(p - 1) + 1`, a fixed point has :math:`\langle 1/e\rangle` of order one. e is
    kept below `error_limit`.

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
        A parameter out of its range; or a step so long that an error variable could turn
        negative.
    """

    coupling_gain: float = 0.5
    loss: float = 1.0
    base_target: float = 0.2
    error_rate: float = 0.1
    error_limit: float = 32.0
    time_step: float = 0.1
    initial_width: float = 0.1
    precision: Precision = "single"

    def __post_init__(self) -> None:
        checks = {
            "coupling_gain": 0 <= self.coupling_gain < math.inf,
            "loss": 0 <= self.loss < math.inf,
            "base_target": 0 < self.base_target < math.inf,
            "error_rate": 0 <= self.error_rate < math.inf,
            "error_limit": 0 < self.error_limit < math.inf,
            "time_step": 0 < self.time_step < math.inf,
            "initial_width": 0 <= self.initial_width < math.inf,
            "precision": self.precision in {"single", "double"},
        }
        check_options(self, checks)

    @property
    def largest_code(self) -> float | None:
        """None: amplitudes are fed back as they are."""
        return None

    @property
    def has_field(self) -> bool:
        """Always."""
        return True

    def start(self, wiring: Wiring, *, first_run: int, n_runs: int) -> HeterogeneityBlock:
        """Return a block of runs at their random initial amplitudes."""
        return HeterogeneityBlock(self, wiring, first_run, n_runs)
