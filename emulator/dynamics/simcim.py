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

from emulator.dynamics.base import (
    Block,
    Dynamics,
    JobInputs,
    Precision,
    coupling_gain_option,
    field_weight_option,
    initial_width_option,
    loss_option,
    precision_option,
    state_dtype,
    time_step_option,
)
from emulator.dynamics.kernel import kernel
from emulator.dynamics.saturation import linear_drift
from emulator.noise import NoiseKey, fill_normal_pair, fill_normals
from emulator.options import (
    NON_NEGATIVE,
    POSITIVE_OR_INFINITE,
    Interval,
    documented,
    option,
)
from emulator.preset import algorithm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.machine import EmulatedCim

__all__ = ["SimCim", "SimCimBlock", "advance_simcim", "longest_stable_step", "simcim", "tanh_ramp"]


def tanh_ramp(knots: int = 33, slope: float = 3.0) -> tuple[float, ...]:
    r"""Return a pump that rises from 0 to 1 as :math:`\tanh` does from -`slope` to `slope`."""
    at = np.linspace(-slope, slope, knots)
    return tuple(float(p) for p in 0.5 + 0.5 * np.tanh(at) / np.tanh(slope))


class SimCimConstants(NamedTuple):
    """Scalars of `advance_simcim`, all of the state's dtype."""

    time_step: Any
    net_pump: Any
    coupling: Any
    noise: Any
    kept: Any
    taken: Any
    wall: Any


class SimCimArrays(NamedTuple):
    """Arrays of the kernel: amplitudes, velocities and products (n, runs), field (n,), (runs,)."""

    x: NDArray[Any]
    v: NDArray[Any]
    product: NDArray[Any]
    field: NDArray[Any]
    field_amplitude: NDArray[Any]


