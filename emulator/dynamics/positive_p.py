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

from emulator.dynamics import shared_options as shared
from emulator.dynamics.base import Block, Dynamics, JobInputs, Precision
from emulator.integrators import (
    Integrator,
    Interpretation,
    SplitEquation,
    StrangSplitting,
    check_integrator,
)
from emulator.kernel import inlined, kernel
from emulator.noise import Draw, fill_two_noises, fill_two_normals
from emulator.options import NON_NEGATIVE, Interval, documented, option

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PositiveP", "PositivePBlock", "PositivePMoments", "amplified"]

# Arrays of the kernels are float64 and have shape (n, 2 runs), u before v. Amplitudes u and v are
# alpha and beta over A_s sqrt(p), and never beyond 1.


class PairConstants(NamedTuple):
    """Scalars of `increment_pairs`."""

    time_step: float
    pump: float
    loss: float
    coupling: float
    noise: float


@inlined
def pair_drift(u: float, v: float, c: PairConstants) -> float:
    r"""Return :math:`p\,v\,(1 - u^2) - \ell u`, the drift of u without couplings."""
    return c.pump * v * (1.0 - u * u) - c.loss * u


@inlined
def pair_width(u: float, c: PairConstants) -> float:
    r"""Return :math:`\sqrt{1 - u^2}\,\sqrt{dt}/A_s`."""
    return c.noise * math.sqrt(max(1.0 - u * u, 0.0))


@inlined
def amplified(u: float, v: float, cosh: float, sinh: float) -> tuple[Any, Any]:
    r"""Return u and v after gain alone, for cosh and sinh of p times the time, exactly.

    .. math:: \dot u = p\,v\,(1 - u^2),\quad \dot v = p\,u\,(1 - v^2)
              \;\Rightarrow\; u \to \frac{m}{\sqrt{1 - u^2 + m^2}},\quad
              m = u\cosh p\tau + v\sinh p\tau
    """
    m, n = u * cosh + v * sinh, v * cosh + u * sinh
    return m / math.sqrt(1.0 - u * u + m * m), n / math.sqrt(1.0 - v * v + n * n)


@inlined
def turned(u: float, angle: float) -> float:
    r"""Return :math:`\sin(\arcsin u + \text{angle})`, reflected where the angle passes a pole."""
    return u * math.cos(angle) + math.sqrt(1.0 - u * u) * math.sin(angle)


@kernel
def increment_pairs(
    pairs: NDArray[Any],
    product: NDArray[Any],
    noise: NDArray[Any],
    out: NDArray[Any],
    c: PairConstants,
) -> None:
    """Write the change of every amplitude in an explicit step; `noise` is of unit width."""
    runs = pairs.shape[1] // 2
    for i in range(len(pairs)):
        u, v, change = pairs[i, :runs], pairs[i, runs:], out[i]
        for r in range(runs):
            change[r] = c.time_step * pair_drift(u[r], v[r], c) + pair_width(u[r], c) * noise[i, r]
            change[runs + r] = (
                c.time_step * pair_drift(v[r], u[r], c) + pair_width(v[r], c) * noise[i, runs + r]
            )
        for r in range(2 * runs):
            change[r] += c.coupling * product[i, r]


@kernel
def amplify_pairs(pairs: NDArray[Any], cosh: float, sinh: float) -> None:
    """Let every oscillator gain."""
    runs = pairs.shape[1] // 2
    for i in range(len(pairs)):
        u, v = pairs[i, :runs], pairs[i, runs:]
        for r in range(runs):
            u[r], v[r] = amplified(u[r], v[r], cosh, sinh)


@kernel
def kick_pairs(
    pairs: NDArray[Any],
    product: NDArray[Any],
    noise: NDArray[Any],
    draw: Draw,
    coupling: float,
    kept: float,
    width: float,
) -> None:
    """Add couplings and noise between two half steps of loss, `kept` of each.

    `noise` (2 runs,) is scratch.
    """
    runs = pairs.shape[1] // 2
    for i in range(len(pairs)):
        fill_two_normals(draw, i, noise[:runs], noise[runs:])
        row, products = pairs[i], product[i]
        for r in range(2 * runs):
            coupled = kept * row[r] + coupling * products[r]
            # the continuous paths stay inside; a step of coupling can overshoot by O(dt^2)
            inside = min(max(coupled, -1.0), 1.0)
            row[r] = kept * turned(inside, width * noise[r])


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


