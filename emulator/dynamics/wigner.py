r"""Quantum noise of optically coupled oscillators: the c-number and the truncated-Wigner model.

References
----------
Wang, Marandi, Wen, Byer, Yamamoto, Phys. Rev. A 88, 063853 (2013),
doi:10.1103/PhysRevA.88.063853 (c-number Langevin equations).
Kinsler, Drummond, Phys. Rev. A 43, 6194 (1991), doi:10.1103/PhysRevA.43.6194 (Wigner function
of one oscillator).
Inui, Yamamoto, arXiv:2009.10328 (Wigner and positive-P models of coupled oscillators).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emulator.dynamics.base import (
    Block,
    Dynamics,
    JobInputs,
    Precision,
    check_options,
    state_dtype,
)
from emulator.dynamics.two_noises import fill_two_noises
from emulator.dynamics.waves import (
    FlowConstants,
    KickConstants,
    RateConstants,
    flow_waves,
    increment_waves,
    kick_waves,
)
from emulator.integrators import (
    Integrator,
    Interpretation,
    SplitEquation,
    StrangSplitting,
    check_integrator,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TruncatedWigner", "WaveBlock"]


@dataclass(frozen=True, kw_only=True)
class TruncatedWigner(Dynamics):
    r"""In-phase and quadrature amplitudes under gain, loss, saturation, coupling and noise.

    .. math:: dc_i &= \Big[(p - 1 - j - c_i^2 - s_i^2 + \epsilon)\,c_i
              + \xi\sum_j J_{ij}c_j\Big]dt
              + \tfrac{1}{A_s}\sqrt{c_i^2 + s_i^2 + \tfrac12(1 + j - \epsilon)}\;dW^c_i \\
              ds_i &= \Big[(-p - 1 - j - c_i^2 - s_i^2 + \epsilon)\,s_i
              + \xi\sum_j J_{ij}s_j\Big]dt
              + \tfrac{1}{A_s}\sqrt{c_i^2 + s_i^2 + \tfrac12(1 + j - \epsilon)}\;dW^s_i

    in the sense of Itô, with :math:`\xi = g/|J|` and :math:`|J|` the norm of a weakly coupled row
    (`CouplingMatrix`), and :math:`\epsilon = 1/A_s^2` with `ordering_corrections`, else 0. In the
    sense of Stratonovich the same law has :math:`1/2A_s^2` more loss: half the derivative of the
    diffusion, :math:`\tfrac12\partial_c(c^2 + s^2)/2A_s^2 = c/2A_s^2`, moves to the drift. The
    photon operator is :math:`a = A_s(c + is)` in symmetric order, so vacuum has variance
    :math:`1/4A_s^2` in c and in s; runs start from it. Time is in lifetimes of the field, and a
    round trip lasts `time_step` of them.

    Parameters
    ----------
    saturation : float
        :math:`A_s`; a lone oscillator at p = 2 holds about :math:`A_s^2` photons.
    ordering_corrections : bool
        True for the Wigner function of the master equation, truncated at second derivatives;
        False for the c-number Langevin equation of Wang et al.
    coupling_gain : float
        Dimensionless g.
    coupling_loss : float
        j, the loss rate of the field in the beam splitters of the delay lines, in units of the
        cavity's own; each splitter lets vacuum in.
    time_step : float
        dt of a round trip, in lifetimes of the field.
    interpretation : {"ito", "stratonovich"}
        Sense in which the equation is written: that of the integrator.
    integrator : Integrator
        Anything but `LinearlyImplicitEuler`.
    precision : {"single", "double"}
        Of the state and of the product.

    Raises
    ------
    ValueError
        A parameter out of its range, or an integrator that does not suit. With ordering
        corrections, :math:`A_s^2(1 + j) < 1` is: the diffusion would be negative.

    Notes
    -----
    A step of `StrangSplitting`: half a step of `lone_flow`, which is exact; an Euler-Maruyama
    kick by couplings and noise; half a step of `lone_flow`. Its strong order is 1/2, that of
    Euler-Maruyama for noise that depends on the state and does not commute. The order in dt of
    a lone oscillator's moments is formally 1, with a coefficient of order :math:`1/A_s^2`;
    without noise its step is exact, and that of coupled oscillators has an error of order
    :math:`(\xi\lambda)^2dt`, :math:`\lambda` an eigenvalue of J. Amplitudes stay finite however
    strong the couplings are.

    Against the master equation of one oscillator the corrected model holds for
    :math:`1/A_s^2 \lesssim 0.1`. Noise of different oscillators is taken to be independent, as
    in the literature; that of splitters with :math:`J \ne 0` has the covariance
    :math:`\tfrac12[(1 + j)\delta_{ij} - \xi J_{ij}]`, which `PositiveP` respects.
    """

    saturation: float = 100.0
    ordering_corrections: bool = True
    coupling_gain: float = 0.5
    coupling_loss: float = 0.0
    time_step: float = 0.05
    interpretation: Interpretation = "ito"
    integrator: Integrator[SplitEquation] = StrangSplitting()  # noqa: RUF009  frozen
    precision: Precision = "single"

    def __post_init__(self) -> None:
        checks = {
            "saturation": 0 < self.saturation < math.inf and self.vacuum >= 0,
            "coupling_gain": 0 <= self.coupling_gain < math.inf,
            "coupling_loss": 0 <= self.coupling_loss < math.inf,
            "time_step": 0 < self.time_step < math.inf,
            "interpretation": self.interpretation in {"ito", "stratonovich"},
            "precision": self.precision in {"single", "double"},
        }
        check_options(self, checks)
        check_integrator(self.integrator, equation=WaveBlock, interpretation=self.interpretation)

    @property
    def correction(self) -> float:
        r"""The ordering correction :math:`\epsilon`."""
        return self.saturation**-2 if self.ordering_corrections else 0.0

    @property
    def loss(self) -> float:
        r"""Rate at which amplitudes fall without pump and saturation, in the equation's sense."""
        stratonovich = 0.5 * self.saturation**-2 if self.interpretation == "stratonovich" else 0.0
        return 1 + self.coupling_loss - self.correction + stratonovich

    @property
    def vacuum(self) -> float:
        r"""What vacuum adds to :math:`c^2 + s^2` under the root of the noise."""
        return 0.5 * (1 + self.coupling_loss - self.correction)

    @property
    def largest_code(self) -> float | None:
        """None: amplitudes are coupled as they are."""
        return None

    @property
    def has_field(self) -> bool:
        """Never: light couples pulses only with each other."""
        return False

    def start(self, inputs: JobInputs, *, first_run: int, n_runs: int) -> WaveBlock:
        """Return a block of runs in vacuum."""
        return WaveBlock(self, inputs, first_run, n_runs)

    def kick_constants(self, coupling_unit: float) -> KickConstants:
        """Return the scalars of a kick."""
        scalar = state_dtype(self.precision).type
        return KickConstants(
            coupling=scalar(self.coupling_gain * coupling_unit * self.time_step),
            noise=scalar(math.sqrt(self.time_step) / self.saturation),
            vacuum=scalar(self.vacuum),
        )

    def rate_constants(self, pump: float) -> RateConstants:
        """Return the scalars of the drift."""
        scalar = state_dtype(self.precision).type
        return RateConstants(
            time_step=scalar(self.time_step),
            net_c=scalar(pump - self.loss),
            net_s=scalar(-pump - self.loss),
        )

    def flow_constants(self, pump: float) -> FlowConstants:
        """Return the scalars of a flow over half a step."""
        scalar, time = state_dtype(self.precision).type, 0.5 * self.time_step
        rates = {"c": pump - self.loss, "s": -pump - self.loss}
        scalars: dict[str, float] = {"one": 1.0}
        for name, rate in rates.items():
            scalars[f"gain_{name}"] = math.exp(rate * time)
            scalars[f"depletion_{name}"] = math.expm1(2 * rate * time) / rate if rate else 2 * time
        return FlowConstants(**{name: scalar(value) for name, value in scalars.items()})


