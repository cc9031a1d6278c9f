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
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from emulator.dynamics.base import Dynamics, JobInputs, Precision, check_options, state_dtype
from emulator.dynamics.bifurcation_step import (
    KERR_STEPS,
    BifurcationConstants,
    FeedbackConstants,
    Phase,
    advance_ballistic,
    advance_discrete,
    advance_kerr,
)
from emulator.dynamics.chunks import TrackedBlock
from emulator.dynamics.controlled_base import initial_normals
from emulator.dynamics.local_field import field_term
from emulator.products.packing import BLOCK_ROWS, aligned_zeros, padded_runs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from emulator.spectrum import Norms

__all__ = ["BifurcationBlock", "SimulatedBifurcation", "Variant", "longest_stable_step"]

Variant: TypeAlias = Literal["adiabatic", "ballistic", "discrete"]


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

    with :math:`\xi_0` from `Norms.natural_strength`. The adiabatic variant has :math:`\kappa = 1`,
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
    field_weight : float
        w of :math:`\xi_0`, from 0 to 1; the adiabatic variant, which nothing stops, takes 1.
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
    field_weight: float = 0.0
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
            "field_weight": 0 <= self.field_weight <= 1,
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

    def strength(self, norms: Norms) -> float:
        """Return c0 in units of the stored couplings."""
        weight = 1.0 if self.variant == "adiabatic" else self.field_weight
        return self.coupling_gain * norms.natural_strength(weight)

    def start(self, inputs: JobInputs, *, first_run: int, n_runs: int) -> BifurcationBlock:
        """Return a block of runs at their random initial positions and momenta."""
        return BifurcationBlock(self, inputs, first_run, n_runs)


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
        dtype, n_padded = state_dtype(dynamics.precision), padded_runs(n_runs)
        width, coupling = dynamics.initial_width, inputs.coupling
        x, y = (
            initial_normals(
                inputs,
                first_run=first_run,
                n_runs=n_padded,
                width=width,
                dtype=dtype,
                stream=stream,
            )
            for stream in (0, 1)
        )
        super().__init__(x, n_runs)
        self.coupling_strength = dynamics.strength(inputs.norms)
        self.time_step = dynamics.time_step
        if math.isfinite(dynamics.stability):
            stable = longest_stable_step(self.coupling_strength, inputs.lowest_eigenvalue)
            self.time_step = min(self.time_step, dynamics.stability * stable)
        if dynamics.variant == "discrete":
            operand, workspace = coupling.operand, coupling.operand.workspace(n_padded)
            fields = aligned_zeros((BLOCK_ROWS, n_padded), coupling.dtype)
        else:
            operand, workspace = coupling.as_floats(dtype), None
            fields = aligned_zeros(x.shape, dtype)
        self._loop = FeedbackConstants(
            operand, workspace, field_term(coupling, n_padded, dtype), None
        )
        self._arrays = Phase(x, y, fields)
        self._constants = BifurcationConstants(
            time_step=dtype.type(self.time_step),
            kerr_step=dtype.type(self.time_step / KERR_STEPS),
            kick=dtype.type(self.time_step * self.coupling_strength),
            heating=dtype.type(dynamics.heating * self.time_step),
            wall=dtype.type(1.0),
            stop=dtype.type(0.0),
        )
        self._variant = dynamics.variant

    @property
    def y(self) -> NDArray[Any]:
        """Momenta (n, runs)."""
        self.catch_up()
        return self._arrays.y[:, : self._n_runs]

    def _advance_through(self, pumps: NDArray[np.float64]) -> None:
        loop, detunings = (
            self._loop._replace(tracker=self.tracker),
            (1 - pumps).astype(self._x.dtype),
        )
        advance = {
            "adiabatic": advance_kerr,
            "ballistic": advance_ballistic,
            "discrete": advance_discrete,
        }[self._variant]
        advance(loop, self._arrays, detunings, self._constants)
