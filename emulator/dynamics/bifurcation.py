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
from numba import njit

from emulator.dynamics.base import Block, Dynamics, Precision, Wiring, state_dtype
from emulator.dynamics.best import read_spins
from emulator.dynamics.controlled import check_options, initial_normals

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "BifurcationBlock",
    "SimulatedBifurcation",
    "Variant",
    "advance_between_walls",
    "advance_kerr",
    "longest_stable_step",
]

Variant: TypeAlias = Literal["adiabatic", "ballistic", "discrete"]

# Kerr steps of the adiabatic variant for one coupling product.
KERR_STEPS = 2


class BifurcationConstants(NamedTuple):
    """Scalars of the kernels, all of the state's dtype."""

    time_step: Any
    kerr_step: Any
    detuning: Any
    coupling: Any
    heating: Any
    wall: Any


class Phase(NamedTuple):
    """Arrays of the kernels, (n, runs), (n,) and (runs,)."""

    x: NDArray[Any]
    y: NDArray[Any]
    product: NDArray[Any]
    field: NDArray[Any]
    field_amplitude: NDArray[Any]


@njit(inline="always")
def coupling_kick(product: float, field: float, time_step: float, coupling: float) -> float:
    """Return the change of a momentum that couplings and field make in one step."""
    return time_step * coupling * (product + field)


@njit(inline="always")
def kerr_force(x: float, detuning: float) -> float:
    """Return -(x^3 + (1 - p) x)."""
    return -(x * x + detuning) * x


@njit(cache=True, nogil=True, error_model="numpy")
def advance_kerr(arrays: Phase, c: BifurcationConstants) -> None:
    """Make one step of the adiabatic variant: a kick by couplings, then Kerr oscillation."""
    for i in range(len(arrays.x)):
        x, y, product, h = arrays.x[i], arrays.y[i], arrays.product[i], arrays.field[i]
        for r in range(len(x)):
            position, field = x[r], h * arrays.field_amplitude[r]
            momentum = y[r] + coupling_kick(product[r], field, c.time_step, c.coupling)
            for _ in range(KERR_STEPS):
                position += c.kerr_step * momentum
                momentum += c.kerr_step * kerr_force(position, c.detuning)
            x[r], y[r] = position, momentum


@njit(cache=True, nogil=True, error_model="numpy")
def advance_between_walls(arrays: Phase, c: BifurcationConstants) -> None:
    """Make one step of the ballistic or discrete variant, then stop what hit a wall at +-1."""
    for i in range(len(arrays.x)):
        x, y, product, h = arrays.x[i], arrays.y[i], arrays.product[i], arrays.field[i]
        for r in range(len(x)):
            field = h * arrays.field_amplitude[r]
            momentum = y[r] + coupling_kick(product[r], field, c.time_step, c.coupling)
            momentum -= c.time_step * c.detuning * x[r]
            position = x[r] + c.time_step * momentum
            x[r] = min(max(position, -c.wall), c.wall)
            y[r] = (momentum if abs(position) <= c.wall else 0 * momentum) + c.heating * y[r]


def longest_stable_step(coupling_strength: float, eigenvalue: float) -> float:
    r"""Return :math:`2 / \sqrt{1 + \max(-c_0\lambda_{min}, 0)}`, the limit at zero pump.

    The linear mode of eigenvalue :math:`\lambda` has the frequency
    :math:`\sqrt{1 - p - c_0\lambda}`; a symplectic Euler step is stable below 2 over the highest.
    """
    return 2.0 / math.sqrt(1.0 + max(-coupling_strength * eigenvalue, 0.0))