@kernel
def advance_simcim(
    arrays: SimCimArrays,
    noise: NDArray[Any],
    key: NoiseKey,
    round_trip: int,
    first_run: int,
    c: SimCimConstants,
) -> None:
    """Make one step of every amplitude that does not hit a wall by it; n is even.

    `noise` (2, runs) is scratch.
    """
    is_noisy = c.noise != 0
    for pair in range(len(arrays.x) // 2):
        if is_noisy:
            fill_normal_pair(key, round_trip, pair, first_run, noise[0], noise[1])
        for side in range(2):
            i = 2 * pair + side
            x, v, product, h = arrays.x[i], arrays.v[i], arrays.product[i], arrays.field[i]
            kick = noise[side]
            for r in range(len(x)):
                drive = c.coupling * (product[r] + h * arrays.field_amplitude[r])
                change = c.time_step * linear_drift(x[r], drive, c.net_pump) + c.noise * kick[r]
                v[r] = c.kept * v[r] + c.taken * change
                moved = x[r] + v[r]
                x[r] = moved if abs(moved) < c.wall else x[r]


def longest_stable_step(momentum: float, decay: float) -> float:
    r"""Return :math:`2(1 + \mu) / (1 - \mu)\kappa`, beyond which a mode that decays is amplified.

    `decay` is :math:`\kappa`, the rate of the fastest mode, at no pump.
    """
    return 2.0 * (1.0 + momentum) / ((1.0 - momentum) * decay) if decay > 0 else math.inf


@documented
@dataclass(frozen=True, kw_only=True)
class SimCim(Dynamics):
    r"""SimCIM: a mean field whose saturation is a wall, with momentum.

    .. math:: v_i &\leftarrow \mu v_i + (1 - \mu)\Big[\Big(L(p - 1)\,x_i + \xi\sum_j J_{ij}x_j
              + \xi h_i\overline{|x|}\Big)dt + s\sqrt{dt}\,w_i\Big], \qquad \xi = g\,\xi_0 \\
              x_i &\leftarrow x_i + v_i \quad\text{where}\quad |x_i + v_i| < 1

    with :math:`\xi_0` from `Norms.natural_strength`. The pump is the schedule's, as everywhere:
    p = 0 is no pump, p = 1 the threshold of a lone oscillator, and the papers' pump-loss factor
    :math:`\nu` is :math:`L(p - 1)`. Their rise as a hyperbolic tangent is a schedule,
    `tanh_ramp`. Runs start from zero, or normal amplitudes of width `initial_width`.

    Raises
    ------
    ValueError
        A parameter out of its range.
    """

    coupling_gain: float = coupling_gain_option(0.7)
    field_weight: float = field_weight_option(
        1.0, note="A step beyond a wall is refused, so that a strong drive is stuck."
    )
    loss: float = loss_option(1.0)
    momentum: float = option(
        0.9,
        within=Interval(0, 1, includes_high=False),
        low=0.0,
        high=0.99,
        symbol=r"\mu",
        doc="Share of its velocity that an amplitude keeps.",
    )
    noise: float = option(
        0.3,
        within=NON_NEGATIVE,
        low=0.0,
        high=0.5,
        symbol="s",
        doc="Width of the noise, per square root of a lifetime.",
    )
    time_step: float = time_step_option(
        1.0, low=0.05, high=2.0, note="Shorter where `stability` demands it."
    )
    stability: float = option(
        0.5,
        within=POSITIVE_OR_INFINITE,
        doc="Share of `longest_stable_step` that dt may reach; infinite to ignore it.",
    )
    initial_width: float = initial_width_option(0.0)
    precision: Precision = precision_option()

    def start(self, inputs: JobInputs, *, first_run: int, n_runs: int) -> SimCimBlock:
        """Return a block of runs at rest."""
        return SimCimBlock(self, inputs, first_run, n_runs)


class SimCimBlock(Block):
    r"""A block of runs of SimCIM.

    Attributes
    ----------
    x, v : array, shape (n or n + 1, runs)
        Amplitudes and their changes. An odd machine has one more, coupled to none.
    coupling_strength, time_step : float
        :math:`\xi`, in units of the stored couplings, and dt.
    """

    def __init__(self, dynamics: SimCim, inputs: JobInputs, first_run: int, n_runs: int) -> None:
        dtype, n_spins = state_dtype(dynamics.precision), inputs.n_spins
        self.x = np.empty((n_spins + n_spins % 2, n_runs), dtype)
        # round trip 0 of the noise is the initial state
        fill_normals(inputs.key, 0, first_run, self.x)
        self.x *= dtype.type(dynamics.initial_width)
        np.clip(self.x, -1, 1, out=self.x)
        self.v = np.zeros_like(self.x)
        strength = inputs.norms.natural_strength(dynamics.field_weight)
        self.coupling_strength = dynamics.coupling_gain * strength
        self.time_step = dynamics.time_step
        if math.isfinite(dynamics.stability):
            decay = dynamics.loss - min(self.coupling_strength * inputs.lowest_eigenvalue, 0.0)
            stable = longest_stable_step(dynamics.momentum, decay)
            self.time_step = min(self.time_step, dynamics.stability * stable)
        self._product = np.zeros(self.x.shape, inputs.coupling.dtype)
        self._field = np.zeros(len(self.x), dtype)
        self._field[:n_spins] = inputs.coupling.field
        self._has_field = bool(self._field.any())
        self._field_amplitude = np.zeros(n_runs, dtype)
        self._scratch = np.zeros((2, n_runs), dtype)
        self._inputs, self._dynamics, self._first_run = inputs, dynamics, first_run
        self._round_trip = 1

    def advance(self, pump: float) -> None:
        """Make one step."""
        x = self.amplitudes()
        self._inputs.coupling.multiply(x, self._product[: len(x)])
        if self._has_field:
            np.mean(np.abs(x), axis=0, out=self._field_amplitude)
        advance_simcim(
            SimCimArrays(self.x, self.v, self._product, self._field, self._field_amplitude),
            self._scratch,
            self._inputs.key,
            self._round_trip,
            self._first_run,
            self._constants(pump),
        )
        self._round_trip += 1

    def amplitudes(self) -> NDArray[Any]:
        """Return x."""
        return self.x[: self._inputs.n_spins]

    def _constants(self, pump: float) -> SimCimConstants:
        dynamics, scalar = self._dynamics, self.x.dtype.type
        return SimCimConstants(
            time_step=scalar(self.time_step),
            net_pump=scalar(dynamics.loss * (pump - 1)),
            coupling=scalar(self.coupling_strength),
            noise=scalar(dynamics.noise * math.sqrt(self.time_step)),
            kept=scalar(dynamics.momentum),
            taken=scalar(1 - dynamics.momentum),
            wall=scalar(1.0),
        )


def simcim() -> EmulatedCim:
    """Return SimCIM: `SimCim` under a pump that rises as a hyperbolic tangent."""
    return algorithm("simcim", "SimCIM", SimCim(), pump=tanh_ramp())
