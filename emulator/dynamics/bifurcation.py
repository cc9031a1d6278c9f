r"""Simulated bifurcation: classical oscillators without loss, the CIM's nearest classical rival.

References
----------
Goto, Tatsumura, Dixon, Sci. Adv. 5, eaav2372 (2019), doi:10.1126/sciadv.aav2372 (adiabatic).
Goto et al., Sci. Adv. 7, eabe7953 (2021), doi:10.1126/sciadv.abe7953 (ballistic, discrete).
Kanao, Goto, Commun. Phys. 5, 153 (2022), doi:10.1038/s42005-022-00929-9 (heating).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from emulator.dynamics import shared_options as shared
from emulator.dynamics.base import Dynamics, JobInputs, Precision, natural_strength
from emulator.dynamics.feedback import (
    FeedbackLoop,
    TrackedBlock,
    add_field_term,
    feedback_loop,
    initial_normals,
    local_fields,
    track_after,
)
from emulator.dynamics.stability import ExtremeModes
from emulator.dynamics.strong_modes import StrongModes, add_strong_modes, measure_strong_modes
from emulator.kernel import inlined, kernel, kernel_part
from emulator.machine import EmulatedCim, algorithm, entry_point
from emulator.options import NON_NEGATIVE, POSITIVE_OR_INFINITE, documented, option, out_of_range
from emulator.products.coupling import multiply_rows, pack_signs
from emulator.products.packing import BLOCK_ROWS, aligned_zeros, padded_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.products.coupling import CouplingMatrix

__all__ = [
    "BifurcationBlock",
    "SimulatedBifurcation",
    "Variant",
    "ballistic_bifurcation",
    "discrete_bifurcation",
    "longest_stable_step",
]

Variant: TypeAlias = Literal["adiabatic", "ballistic", "discrete"]

# Discrete bifurcation goes on finding better for longer than other algorithms: on K2000 the best
# of 128 runs is 33279 after 1000 round trips and 33335 after 10 000.
DISCRETE_ROUND_TRIPS = 10_000

# Of momenta where a strong mode holds a field, as constraints have it: without, amplitudes freeze
# in the first configuration that meets them (portfolios: a gap of 10 to 18 per cent, and not 2).
HEATING_OF_CONSTRAINTS = 0.2


def longest_stable_step(coupling_strength: float, eigenvalue: float) -> float:
    r"""Return :math:`2 / \sqrt{1 + \max(-c_0\lambda_{min}, 0)}`, the limit at zero pump.

    The linear mode of eigenvalue :math:`\lambda` has the frequency
    :math:`\sqrt{1 - p - c_0\lambda}`; a symplectic Euler step is stable below 2 over the highest.
    """
    return 2.0 / math.sqrt(1.0 + max(-coupling_strength * eigenvalue, 0.0))


# Kerr steps of the adiabatic variant for one coupling product.
KERR_STEPS = 2


class BifurcationConstants(NamedTuple):
    """Scalars of the kernels, all of the state's dtype."""

    time_step: float
    kerr_step: float
    kick: float
    heating: float
    wall: float
    stop: float


class BifurcationArrays(NamedTuple):
    """Positions, momenta and local fields (n, runs), the fields perhaps of some rows only."""

    x: NDArray[Any]
    y: NDArray[Any]
    local_field: NDArray[Any]


@inlined
def kerr_force(x: float, detuning: float) -> float:
    """Return -(x^3 + (1 - p) x)."""
    return -(x * x + detuning) * x


@kernel_part
def oscillate(arrays: BifurcationArrays, detuning: Any, c: BifurcationConstants) -> None:
    """Make one step of the adiabatic variant: a kick by couplings, then Kerr oscillation."""
    x, y = arrays.x.reshape(-1), arrays.y.reshape(-1)
    local_field = arrays.local_field.reshape(-1)
    for k in range(len(x)):
        position, momentum = x[k], y[k] + c.kick * local_field[k]
        for _ in range(KERR_STEPS):
            position += c.kerr_step * momentum
            momentum += c.kerr_step * kerr_force(position, detuning)
        x[k], y[k] = position, momentum


@kernel_part
def move_between_walls(arrays: BifurcationArrays, detuning: Any, c: BifurcationConstants) -> None:
    """Make one step of the ballistic or discrete variant, then stop what hit a wall at +-1."""
    scalar, pull = arrays.x.dtype.type, c.time_step * detuning
    x, y = arrays.x.reshape(-1), arrays.y.reshape(-1)
    local_field = arrays.local_field.reshape(-1)
    for k in range(len(x)):
        momentum = y[k] + (c.kick * scalar(local_field[k]) - pull * x[k])
        position = x[k] + c.time_step * momentum
        x[k] = min(max(position, -c.wall), c.wall)
        y[k] = (momentum if abs(position) <= c.wall else c.stop) + c.heating * y[k]


