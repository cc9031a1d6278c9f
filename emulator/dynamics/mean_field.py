r"""The mean field of coupled parametric oscillators: a machine without quantum noise.

References
----------
Wang, Marandi, Wen, Byer, Yamamoto, Phys. Rev. A 88, 063853 (2013),
doi:10.1103/PhysRevA.88.063853.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from emulator.dynamics import shared_options as shared
from emulator.dynamics.base import ChunkedBlock, JobInputs, Precision, SteppedDynamics
from emulator.dynamics.feedback import initial_normals, mean_magnitude
from emulator.dynamics.saturation import (
    SATURATIONS,
    Saturation,
    cubic_drift,
    linear_drift,
    sine_drift,
    tanh_drift,
)
from emulator.dynamics.stability import LinearLimit
from emulator.integrators import (
    EulerMaruyama,
    Integrator,
    LinearlyImplicitEuler,
    SemiImplicitEquation,
    check_integrator,
)
from emulator.kernel import inlined, kernel
from emulator.noise import Draw, at, fill_normal_pair, fill_normals
from emulator.options import documented, option, out_of_range
from emulator.products.coupling import multiply_rows
from emulator.products.packing import aligned_zeros, padded_runs, read_spins

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.products.coupling import CouplingOperand

__all__ = ["Feedback", "MeanField", "OscillatorBlock"]

Feedback: TypeAlias = Literal["clip", "tanh", "sign"]


# places in `SATURATIONS`
_CUBIC, _TANH, _SINE = range(3)


class Oscillators(NamedTuple):
    """Arrays of the kernels: (n, runs) twice, (n,) and (runs,), n even."""

    x: NDArray[Any]
    product: NDArray[Any]
    field: NDArray[Any]
    field_amplitude: NDArray[Any]


class OscillatorConstants(NamedTuple):
    """Scalars of the kernels, of the state's dtype but for the place in `SATURATIONS`."""

    saturation: int
    coupling: float
    drive_top: float
    time_step: float
    three_steps: float
    noise: float
    one: float
    half: float


@inlined
def drive(product: float, field: float, c: OscillatorConstants) -> float:
    r"""Return :math:`F(\xi\sum_j J_{ij}f(x_j) + \xi h_i a)`; `field` is :math:`h_i a`."""
    return min(max(c.coupling * (product + field), -c.drive_top), c.drive_top)


@inlined
def write_drift(
    x: NDArray[Any],
    drives: NDArray[Any],
    pump: Any,
    net_pump: Any,
    c: OscillatorConstants,
    out: NDArray[Any],
) -> None:
    """Write the drift of one oscillator in all runs; a loop for each saturation vectorizes."""
    if c.saturation == _CUBIC:
        for r in range(len(x)):
            out[r] = cubic_drift(x[r], drives[r], net_pump)
    elif c.saturation == _TANH:
        for r in range(len(x)):
            out[r] = tanh_drift(x[r], drives[r], pump)
    elif c.saturation == _SINE:
        for r in range(len(x)):
            out[r] = sine_drift(x[r], drives[r], pump, c.half)
    else:
        for r in range(len(x)):
            out[r] = linear_drift(x[r], drives[r], net_pump)


@kernel
def increment_oscillators(
    arrays: Oscillators,
    kicks: NDArray[Any],
    out: NDArray[Any],
    pump: Any,
    net_pump: Any,
    c: OscillatorConstants,
) -> None:
    """Write the change of every amplitude in an explicit step to `out` (n, runs)."""
    drives = np.empty_like(out[0])
    for i in range(len(out)):
        products, h, change, kick = arrays.product[i], arrays.field[i], out[i], kicks[i]
        for r in range(len(drives)):
            drives[r] = drive(products[r], h * arrays.field_amplitude[r], c)
        write_drift(arrays.x[i], drives, pump, net_pump, c, change)
        for r in range(len(drives)):
            change[r] = c.time_step * change[r] + c.noise * kick[r]