class WaveBlock(Block, SplitEquation):
    """A block of runs of coupled oscillators with quantum noise.

    Attributes
    ----------
    c, s : array, shape (n, runs)
        In-phase and quadrature amplitudes: views of one array, so that one product with the
        couplings serves both.
    """

    def __init__(
        self, dynamics: TruncatedWigner, inputs: JobInputs, first_run: int, n_runs: int
    ) -> None:
        dtype = state_dtype(dynamics.precision)
        self.state = np.empty((inputs.n_spins, 2 * n_runs), dtype)
        self.c, self.s = self.state[:, :n_runs], self.state[:, n_runs:]
        fill_two_noises(self.state, inputs.key, 0, first_run)
        self.state *= dtype.type(0.5 / dynamics.saturation)
        self._product = np.zeros(self.state.shape, inputs.coupling.dtype)
        self._noise = np.zeros_like(self.state)
        self._inputs, self._dynamics, self._first_run = inputs, dynamics, first_run
        self._kick = dynamics.kick_constants(inputs.coupling.unit)
        self._flow = dynamics.flow_constants(0.0)
        self._step = 1  # step 0 of the noise is the initial state

    def advance(self, pump: float) -> None:
        """Make one step."""
        self._dynamics.integrator.step(self, pump)
        self._step += 1

    def amplitudes(self) -> NDArray[Any]:
        """Return c."""
        return self.c

    def draw(self) -> None:
        """Draw the noise of a step, the same whatever the integrator."""
        fill_two_noises(self._noise, self._inputs.key, self._step, self._first_run)

    def increment(self, state: NDArray[Any], pump: float, out: NDArray[Any]) -> None:
        """Write the change of all amplitudes in a step."""
        self._inputs.coupling.multiply(state, self._product)
        constants = self._dynamics.rate_constants(pump), self._kick
        increment_waves(state, self._product, self._noise, out, constants)

    def flow(self, pump: float) -> None:
        """Let every oscillator run alone for half a step."""
        self._flow = self._dynamics.flow_constants(pump)
        flow_waves(self.state, self._flow)

    def kick_and_flow(self) -> None:
        """Add couplings and noise as Euler and Maruyama would, then let every one run alone."""
        self._inputs.coupling.multiply(self.state, self._product)
        kick_waves(
            self.state,
            self._product,
            self._noise[0],
            self._inputs.key,
            self._step,
            self._first_run,
            self._kick,
            self._flow,
        )