@kernel
def advance_positions(
    loop: FeedbackLoop,
    arrays: BifurcationArrays,
    detunings: NDArray[Any],
    has_walls: bool,  # noqa: FBT001
    c: BifurcationConstants,
) -> None:
    """Make a round trip of the ballistic or adiabatic variant at each of the detunings 1 - p."""
    for step in range(len(detunings)):
        local_fields(loop, arrays.x, arrays.local_field)
        if has_walls:
            move_between_walls(arrays, detunings[step], c)
        else:
            oscillate(arrays, detunings[step], c)
        track_after(loop.tracker, arrays.x)


@kernel
def advance_discrete(
    loop: FeedbackLoop,
    strong: StrongModes,
    arrays: BifurcationArrays,
    detunings: NDArray[Any],
    c: BifurcationConstants,
) -> None:
    """Make a round trip of the discrete variant at each of the detunings 1 - p.

    Signs are taken before a step, so that the product is needed a few rows at a time only.
    """
    for step in range(len(detunings)):
        pack_signs(loop.operand, arrays.x, loop.workspace)
        measure_strong_modes(strong, arrays.x)
        for first in range(0, len(arrays.x), BLOCK_ROWS):
            end = min(first + BLOCK_ROWS, len(arrays.x))
            product = arrays.local_field[: end - first]
            multiply_rows(loop.operand, loop.workspace, first, product)
            if loop.field_term.is_present:
                add_field_term(loop.field_term, first, product)
            add_strong_modes(strong, first, product)
            rows = BifurcationArrays(arrays.x[first:end], arrays.y[first:end], product)
            move_between_walls(rows, detunings[step], c)
        track_after(loop.tracker, arrays.x)


class BifurcationBlock(TrackedBlock):
    """A block of runs of simulated bifurcation.

    Attributes
    ----------
    coupling_strength, time_step : float
        c0, in units of the stored couplings, and dt.
    """

    def __init__(
        self, dynamics: SimulatedBifurcation, inputs: JobInputs, first_run: int, n_runs: int
    ) -> None:
        dtype, n_padded, coupling = dynamics.dtype, padded_runs(n_runs), inputs.coupling
        x, y = (
            initial_normals(
                inputs,
                first_run=first_run,
                n_runs=n_padded,
                width=dynamics.initial_width,
                dtype=dtype,
                stream=stream,
            )[: inputs.n_spins]
            for stream in (0, 1)
        )
        of_signs = dynamics.variant == "discrete"
        super().__init__(x, feedback_loop(coupling, n_padded, dtype, of_signs=of_signs), n_runs)
        fields = (BLOCK_ROWS, n_padded) if of_signs else x.shape
        product = aligned_zeros(fields, coupling.dtype if of_signs else dtype)
        self._arrays = BifurcationArrays(x, y, product)
        self.coupling_strength = dynamics.strength(coupling)
        self.time_step = dynamics.stable_step(inputs)
        self._strong = dynamics.strong_modes(inputs, n_padded)
        heating = dynamics.heating_with(self._strong)
        self._constants = dynamics.constants(self.time_step, self.coupling_strength, heating)
        self._variant = dynamics.variant

    @property
    def y(self) -> NDArray[Any]:
        """Momenta (n, runs)."""
        return self._columns(self._arrays.y)

    def _advance_through(self, pumps: NDArray[np.float64]) -> None:
        detunings = (1 - pumps).astype(self._x.dtype)
        if self._variant == "discrete":
            advance_discrete(self._loop, self._strong, self._arrays, detunings, self._constants)
        else:
            has_walls = self._variant == "ballistic"
            advance_positions(self._loop, self._arrays, detunings, has_walls, self._constants)


