r"""The positive-P representation: what the master equation says, by sampling.

References
----------
Drummond, Gardiner, J. Phys. A 13, 2353 (1980), doi:10.1088/0305-4470/13/7/018 (the method).
Wolinsky, Carmichael, Phys. Rev. Lett. 60, 1836 (1988), doi:10.1103/PhysRevLett.60.1836 (the
bounded manifold of the parametric oscillator).
Inui, Yamamoto, arXiv:2009.10328 (coupled oscillators).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emulator.dynamics.base import Block, Dynamics, JobInputs, Precision, check_options
from emulator.dynamics.pairs import PairConstants, amplify_pairs, increment_pairs, kick_pairs
from emulator.dynamics.two_noises import fill_two_noises
from emulator.integrators import (
    Integrator,
    Interpretation,
    SplitEquation,
    StrangSplitting,
    check_integrator,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PositiveP", "PositivePBlock", "PositivePMoments"]


class PositivePMoments(NamedTuple):
    r"""Second moments in normal order, averaged over runs.

    Attributes
    ----------
    photons : float64 array, shape (n, n)
        :math:`\langle a_i^\dagger a_j\rangle`.
    pairs : float64 array, shape (n, n)
        :math:`\langle a_i a_j\rangle`.
    """

    photons: NDArray[np.float64]
    pairs: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PositiveP(Dynamics):
    r"""Pairs of real amplitudes whose averages are those of the master equation.

    .. math:: d\alpha_i &= \Big[-(1 + j)\alpha_i + \beta_i(p - \alpha_i^2/A_s^2)
              + \xi\sum_j J_{ij}\alpha_j\Big]dt + \sqrt{p - \alpha_i^2/A_s^2}\;dW_i \\
              d\beta_i &= \Big[-(1 + j)\beta_i + \alpha_i(p - \beta_i^2/A_s^2)
              + \xi\sum_j J_{ij}\beta_j\Big]dt + \sqrt{p - \beta_i^2/A_s^2}\;dW'_i

    in the sense of Itô, with :math:`\xi = g/|J|` (`CouplingMatrix`) and
    :math:`\langle a_i^{\dagger m}a_j^n\rangle = \langle\beta_i^m\alpha_j^n\rangle`, belong to

    .. math:: \dot\rho = \sum_i\Big(\tfrac p2[a_i^{\dagger2} - a_i^2, \rho]
              + A_s^{-2}\mathcal D[a_i^2]\rho\Big)
              + 2\sum_{ij}\Gamma_{ij}\Big(a_j\rho a_i^\dagger
              - \tfrac12\{a_i^\dagger a_j, \rho\}\Big),
              \qquad \Gamma_{ij} = (1 + j)\delta_{ij} - \xi J_{ij}

    The pump field is eliminated, the coupling is by lossy splitters, and nothing is truncated:
    this is the reference for `TruncatedWigner`, for few oscillators and few photons, as
    averages converge slowly where the two states of an oscillator are well separated.

    Parameters
    ----------
    saturation : float
        :math:`A_s \ge 1`; a lone oscillator at p = 2 holds about :math:`A_s^2` photons.
    coupling_gain : float
        Dimensionless g.
    coupling_loss : float
        j, the loss rate of the field in the splitters, in units of the cavity's own.
    time_step : float
        dt of a round trip, in lifetimes of the field.
    interpretation : {"ito", "stratonovich"}
        Sense in which the equation is written: that of the integrator. In Stratonovich's, the
        same law has :math:`1/2A_s^2` less loss.
    integrator : Integrator
        Anything but `LinearlyImplicitEuler`.

    Raises
    ------
    ValueError
        A parameter out of its range, or an integrator that does not suit.

    Notes
    -----
    From vacuum, and while the pump does not decrease, all is real and
    :math:`|\alpha_i|, |\beta_i| \le A_s\sqrt p`. The state is :math:`u = \alpha/A_s\sqrt p =
    \sin\theta`, in which the noise is additive, of width :math:`1/A_s`. A step of
    `StrangSplitting`: half a step of gain (`pairs.amplified`), half a step of loss, noise, loss,
    gain, each exact; couplings enter once. Strong order 1, weak order 2 without couplings and 1
    with them. Other integrators step u itself, and stop it at the edge of the manifold.
    """

    saturation: float = 10.0
    coupling_gain: float = 0.0
    coupling_loss: float = 0.0
    time_step: float = 0.05
    interpretation: Interpretation = "ito"
    integrator: Integrator[SplitEquation] = StrangSplitting()  # noqa: RUF009  frozen
    precision: Precision = field(default="double", init=False)

    def __post_init__(self) -> None:
        checks = {
            "saturation": 1 <= self.saturation < math.inf,
            "coupling_gain": 0 <= self.coupling_gain < math.inf,
            "coupling_loss": 0 <= self.coupling_loss < math.inf,
            "time_step": 0 < self.time_step < math.inf,
            "interpretation": self.interpretation in {"ito", "stratonovich"},
        }
        check_options(self, checks)
        check_integrator(
            self.integrator, equation=PositivePBlock, interpretation=self.interpretation
        )

    @property
    def loss(self) -> float:
        """Loss rate of the field in the sense of `interpretation`."""
        stratonovich = 0.5 / self.saturation**2 if self.interpretation == "stratonovich" else 0.0
        return 1 + self.coupling_loss - stratonovich

    @property
    def largest_code(self) -> float | None:
        """None: amplitudes are coupled as they are."""
        return None

    @property
    def has_field(self) -> bool:
        """Never: light couples pulses only with each other."""
        return False

    def start(self, inputs: JobInputs, *, first_run: int, n_runs: int) -> PositivePBlock:
        r"""Return a block of runs in vacuum.

        Raises
        ------
        ValueError
            Couplings are stronger than the loss they need: a row of :math:`\xi|J_{ij}|` has a
            sum above :math:`1 + j - A_s^{-2}`, and paths could reach the edge of the manifold.
        """
        return PositivePBlock(self, inputs, first_run, n_runs)


class PositivePBlock(Block, SplitEquation):
    r"""A block of runs in the positive-P representation.

    Attributes
    ----------
    u, v : float64 array, shape (n, runs)
        Amplitudes over their bound: alpha and beta are :math:`A_s\sqrt p` times these.
    pump : float
        p of the last round trip.
    """

    def __init__(self, dynamics: PositiveP, inputs: JobInputs, first_run: int, n_runs: int) -> None:
        self._coupling = dynamics.coupling_gain * inputs.coupling.unit
        strongest = self._coupling * _largest_row_sum(inputs)
        most = 1 + dynamics.coupling_loss - dynamics.saturation**-2
        if strongest > most:
            raise ValueError(
                f"couplings add up to {strongest:.3g} in a row; loss allows {most:.3g}"
            )
        self.state = np.zeros((inputs.n_spins, 2 * n_runs))
        self.u, self.v = self.state[:, :n_runs], self.state[:, n_runs:]
        self.pump, self.bound = 0.0, 1.0
        self._product = np.zeros_like(self.state)
        self._noise = np.zeros_like(self.state)
        self._width = math.sqrt(dynamics.time_step) / dynamics.saturation
        self._inputs, self._dynamics, self._first_run = inputs, dynamics, first_run
        self._step = 0

    def advance(self, pump: float) -> None:
        """Make one step.

        Raises
        ------
        ValueError
            The pump is below that of the round trip before.
        """
        if pump < self.pump:
            raise ValueError(f"pump = {pump} after {self.pump}: the real manifold only grows")
        if pump > self.pump:
            self.state *= math.sqrt(self.pump / pump)
        self.pump = pump
        self._dynamics.integrator.step(self, pump)
        self._step += 1

    def draw(self) -> None:
        """Draw the noise of a step, the same whatever the integrator."""
        fill_two_noises(self._noise, self._inputs.key, self._step, self._first_run)

    def increment(self, state: NDArray[Any], pump: float, out: NDArray[Any]) -> None:
        """Write the change of all amplitudes in a step."""
        dynamics, dt = self._dynamics, self._dynamics.time_step
        constants = PairConstants(
            time_step=dt,
            pump=pump,
            loss=dynamics.loss,
            coupling=self._coupling * dt,
            noise=self._width,
        )
        self._inputs.coupling.multiply(state, self._product)
        increment_pairs(state, self._product, self._noise, out, constants)

    def flow(self, pump: float) -> None:
        """Let every oscillator gain for half a step."""
        angle = 0.5 * pump * self._dynamics.time_step
        amplify_pairs(self.state, math.cosh(angle), math.sinh(angle))

    def kick_and_flow(self) -> None:
        """Add loss, couplings and noise, which turns angles, and let every oscillator gain."""
        dt = self._dynamics.time_step
        # in Stratonovich's sense, as a turn is, noise takes 1 / (2 A_s^2) off the loss
        loss = self._dynamics.loss - 0.5 / self._dynamics.saturation**2
        self._inputs.coupling.multiply(self.state, self._product)
        kick_pairs(
            self.state,
            self._product,
            self._noise[0],
            self._inputs.key,
            self._step,
            self._first_run,
            self._coupling * dt,
            math.exp(-0.5 * loss * dt),
            self._width,
        )
        self.flow(self.pump)

    def amplitudes(self) -> NDArray[Any]:
        r"""Return :math:`(\alpha + \beta)/2A_s`, whose mean is that of the in-phase amplitude."""
        return 0.5 * math.sqrt(self.pump) * (self.u + self.v)

    def moments(self) -> PositivePMoments:
        """Return second moments of the field, averaged over runs."""
        photons_per_unit = self._dynamics.saturation**2 * self.pump / self.u.shape[1]
        return PositivePMoments(
            photons=photons_per_unit * (self.v @ self.u.T),
            pairs=photons_per_unit * (self.u @ self.u.T),
        )


def _largest_row_sum(inputs: JobInputs) -> float:
    J = np.empty((inputs.n_spins, inputs.n_spins))
    inputs.coupling.multiply(np.eye(inputs.n_spins), J)
    return float(np.abs(J).sum(axis=1).max())