@kernel
def advance_oscillators(
    arrays: Oscillators,
    kicks: NDArray[Any],
    draw: Draw,
    net_pump: Any,
    c: OscillatorConstants,
) -> None:
    r"""Make one step of every parametric oscillator, linearly implicit in the cubic term.

    .. math:: x \leftarrow x + \frac{F(x)\,dt}{1 + 3x^2dt} + s\sqrt{dt}\,w

    with F the drift. The first two rows of `kicks` are scratch.
    """
    is_noisy = c.noise != 0
    for pair in range(len(arrays.x) // 2):
        if is_noisy:
            fill_normal_pair(draw, pair, kicks[0], kicks[1])
        for side in range(2):
            i = 2 * pair + side
            x, products, h, kick = arrays.x[i], arrays.product[i], arrays.field[i], kicks[side]
            for r in range(len(x)):
                a = x[r]
                pull = drive(products[r], h * arrays.field_amplitude[r], c)
                slope = cubic_drift(a, pull, net_pump)
                x[r] = a + c.time_step * slope / (c.one + c.three_steps * a * a) + c.noise * kick[r]


@kernel
def advance_oscillators_through(
    operand: CouplingOperand,
    arrays: Oscillators,
    fed_back: NDArray[Any],
    kicks: NDArray[Any],
    draw: Draw,
    net_pumps: NDArray[Any],
    limit: float,
    follows_mean: bool,  # noqa: FBT001
    c: OscillatorConstants,
) -> None:
    """Make a step at each of the net pumps; `fed_back` (n, runs) is scratch.

    With `follows_mean` a field has the mean magnitude of what is fed back as its amplitude.
    """
    product = arrays.product[: len(fed_back)]
    for step in range(len(net_pumps)):
        for i in range(len(fed_back)):
            x, clipped = arrays.x[i], fed_back[i]
            for r in range(len(clipped)):
                clipped[r] = min(max(x[r], -limit), limit)
        multiply_rows(operand, fed_back, 0, product)
        if follows_mean:
            mean_magnitude(fed_back, arrays.field_amplitude)
        advance_oscillators(arrays, kicks, at(draw, draw.round_trip + step), net_pumps[step], c)


class OscillatorBlock(ChunkedBlock, SemiImplicitEquation):
    """A block of runs of a mean-field machine."""

    def __init__(self, dynamics: MeanField, inputs: JobInputs, first_run: int, n_runs: int) -> None:
        dynamics = dynamics.fitted(inputs)
        dtype, width = dynamics.dtype, dynamics.initial_width
        self.state = initial_normals(
            inputs, first_run=first_run, n_runs=n_runs, width=width, dtype=dtype
        )
        n_even = len(self.state)
        super().__init__(self.state.size)
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
        self._constants = dynamics.constants(self._unit * inputs.coupling.unit)
        self._inputs, self._dynamics = inputs, dynamics
        self._draw = Draw(inputs.key, 1, first_run)
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
            self._draw = self._draw.after(1)

    def _advance_fused(self, pumps: NDArray[np.float64]) -> None:
        dtype, dynamics = self.state.dtype, self._dynamics
        advance_oscillators_through(
            self._inputs.coupling.as_floats(dtype),
            Oscillators(self.state, self._product, self._field, self._field_amplitude),
            self._fed_back,
            self._kicks,
            self._draw,
            (pumps - 1.0).astype(dtype),
            dtype.type(dynamics.feedback_limit),
            self._has_field and dynamics.field_amplitude is None,
            self._constants,
        )
        self._draw = self._draw.after(len(pumps))

    def amplitudes(self) -> NDArray[Any]:
        """Return x."""
        return self.x[: self._inputs.n_spins]

    def draw(self) -> None:
        """Draw the noise of a step, the same whatever the integrator."""
        if self._dynamics.noise:
            fill_normals(self._draw, self._kicks)

    def increment(self, state: NDArray[Any], pump: float, out: NDArray[Any]) -> None:
        """Write the change of the amplitudes in a step."""
        pumps = self._pumps(pump)
        increment_oscillators(self._at(state), self._kicks, out, *pumps, self._constants)

    def semi_implicit_step(self, pump: float) -> None:
        """Make one step of linearly implicit Euler; only the cubic differs from Euler's."""
        if self._dynamics.saturation != "cubic":
            EulerMaruyama().step(self, pump)
            return
        advance_oscillators(
            self._at(self.state),
            self._kicks,
            self._draw,
            self._pumps(pump)[1],
            self._constants,
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

    def _pumps(self, pump: float) -> tuple[Any, Any]:
        """Return p and p - 1."""
        scalar = self.state.dtype.type
        return scalar(pump), scalar(pump - 1.0)


@documented
@dataclass(frozen=True, kw_only=True)
class MeanField(SteppedDynamics):
    r"""Oscillators with ideal couplings: the mean, without measurement or quantum noise.

    .. math:: dx_i = S\Big[x_i,\ F\Big(\xi\sum_j J_{ij} f(x_j) + \xi\,h_i\,a\Big)\Big]dt
              + s\,dW_i, \qquad \xi = g / |J|

    with f the feedback, F a clip at `drive_limit`, and :math:`|J|` the norm of a weakly coupled
    row (``CouplingMatrix``). The drift S under a drive D is one of

    ========  ===============================================  =================================
    cubic     :math:`(p - 1 - x^2)\,x + D`                     a parametric oscillator
    tanh      :math:`-x + \tanh(p\,x + D)`                     a loop with a saturable amplifier
    sine      :math:`-x + \cos^2(p\,x + D - \pi/4) - 1/2`      an opto-electronic loop
    clip      :math:`(p - 1)\,x + D`, walls at :math:`\pm 1`   SimCIM without momentum
    ========  ===============================================  =================================

    (``emulator.dynamics.saturation``). Time is in lifetimes of the field; a round trip is one step
    of length `time_step`. Runs start from independent normal amplitudes of width
    `initial_width`. With additive noise Itô and Stratonovich agree: any integrator will do. The
    opto-electronic loop in discrete time, :math:`x \leftarrow \cos^2(p\,x + D - \pi/4) - 1/2`, is
    "sine" in steps of 1 with `EulerMaruyama`, and an infinite `stability`.

    Raises
    ------
    ValueError
        A parameter out of its range, or an integrator that does not suit.
    """

    coupling_gain: float = shared.coupling_gain(0.5)
    time_step: float = shared.time_step(0.05, low=0.01, high=0.5)
    stability: float = shared.stability(0.5)
    noise: float = shared.noise(0.0)
    saturation: Saturation = option(
        "cubic", within=SATURATIONS, symbol="S", doc="How the amplitudes saturate."
    )
    feedback: Feedback = option(
        "clip",
        within=("clip", "tanh", "sign"),
        symbol="f",
        doc=r"""What is fed back, with L the limit.
:math:`x` up to L, :math:`L\tanh(x/L)`, or :math:`L\,\mathrm{sgn}\,x`.""",
    )
    feedback_limit: float = shared.feedback_limit(
        symbol="L", doc="Largest amplitude fed back.\nInfinite for a clip that never clips."
    )
    drive_limit: float = shared.feedback_limit(
        doc="Largest drive, in units of the loss.\nInfinite for a linear machine."
    )
    field_amplitude: float | None = shared.field_amplitude()
    initial_width: float = shared.initial_width(1e-3)
    integrator: Integrator[SemiImplicitEquation] = option(
        LinearlyImplicitEuler(), doc="Anything but `StrangSplitting`."
    )
    precision: Precision = shared.precision()

    block = OscillatorBlock

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.feedback != "clip" and self.feedback_limit == math.inf:
            raise out_of_range(self, "feedback_limit")
        check_integrator(self.integrator, equation=OscillatorBlock, interpretation=None)

    @property
    def largest_code(self) -> float | None:
        """1 where signs are fed back; None where amplitudes are."""
        return 1.0 if self.feedback == "sign" else None

    @property
    def linear_limit(self) -> LinearLimit | None:
        """Of a step; there is none where signs are fed back."""
        if self.feedback == "sign":
            return None
        return LinearLimit(self.time_step * self.coupling_gain)

    def constants(self, coupling_unit: float) -> OscillatorConstants:
        """Return the scalars of a step."""
        constants = OscillatorConstants(
            saturation=0,
            coupling=self.coupling_gain * coupling_unit,
            drive_top=self.drive_limit,
            time_step=self.time_step,
            three_steps=3 * self.time_step,
            noise=self.noise * math.sqrt(self.time_step),
            one=1.0,
            half=0.5,
        )
        return self.scalars(constants)._replace(saturation=SATURATIONS.index(self.saturation))