def _largest_row_sum(inputs: JobInputs) -> float:
    J = np.empty((inputs.n_spins, inputs.n_spins))
    inputs.coupling.multiply(np.eye(inputs.n_spins), J)
    return float(np.abs(J).sum(axis=1).max())


class PositivePBlock(Block, SplitEquation):
    r"""A block of runs in the positive-P representation.

    Attributes
    ----------
    u, v : float64 array, shape (n, runs)
        Amplitudes over their bound: alpha and beta are :math:`A_s\sqrt p` times these.
    pump : float
        p of the last round trip.

    Raises
    ------
    ValueError
        Couplings are stronger than the loss they need: a row of :math:`\xi|J_{ij}|` has a sum above
        :math:`1 + j - A_s^{-2}`, and paths could reach the edge of the manifold.
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
        self._inputs, self._dynamics = inputs, dynamics
        self._draw = Draw(inputs.key, 0, first_run)

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
        self._draw = self._draw.after(1)

    def draw(self) -> None:
        """Draw the noise of a step, the same whatever the integrator."""
        fill_two_noises(self._draw, self._noise)

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
            self._draw,
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


@documented
@dataclass(frozen=True, kw_only=True)
class PositiveP(Dynamics):
    r"""Pairs of real amplitudes whose averages are those of the master equation.

    .. math:: d\alpha_i &= \Big[-(1 + j)\alpha_i + \beta_i(p - \alpha_i^2/A_s^2)
              + \xi\sum_j J_{ij}\alpha_j\Big]dt + \sqrt{p - \alpha_i^2/A_s^2}\;dW_i \\
              d\beta_i &= \Big[-(1 + j)\beta_i + \alpha_i(p - \beta_i^2/A_s^2)
              + \xi\sum_j J_{ij}\beta_j\Big]dt + \sqrt{p - \beta_i^2/A_s^2}\;dW'_i

    in the sense of Itô, with :math:`\xi = g/|J|` (``CouplingMatrix``) and
    :math:`\langle a_i^{\dagger m}a_j^n\rangle = \langle\beta_i^m\alpha_j^n\rangle`, belong to

    .. math:: \dot\rho = \sum_i\Big(\tfrac p2[a_i^{\dagger2} - a_i^2, \rho]
              + A_s^{-2}\mathcal D[a_i^2]\rho\Big)
              + 2\sum_{ij}\Gamma_{ij}\Big(a_j\rho a_i^\dagger
              - \tfrac12\{a_i^\dagger a_j, \rho\}\Big),
              \qquad \Gamma_{ij} = (1 + j)\delta_{ij} - \xi J_{ij}

    The pump field is eliminated, the coupling is by lossy splitters, and nothing is truncated:
    this is the reference for `TruncatedWigner`, for few oscillators and few photons, as
    averages converge slowly where the two states of an oscillator are well separated.

    Raises
    ------
    ValueError
        A parameter out of its range, or an integrator that does not suit.

    Notes
    -----
    From vacuum, and while the pump does not decrease, all is real and
    :math:`|\alpha_i|, |\beta_i| \le A_s\sqrt p`. The state is :math:`u = \alpha/A_s\sqrt p =
    \sin\theta`, in which the noise is additive, of width :math:`1/A_s`. A step of
    `StrangSplitting`: half a step of gain (`amplified`), half a step of loss, noise, loss,
    gain, each exact; couplings enter once. Strong order 1, weak order 2 without couplings and 1
    with them. Other integrators step u itself, and stop it at the edge of the manifold.
    """

    saturation: float = shared.saturation(10.0, within=Interval(1, math.inf, includes_high=False))
    # not to be set by a job: couplings are bounded by the loss, and how much that allows depends
    # on the model
    coupling_gain: float = option(
        0.0, within=NON_NEGATIVE, symbol="g", doc="Strength of the couplings, dimensionless."
    )
    coupling_loss: float = shared.coupling_loss()
    time_step: float = shared.time_step(0.05, low=0.005, high=1.0)
    interpretation: Interpretation = shared.interpretation()
    integrator: Integrator[SplitEquation] = option(
        StrangSplitting(), doc="Anything but `LinearlyImplicitEuler`."
    )
    precision: Precision = field(default="double", init=False)

    has_field = False  # light couples pulses only with each other
    block = PositivePBlock

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integrator(
            self.integrator, equation=PositivePBlock, interpretation=self.interpretation
        )

    @property
    def loss(self) -> float:
        """Loss rate of the field in the sense of `interpretation`."""
        stratonovich = 0.5 / self.saturation**2 if self.interpretation == "stratonovich" else 0.0
        return 1 + self.coupling_loss - stratonovich
