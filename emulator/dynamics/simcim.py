r"""SimCIM: gradient descent with momentum and noise between walls, under a slowly rising pump.

References
----------
Tiunov, Ulanov, Lvovsky, Opt. Express 27, 10288 (2019), doi:10.1364/OE.27.010288,
arXiv:1901.08927.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emulator.dynamics import shared_options as shared
from emulator.dynamics.base import Dynamics, JobInputs, Precision, natural_strength
from emulator.dynamics.feedback import (
    FeedbackLoop,
    TrackedBlock,
    feedback_loop,
    initial_normals,
    local_fields,
    track_after,
)
from emulator.dynamics.saturation import linear_drift
from emulator.kernel import kernel, kernel_part
from emulator.machine import EmulatedCim, algorithm, entry_point
from emulator.noise import Draw, at, fill_normal_pair
from emulator.options import POSITIVE_OR_INFINITE, Interval, documented, option
from emulator.products.packing import aligned_zeros, padded_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["SimCim", "SimCimBlock", "longest_stable_step", "simcim", "tanh_ramp"]


def tanh_ramp(knots: int = 33, slope: float = 3.0) -> tuple[float, ...]:
    r"""Return a pump that rises from 0 to 1 as :math:`\tanh` does from -`slope` to `slope`."""
    at = np.linspace(-slope, slope, knots)
    return tuple(float(p) for p in 0.5 + 0.5 * np.tanh(at) / np.tanh(slope))


class SimCimConstants(NamedTuple):
    """Scalars of `move`, all of the state's dtype."""

    time_step: float
    coupling: float
    noise: float
    kept: float
    taken: float
    wall: float


class SimCimArrays(NamedTuple):
    """Amplitudes, velocities and local fields (n, runs), n even; noise (2, runs) is scratch."""

    x: NDArray[Any]
    v: NDArray[Any]
    local_field: NDArray[Any]
    noise: NDArray[Any]


