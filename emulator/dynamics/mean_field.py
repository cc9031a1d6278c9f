r"""The mean field of coupled parametric oscillators: a machine without quantum noise.

References
----------
Wang, Marandi, Wen, Byer, Yamamoto, Phys. Rev. A 88, 063853 (2013),
doi:10.1103/PhysRevA.88.063853.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from emulator.dynamics.base import (
    Dynamics,
    JobInputs,
    Precision,
    check_options,
    state_dtype,
)
from emulator.dynamics.chunks import ChunkedBlock
from emulator.dynamics.oscillators import (
    OscillatorConstants,
    Oscillators,
    advance_oscillators,
    advance_oscillators_through,
    increment_oscillators,
)
from emulator.dynamics.saturation import SATURATIONS, Saturation
from emulator.dynamics.saturation import cubic_drift as drift
from emulator.integrators import (
    EulerMaruyama,
    Integrator,
    LinearlyImplicitEuler,
    SemiImplicitEquation,
    check_integrator,
)
from emulator.noise import fill_normals
from emulator.products.packing import aligned_zeros, padded_runs, read_spins

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Feedback", "MeanField", "OscillatorBlock", "drift"]

Feedback: TypeAlias = Literal["clip", "tanh", "sign"]


@dataclass(frozen=True, kw_only=True)
class MeanField(Dynamics):
    r"""Oscillators with ideal couplings: the mean, without measurement or quantum noise.

    .. math:: dx_i = S\Big[x_i,\ F\Big(\xi\sum_j J_{ij} f(x_j) + \xi\,h_i\,a\Big)\Big]dt
              + s\,dW_i, \qquad \xi = g / |J|

    with f the feedback, F a clip at `drive_limit`, and :math:`|J|` the norm of a weakly coupled
    row (`CouplingMatrix`). The drift S under a drive D is one of

    ========  ===============================================  =================================
    cubic     :math:`(p - 1 - x^2)\,x + D`                     a parametric oscillator
    tanh      :math:`-x + \tanh(p\,x + D)`                     a loop with a saturable amplifier
    sine      :math:`-x + \cos^2(p\,x + D - \pi/4) - 1/2`      an opto-electronic loop
    clip      :math:`(p - 1)\,x + D`, walls at :math:`\pm 1`   SimCIM without momentum
    ========  ===============================================  =================================

    (`emulator.dynamics.saturation`). Time is in lifetimes of the field; a round trip is one step
    of length `time_step`. Runs start from independent normal amplitudes of width
    `initial_width`. With additive noise Itô and Stratonovich agree: any integrator will do. The
    opto-electronic loop in discrete time, :math:`x \leftarrow \cos^2(p\,x + D - \pi/4) - 1/2`, is
    "sine" in steps of 1 with `EulerMaruyama`.

    Parameters
    ----------
    coupling_gain : float
        Dimensionless g.
    time_step : float
        dt of a round trip.
    saturation : {"cubic", "tanh", "sine", "clip"}
    feedback : {"clip", "tanh", "sign"}
        f, with :math:`L` the limit: x up to L, :math:`L\tanh(x/L)`, or :math:`L\,\mathrm{sgn}\,x`.
    feedback_limit : float
        L, the largest magnitude of an amplitude fed back; infinite for a clip that never clips.
    drive_limit : float
        Largest magnitude of a drive; infinite for a linear machine.
    field_amplitude : float or None
        a, the amplitude a spin of the field's own would have; None for the mean of
        ``|f(x)|`` over the spins of a run.
    noise : float
        s, per square root of a lifetime.
    initial_width : float
    integrator : Integrator
        Anything but `StrangSplitting`.
    precision : {"single", "double"}
        Of the state, and of the product where it is not exact.

    Raises
    ------
    ValueError
        A parameter out of its range, or an integrator that does not suit.
    """

    coupling_gain: float = 0.5
    time_step: float = 0.05
    saturation: Saturation = "cubic"
    feedback: Feedback = "clip"
    feedback_limit: float = math.inf
    drive_limit: float = math.inf
    field_amplitude: float | None = None
    noise: float = 0.0
    initial_width: float = 1e-3
    integrator: Integrator[SemiImplicitEquation] = LinearlyImplicitEuler()  # noqa: RUF009  frozen
    precision: Precision = "single"

    def __post_init__(self) -> None:
        has_limit = self.feedback == "clip" or self.feedback_limit < math.inf
        checks = {
            "coupling_gain": 0 <= self.coupling_gain < math.inf,
            "time_step": 0 < self.time_step < math.inf,
            "saturation": self.saturation in SATURATIONS,
            "feedback": self.feedback in {"clip", "tanh", "sign"},
            "feedback_limit": self.feedback_limit > 0 and has_limit,
            "drive_limit": self.drive_limit > 0,
            "field_amplitude": self.field_amplitude is None or math.isfinite(self.field_amplitude),
            "noise": 0 <= self.noise < math.inf,
            "initial_width": 0 <= self.initial_width < math.inf,
            "precision": self.precision in {"single", "double"},
        }
        check_options(self, checks)
        check_integrator(self.integrator, equation=OscillatorBlock, interpretation=None)

    @property
    def largest_code(self) -> float | None:
        """1 where signs are fed back; None where amplitudes are."""
        return 1.0 if self.feedback == "sign" else None

    @property
    def has_field(self) -> bool:
        """Always."""
        return True

    def start(self, inputs: JobInputs, *, first_run: int, n_runs: int) -> OscillatorBlock:
        """Return a block of runs at their random initial amplitudes."""
        return OscillatorBlock(self, inputs, first_run, n_runs)


class OscillatorBlock(ChunkedBlock, SemiImplicitEquation):
    """A block of runs of a mean-field machine."""

    def __init__(self, dynamics: MeanField, inputs: JobInputs, first_run: int, n_runs: int) -> None:
        dtype = state_dtype(dynamics.precision)
        n_even = inputs.n_spins + inputs.n_spins % 2
        super().__init__(n_even * n_runs)
        self.state = np.empty((n_even, n_runs), dtype)
        # round trip 0 of the noise is the initial state
        fill_normals(inputs.key, 0, first_run, self.state)
        self.state *= dtype.type(dynamics.initial_width)
        if dynamics.saturation == "clip":
            self.bound = 1.0
            self.confine(self.state)
        self._product = np.zeros((n_even, n_runs), inputs.coupling.dtype)
        self._field = np.zeros(n_even, dtype)
        self._field[: inputs.n_spins] = inputs.coupling.field
        self._has_field = bool(self._field.any())
        # signs are fed back as +-1, so that a product of integers is exact
        self._unit = dynamics.feedback_limit if dynamics.feedback == "sign" else 1.0
        amplitude = dynamics.field_amplitude or 0.0
        self._field_amplitude = np.full(n_runs, amplitude / self._unit, dtype)
        self._kicks = np.zeros_like(self.state)
        self._constants = oscillator_constants(dynamics, self._unit * inputs.coupling.unit)
        self._inputs, self._dynamics, self._first_run = inputs, dynamics, first_run
        self._round_trip = 1
        self._fed_back = aligned_zeros((inputs.n_spins, n_runs), dtype)
        self._is_fused = (
            isinstance(dynamics.integrator, LinearlyImplicitEuler)
            and dynamics.saturation == "cubic"
            and dynamics.feedback == "clip"
            and inputs.coupling.dtype == dtype
            and n_runs == padded_runs(n_runs)
        )

    @property
    def x(self) -> NDArray[Any]:
        """Amplitudes (n or n + 1, runs): an odd machine has one more, coupled to none."""
        self.catch_up()
        return self.state

    def _advance_through(self, pumps: NDArray[np.float64]) -> None:
        if self._is_fused:
            self._advance_fused(pumps)
            return
        for pump in pumps.tolist():
            self._dynamics.integrator.step(self, pump)
            self._round_trip += 1

    def _advance_fused(self, pumps: NDArray[np.float64]) -> None:
        dtype, dynamics = self.state.dtype, self._dynamics
        advance_oscillators_through(
            self._inputs.coupling.as_floats(dtype),
            Oscillators(self.state, self._product, self._field, self._field_amplitude),
            self._fed_back,
            self._kicks,
            self._inputs.key,
            self._round_trip,
            self._first_run,
            (pumps - 1.0).astype(dtype),
            dtype.type(dynamics.feedback_limit),
            self._has_field and dynamics.field_amplitude is None,
            self._constants,
        )
        self._round_trip += len(pumps)

    def amplitudes(self) -> NDArray[Any]:
        """Return x."""
        return self.x[: self._inputs.n_spins]

    def draw(self) -> None:
        """Draw the noise of a step, the same whatever the integrator."""
        if self._dynamics.noise:
            fill_normals(self._inputs.key, self._round_trip, self._first_run, self._kicks)

    def increment(self, state: NDArray[Any], pump: float, out: NDArray[Any]) -> None:
        """Write the change of the amplitudes in a step."""
        increment_oscillators(self._at(state), self._kicks, out, self._constants_at(pump))

    def semi_implicit_step(self, pump: float) -> None:
        """Make one step of linearly implicit Euler; only the cubic differs from Euler's."""
        if self._dynamics.saturation != "cubic":
            EulerMaruyama().step(self, pump)
            return
        advance_oscillators(
            self._at(self.state),
            self._kicks,
            self._inputs.key,
            self._round_trip,
            self._first_run,
            self._constants_at(pump),
        )

    def _at(self, state: NDArray[Any]) -> Oscillators:
        n_spins = self._inputs.n_spins
        fed_back = self._feed_back(state[:n_spins])
        self._inputs.coupling.multiply(fed_back, self._product[:n_spins])
        if self._has_field and self._dynamics.field_amplitude is None:
            np.abs(fed_back).mean(axis=0, dtype=self.state.dtype, out=self._field_amplitude)
        return Oscillators(state, self._product, self._field, self._field_amplitude)

    def _feed_back(self, x: NDArray[Any]) -> NDArray[Any]:
        limit, scalar = self._dynamics.feedback_limit, self.state.dtype.type
        if self._dynamics.feedback == "sign":
            signs = np.empty(x.shape, self._product.dtype)
            read_spins(x, signs)
            return signs
        if self._dynamics.feedback == "tanh":
            return scalar(limit) * np.tanh(x / scalar(limit))
        return x if math.isinf(limit) else np.clip(x, -scalar(limit), scalar(limit))

    def _constants_at(self, pump: float) -> OscillatorConstants:
        scalar = self.state.dtype.type
        return self._constants._replace(pump=scalar(pump), net_pump=scalar(pump - 1.0))


def oscillator_constants(dynamics: MeanField, coupling_unit: float) -> OscillatorConstants:
    """Return the scalars of a step at no pump."""
    scalar = state_dtype(dynamics.precision).type
    return OscillatorConstants(
        saturation=SATURATIONS.index(dynamics.saturation),
        pump=scalar(0.0),
        net_pump=scalar(-1.0),
        coupling=scalar(dynamics.coupling_gain * coupling_unit),
        drive_top=scalar(dynamics.drive_limit),
        time_step=scalar(dynamics.time_step),
        three_steps=scalar(3 * dynamics.time_step),
        noise=scalar(dynamics.noise * math.sqrt(dynamics.time_step)),
        one=scalar(1.0),
        half=scalar(0.5),
    )
