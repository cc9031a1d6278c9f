r"""The mean field of coupled parametric oscillators: a machine without quantum noise.

References
----------
Wang, Marandi, Wen, Byer, Yamamoto, Phys. Rev. A 88, 063853 (2013),
doi:10.1103/PhysRevA.88.063853.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from emulator.dynamics.base import Block, Dynamics, Precision, Wiring, state_dtype
from emulator.noise import NoiseKey, fill_normal_pair, fill_normals

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EulerConstants", "MeanField", "OscillatorBlock", "advance_oscillators", "drift"]


class EulerConstants(NamedTuple):
    """Scalars of `advance_oscillators`, all of the state's dtype."""

    one: Any
    time_step: Any
    three_steps: Any
    net_pump: Any
    coupling: Any
    drive_top: Any
    noise: Any


@njit(inline="always")
def drift(x: float, drive: float, net_pump: float) -> float:
    r"""Return :math:`(p - 1 - x^2)x + \text{drive}`, with `net_pump` for p - 1."""
    return (net_pump - x * x) * x + drive


@njit(cache=True, nogil=True, error_model="numpy")
def advance_oscillators(  # noqa: PLR0917  a kernel takes arrays
    x: NDArray[Any],
    product: NDArray[Any],
    field: NDArray[Any],
    field_amplitude: NDArray[Any],
    noise: NDArray[Any],
    key: NoiseKey,
    round_trip: int,
    first_run: int,
    c: EulerConstants,
) -> None:
    r"""Make one step of every oscillator; `x`, `product` have shape (n, runs), n even.

    Euler, linearly implicit in the cubic term alone:

    .. math:: x \leftarrow x + \frac{F(x)\,dt}{1 + 3x^2dt} + s\sqrt{dt}\,w

    with F the drift. It has the order, the fixed points and, near zero, the very numbers of the
    explicit step, but no coupling is strong enough to make it diverge. `noise` (2, runs) is
    scratch, `field_amplitude` (runs,) multiplies `field` (n,).
    """
    is_noisy = c.noise != 0
    for pair in range(len(x) // 2):
        if is_noisy:
            fill_normal_pair(key, round_trip, pair, first_run, noise[0], noise[1])
        for side in range(2):
            i = 2 * pair + side
            amplitudes, products, kicks, h = x[i], product[i], noise[side], field[i]
            for r in range(len(amplitudes)):
                linear = c.coupling * (products[r] + h * field_amplitude[r])
                drive = min(max(linear, -c.drive_top), c.drive_top)
                a = amplitudes[r]
                step = c.time_step * drift(a, drive, c.net_pump) / (c.one + c.three_steps * a * a)
                amplitudes[r] = a + step + c.noise * kicks[r]


@dataclass(frozen=True, kw_only=True)
class MeanField(Dynamics):
    r"""Oscillators with ideal couplings: the mean, without measurement or quantum noise.

    .. math:: dx_i = \Big[(p - 1 - x_i^2)\,x_i + F\Big(\xi\sum_j J_{ij} f(x_j)
              + \xi\,h_i\,a\Big)\Big]dt + s\,dW_i, \qquad \xi = g / |J|

    with f a clip at `feedback_limit`, F one at `drive_limit`, and :math:`|J|` the norm of a weakly
    coupled row (`CouplingMatrix`). Time is in lifetimes of the field; a round trip is one step of
    length `time_step` (`advance_oscillators`), of strong order 1. Runs start from independent
    normal amplitudes of width `initial_width`. With additive noise Itô and Stratonovich agree.

    Parameters
    ----------
    coupling_gain : float
        Dimensionless g.
    time_step : float
        dt of a round trip.
    feedback_limit : float
        Largest magnitude of an amplitude fed back; infinite for a linear machine.
    drive_limit : float
        Largest magnitude of a drive; infinite for a linear machine.
    field_amplitude : float or None
        a, the amplitude a spin of the field's own would have; None for the mean of
        ``min(|x|, feedback_limit)`` over the spins of a run.
    noise : float
        s, per square root of a lifetime.
    initial_width : float
    precision : {"single", "double"}
        Of the state, and of the product where it is not exact.

    Raises
    ------
    ValueError
        A parameter out of its range.
    """

    coupling_gain: float = 0.5
    time_step: float = 0.05
    feedback_limit: float = math.inf
    drive_limit: float = math.inf
    field_amplitude: float | None = None
    noise: float = 0.0
    initial_width: float = 1e-3
    precision: Precision = "single"

    def __post_init__(self) -> None:
        checks = {
            "coupling_gain": 0 <= self.coupling_gain < math.inf,
            "time_step": 0 < self.time_step < math.inf,
            "feedback_limit": self.feedback_limit > 0,
            "drive_limit": self.drive_limit > 0,
            "field_amplitude": self.field_amplitude is None or math.isfinite(self.field_amplitude),
            "noise": 0 <= self.noise < math.inf,
            "initial_width": 0 <= self.initial_width < math.inf,
            "precision": self.precision in {"single", "double"},
        }
        wrong = [name for name, is_right in checks.items() if not is_right]
        if wrong:
            raise ValueError(f"{wrong[0]} = {getattr(self, wrong[0])} is out of range")

    @property
    def largest_code(self) -> float | None:
        """None: amplitudes are fed back as they are."""
        return None

    @property
    def has_field(self) -> bool:
        """Always."""
        return True

    def start(self, wiring: Wiring, *, first_run: int, n_runs: int) -> OscillatorBlock:
        """Return a block of runs at their random initial amplitudes."""
        return OscillatorBlock(self, wiring, first_run, n_runs)


class OscillatorBlock(Block):
    """A block of runs of a mean-field machine.

    Attributes
    ----------
    x : array, shape (n or n + 1, runs)
        Amplitudes. An odd machine has one oscillator more, coupled to none.
    """

    def __init__(self, dynamics: MeanField, wiring: Wiring, first_run: int, n_runs: int) -> None:
        dtype = state_dtype(dynamics.precision)
        n_even = wiring.n_spins + wiring.n_spins % 2
        self.x = np.empty((n_even, n_runs), dtype)
        # round trip 0 of the noise is the initial state
        fill_normals(wiring.key, 0, first_run, self.x)
        self.x *= dtype.type(dynamics.initial_width)
        self._product = np.zeros((n_even, n_runs), wiring.coupling.dtype)
        self._field = np.zeros(n_even, dtype)
        self._field[: wiring.n_spins] = wiring.coupling.field
        self._scratch = np.zeros((2, n_runs), dtype)
        self._wiring, self._dynamics, self._first_run = wiring, dynamics, first_run
        self._scalar = dtype.type
        self._round_trip = 1

    def advance(self, pump: float) -> None:
        """Make one step."""
        dynamics, scalar, n_spins = self._dynamics, self._scalar, self._wiring.n_spins
        fed_back = self._fed_back(n_spins)
        self._wiring.coupling.multiply(fed_back, self._product[:n_spins])
        advance_oscillators(
            self.x,
            self._product,
            self._field,
            self._field_amplitude(fed_back),
            self._scratch,
            self._wiring.key,
            self._round_trip,
            self._first_run,
            EulerConstants(
                one=scalar(1.0),
                time_step=scalar(dynamics.time_step),
                three_steps=scalar(3 * dynamics.time_step),
                net_pump=scalar(pump - 1.0),
                coupling=scalar(dynamics.coupling_gain * self._wiring.coupling.unit),
                drive_top=scalar(dynamics.drive_limit),
                noise=scalar(dynamics.noise * math.sqrt(dynamics.time_step)),
            ),
        )
        self._round_trip += 1

    def amplitudes(self) -> NDArray[Any]:
        """Return x."""
        return self.x[: self._wiring.n_spins]

    def _fed_back(self, n_spins: int) -> NDArray[Any]:
        limit = self._dynamics.feedback_limit
        x = self.x[:n_spins]
        return x if math.isinf(limit) else np.clip(x, -self._scalar(limit), self._scalar(limit))

    def _field_amplitude(self, fed_back: NDArray[Any]) -> NDArray[Any]:
        if self._dynamics.field_amplitude is None:
            return np.abs(fed_back).mean(axis=0, dtype=self._scalar)
        return np.full(fed_back.shape[1], self._dynamics.field_amplitude, self._scalar)