@kernel_part
def move(arrays: SimCimArrays, net_pump: Any, draw: Draw, c: SimCimConstants) -> None:
    """Make one step of every amplitude that does not hit a wall by it."""
    is_noisy = c.noise != 0
    for pair in range(len(arrays.x) // 2):
        if is_noisy:
            fill_normal_pair(draw, pair, arrays.noise[0], arrays.noise[1])
        for side in range(2):
            i = 2 * pair + side
            x, v, local_field, kick = (
                arrays.x[i],
                arrays.v[i],
                arrays.local_field[i],
                arrays.noise[side],
            )
            for r in range(len(x)):
                drift = linear_drift(x[r], c.coupling * local_field[r], net_pump)
                v[r] = c.kept * v[r] + c.taken * (c.time_step * drift + c.noise * kick[r])
                moved = x[r] + v[r]
                x[r] = moved if abs(moved) < c.wall else x[r]


@kernel
def advance_simcim(
    loop: FeedbackLoop,
    arrays: SimCimArrays,
    net_pumps: NDArray[Any],
    draw: Draw,
    c: SimCimConstants,
) -> None:
    """Make a round trip at each of the net pumps L(p - 1)."""
    n_spins = len(loop.field_term.field)
    for step in range(len(net_pumps)):
        local_fields(loop, arrays.x[:n_spins], arrays.local_field[:n_spins])
        move(arrays, net_pumps[step], at(draw, draw.round_trip + step), c)
        track_after(loop.tracker, arrays.x[:n_spins])


def longest_stable_step(momentum: float, decay: float) -> float:
    r"""Return :math:`2(1 + \mu) / (1 - \mu)\kappa`, beyond which a mode that decays is amplified.

    `decay` is :math:`\kappa`, the rate of the fastest mode, at no pump.
    """
    return 2.0 * (1.0 + momentum) / ((1.0 - momentum) * decay) if decay > 0 else math.inf


class SimCimBlock(TrackedBlock):
    r"""A block of runs of SimCIM.

    Attributes
    ----------
    coupling_strength, time_step : float
        :math:`\xi`, in units of the stored couplings, and dt.
    """

    def __init__(self, dynamics: SimCim, inputs: JobInputs, first_run: int, n_runs: int) -> None:
        dtype, n_padded, width = dynamics.dtype, padded_runs(n_runs), dynamics.initial_width
        x = initial_normals(inputs, first_run=first_run, n_runs=n_padded, width=width, dtype=dtype)
        np.clip(x, -1, 1, out=x)
        loop = feedback_loop(inputs.coupling, n_padded, dtype)
        super().__init__(x[: inputs.n_spins], loop, n_runs)
        v, local_field = (aligned_zeros(x.shape, dtype) for _ in range(2))
        # an odd machine has one more amplitude, coupled to none
        self._arrays = SimCimArrays(x, v, local_field, np.zeros((2, n_padded), dtype))
        strength = natural_strength(inputs.coupling, dynamics.field_weight)
        self.coupling_strength = dynamics.coupling_gain * strength
        self.time_step = dynamics.time_step
        if math.isfinite(dynamics.stability):
            decay = dynamics.loss - min(self.coupling_strength * inputs.lowest_eigenvalue, 0.0)
            stable = longest_stable_step(dynamics.momentum, decay)
            self.time_step = min(self.time_step, dynamics.stability * stable)
        self._constants = dynamics.constants(self.time_step, self.coupling_strength)
        self._draw, self._loss = Draw(inputs.key, 1, first_run), dynamics.loss

    @property
    def v(self) -> NDArray[Any]:
        """Velocities (n, runs)."""
        return self._columns(self._arrays.v)[: len(self._x)]

    def _advance_through(self, pumps: NDArray[np.float64]) -> None:
        net_pumps = (self._loss * (pumps - 1)).astype(self._x.dtype)
        advance_simcim(self._loop, self._arrays, net_pumps, self._draw, self._constants)
        self._draw = self._draw.after(len(pumps))


@documented
@dataclass(frozen=True, kw_only=True)
class SimCim(Dynamics):
    r"""SimCIM: a mean field whose saturation is a wall, with momentum.

    .. math:: v_i &\leftarrow \mu v_i + (1 - \mu)\Big[\Big(L(p - 1)\,x_i + \xi\sum_j J_{ij}x_j
              + \xi h_i\overline{|x|}\Big)dt + s\sqrt{dt}\,w_i\Big], \qquad \xi = g\,\xi_0 \\
              x_i &\leftarrow x_i + v_i \quad\text{where}\quad |x_i + v_i| < 1

    with :math:`\xi_0` from `natural_strength`. The pump is the schedule's, as everywhere:
    p = 0 is no pump, p = 1 the threshold of a lone oscillator, and the papers' pump-loss factor
    :math:`\nu` is :math:`L(p - 1)`. Their rise as a hyperbolic tangent is a schedule,
    `tanh_ramp`. Runs start from zero, or normal amplitudes of width `initial_width`.
    """

    coupling_gain: float = shared.coupling_gain(0.7)
    field_weight: float = shared.field_weight(
        1.0, note="A step beyond a wall is refused, so that a strong drive is stuck."
    )
    loss: float = shared.loss(1.0)
    momentum: float = option(
        0.9,
        within=Interval(0, 1, includes_high=False),
        low=0.0,
        high=0.99,
        symbol=r"\mu",
        doc="Share of its velocity that an amplitude keeps.",
    )
    noise: float = shared.noise(0.3)
    time_step: float = shared.time_step(
        1.0, low=0.05, high=2.0, note="Shorter where `stability` demands it."
    )
    stability: float = option(
        0.5,
        within=POSITIVE_OR_INFINITE,
        doc="Share of `longest_stable_step` that dt may reach; infinite to ignore it.",
    )
    initial_width: float = shared.initial_width(0.0)
    precision: Precision = shared.precision()

    block = SimCimBlock

    def constants(self, time_step: float, strength: float) -> SimCimConstants:
        """Return the scalars of a step."""
        constants = SimCimConstants(
            time_step=time_step,
            coupling=strength,
            noise=self.noise * math.sqrt(time_step),
            kept=self.momentum,
            taken=1 - self.momentum,
            wall=1.0,
        )
        return self.scalars(constants)


@entry_point
def simcim() -> EmulatedCim:
    """Return SimCIM: `SimCim` under a pump that rises as a hyperbolic tangent."""
    return algorithm(
        "simcim", "SimCIM, for comparison with the literature", SimCim(), pump=tanh_ramp()
    )