@documented
@dataclass(frozen=True, kw_only=True)
class SimulatedBifurcation(Dynamics):
    r"""aSB, bSB or dSB: oscillators that bifurcate as the pump passes threshold.

    .. math:: \dot y_i = -(1 - p)\,x_i - \kappa x_i^3 + c_0 \Big(\sum_j J_{ij} f(x_j) + h_i
              \overline{|f(x)|}\Big) + \gamma y_i, \qquad \dot x_i = y_i, \qquad c_0 = g\,\xi_0

    with :math:`\xi_0` from `natural_strength`. The adiabatic variant has :math:`\kappa = 1`,
    f = x; the other two have :math:`\kappa = 0` and walls at :math:`|x| = 1` that stop an
    oscillator (y = 0), with f = x (ballistic) or the sign of x (discrete). The pump is the
    papers' :math:`a(t)` in units of :math:`a_0 = 1`: from 0 to 1. A round trip is one symplectic
    Euler step, of order 1. The product of the discrete variant is exact for integer couplings.
    Of modes of J far below all others it feeds back amplitudes
    (``emulator.dynamics.strong_modes``).

    The step is `time_step` or, where it is shorter, the share `stability` of the longest stable
    one (`longest_stable_step`), from an estimate of the smallest eigenvalue of J.
    """

    variant: Variant = option(
        "discrete", within=("adiabatic", "ballistic", "discrete"), doc="Equation and walls."
    )
    coupling_gain: float = shared.coupling_gain(0.5)
    field_weight: float = shared.field_weight(
        0.0, note="The adiabatic variant, which nothing stops, takes 1."
    )
    time_step: float = shared.time_step(
        1.0, low=0.05, high=2.0, note="Shorter where `stability` demands it."
    )
    stability: float = option(
        0.5,
        within=POSITIVE_OR_INFINITE,
        low=0.05,
        high=1.0,
        log=True,
        doc="Share of the longest stable step that is taken.\nInfinite to ignore the limit.",
    )
    heating: float = option(
        0.0,
        within=NON_NEGATIVE,
        low=0.0,
        high=0.3,
        symbol=r"\gamma",
        doc="""Rate at which momenta grow.
Of the ballistic and the discrete variant only; at least 0.2 where a strong mode holds a field.""",
    )
    strong_mode: float = option(
        3.0,
        within=POSITIVE_OR_INFINITE,
        doc=r"""Magnitude from which a mode of negative eigenvalue is fed back as amplitudes.
In units of the norm of a row; glasses have 2. Infinite for the paper's discrete variant.""",
    )
    initial_width: float = shared.initial_width(0.1, what="positions and momenta")
    precision: Precision = shared.precision()

    block = BifurcationBlock

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variant == "adiabatic" and self.heating != 0:
            raise out_of_range(self, "heating")

    @property
    def largest_code(self) -> float | None:
        """1 where signs are fed back, None where positions are."""
        return 1.0 if self.variant == "discrete" else None

    def strength(self, coupling: CouplingMatrix) -> float:
        """Return c0 in units of the stored couplings."""
        weight = 1.0 if self.variant == "adiabatic" else self.field_weight
        return self.coupling_gain * natural_strength(coupling, weight)

    def stable_step(self, inputs: JobInputs) -> float:
        """Return the step that a model is given."""
        if math.isinf(self.stability):
            return self.time_step
        stable = longest_stable_step(self.strength(inputs.coupling), inputs.lowest_eigenvalue)
        return min(self.time_step, self.stability * stable)

    def choices(self, inputs: JobInputs) -> dict[str, float | str]:
        """Return a step that is shortened, strong modes and the heating that goes with them."""
        step, strong = self.stable_step(inputs), self.strong_modes(inputs, 0)
        told: dict[str, float | str] = {} if step == self.time_step else {"time_step": step}
        if len(strong.vectors):
            told["strong_modes"] = len(strong.vectors)
        if self.heating_with(strong) > self.heating:
            told["heating"] = self.heating_with(strong)
        return told

    def strong_modes(self, inputs: JobInputs, n_runs: int) -> StrongModes:
        """Return the modes of which amplitudes are fed back: at most four, of signs only."""
        coupling = inputs.coupling
        none = ExtremeModes(np.zeros(0), np.zeros((0, inputs.n_spins)))
        is_asked = self.variant == "discrete" and math.isfinite(self.strong_mode)
        modes = inputs.extreme_modes if is_asked else none
        least = self.strong_mode * coupling.gain_factor / natural_strength(coupling)
        return StrongModes.of(modes, least, coupling.field, n_runs, self.dtype)

    def heating_with(self, strong: StrongModes) -> float:
        """Return the heating that a model is given."""
        return max(self.heating, HEATING_OF_CONSTRAINTS) if strong.field.any() else self.heating

    def constants(self, time_step: float, strength: float, heating: float) -> BifurcationConstants:
        """Return the scalars of the kernels."""
        constants = BifurcationConstants(
            time_step=time_step,
            kerr_step=time_step / KERR_STEPS,
            kick=time_step * strength,
            heating=heating * time_step,
            wall=1.0,
            stop=0.0,
        )
        return self.scalars(constants)


@entry_point
def ballistic_bifurcation() -> EmulatedCim:
    """Return bSB: `SimulatedBifurcation` with walls, at longer steps than dSB needs.

    Heated: without, walls and the slow pump take all runs of a dense model to one configuration,
    from whatever start, and the best of 64 is worse.
    """
    dynamics = SimulatedBifurcation(variant="ballistic", stability=0.75, heating=0.2)
    title = "Ballistic simulated bifurcation, for dense graphs and good solutions soon"
    return algorithm("bsb", title, dynamics, fits_gain=True)


@entry_point
def discrete_bifurcation() -> EmulatedCim:
    """Return dSB: `SimulatedBifurcation` with walls and signs fed back."""
    dynamics = SimulatedBifurcation(variant="discrete")
    title = "Discrete simulated bifurcation, for the best solutions; estimators use it"
    return algorithm("dsb", title, dynamics, round_trips=DISCRETE_ROUND_TRIPS)