@dataclass(frozen=True, kw_only=True)
class SimulatedBifurcation(Dynamics):
    r"""aSB, bSB or dSB: oscillators that bifurcate as the pump passes threshold.

    .. math:: \dot y_i = -(1 - p)\,x_i - \kappa x_i^3 + c_0 \Big(\sum_j J_{ij} f(x_j) + h_i
              \overline{|f(x)|}\Big) + \gamma y_i, \qquad \dot x_i = y_i, \qquad c_0 = g\,\xi_0

    with :math:`\xi_0` from `natural_strength`. The adiabatic variant has :math:`\kappa = 1` and
    f = x; the other two have :math:`\kappa = 0` and walls at :math:`|x| = 1` that stop an
    oscillator (y = 0), with f = x (ballistic) or the sign of x (discrete). The pump is the
    papers' :math:`a(t)` in units of :math:`a_0 = 1`: from 0 to 1. A round trip is one symplectic
    Euler step, of order 1. The product of the discrete variant is exact for integer couplings.

    The step is `time_step` or, where it is shorter, the share `stability` of the longest stable
    one (`longest_stable_step`), from an estimate of the smallest eigenvalue of J.

    Parameters
    ----------
    variant : {"adiabatic", "ballistic", "discrete"}
    coupling_gain : float
        g.
    time_step : float
        Longest dt.
    stability : float
        Share of the stability limit that dt may reach; infinite to ignore it.
    heating : float
        :math:`\gamma`, of the ballistic and the discrete variant only.
    initial_width : float
        Of the normal positions and momenta a run starts from.
    precision : {"single", "double"}

    Raises
    ------
    ValueError
        A parameter out of its range.
    """

    variant: Variant = "discrete"
    coupling_gain: float = 0.5
    time_step: float = 1.0
    stability: float = 0.5
    heating: float = 0.0
    initial_width: float = 0.1
    precision: Precision = "single"

    def __post_init__(self) -> None:
        is_heatable = self.variant != "adiabatic" or self.heating == 0
        checks = {
            "variant": self.variant in {"adiabatic", "ballistic", "discrete"},
            "coupling_gain": 0 <= self.coupling_gain < math.inf,
            "time_step": 0 < self.time_step < math.inf,
            "stability": self.stability > 0,
            "heating": 0 <= self.heating < math.inf and is_heatable,
            "initial_width": 0 <= self.initial_width < math.inf,
            "precision": self.precision in {"single", "double"},
        }
        check_options(self, checks)

    @property
    def largest_code(self) -> float | None:
        """1 where signs are fed back, None where positions are."""
        return 1.0 if self.variant == "discrete" else None

    @property
    def has_field(self) -> bool:
        """Always."""
        return True

    def start(self, wiring: Wiring, *, first_run: int, n_runs: int) -> BifurcationBlock:
        """Return a block of runs at their random initial positions and momenta."""
        return BifurcationBlock(self, wiring, first_run, n_runs)


class BifurcationBlock(Block):
    """A block of runs of simulated bifurcation.

    Attributes
    ----------
    x, y : array, shape (n, runs)
        Positions and momenta.
    coupling_strength, time_step : float
        c0, in units of the stored couplings, and dt.
    """

    def __init__(
        self, dynamics: SimulatedBifurcation, wiring: Wiring, first_run: int, n_runs: int
    ) -> None:
        dtype = state_dtype(dynamics.precision)
        self.x, self.y = (
            initial_normals(
                wiring,
                first_run=first_run,
                n_runs=n_runs,
                width=dynamics.initial_width,
                dtype=dtype,
                stream=stream,
            )
            for stream in (0, 1)
        )
        self.coupling_strength = dynamics.coupling_gain * wiring.natural_strength
        self.time_step = dynamics.time_step
        if math.isfinite(dynamics.stability):
            stable = longest_stable_step(self.coupling_strength, wiring.lowest_eigenvalue)
            self.time_step = min(self.time_step, dynamics.stability * stable)
        shape, product_dtype = self.x.shape, wiring.coupling.dtype
        self._product = np.empty(shape, product_dtype)
        self._signs = np.empty(shape, product_dtype) if dynamics.variant == "discrete" else None
        self._field = wiring.coupling.field.astype(dtype)
        self._has_field = bool(self._field.any())
        self._field_amplitude = np.ones(n_runs, dtype)
        self._wiring, self._dynamics = wiring, dynamics

    def advance(self, pump: float) -> None:
        """Make one step."""
        self._wiring.coupling.multiply(self._fed_back(), self._product)
        if self._has_field and self._signs is None:
            np.mean(np.abs(self.x), axis=0, out=self._field_amplitude)
        arrays = Phase(self.x, self.y, self._product, self._field, self._field_amplitude)
        is_adiabatic = self._dynamics.variant == "adiabatic"
        (advance_kerr if is_adiabatic else advance_between_walls)(arrays, self._constants(pump))

    def amplitudes(self) -> NDArray[Any]:
        """Return the positions."""
        return self.x

    def _fed_back(self) -> NDArray[Any]:
        if self._signs is None:
            return self.x
        read_spins(self.x, self._signs)
        return self._signs

    def _constants(self, pump: float) -> BifurcationConstants:
        scalar = state_dtype(self._dynamics.precision).type
        return BifurcationConstants(
            time_step=scalar(self.time_step),
            kerr_step=scalar(self.time_step / KERR_STEPS),
            detuning=scalar(1 - pump),
            coupling=scalar(self.coupling_strength),
            heating=scalar(self._dynamics.heating * self.time_step),
            wall=scalar(1.0),
        )
