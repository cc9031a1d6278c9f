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
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emulator.dynamics import shared_options as shared
from emulator.dynamics.base import Block, Dynamics, JobInputs, Precision
from emulator.dynamics.splitters import SharedVacuum, SplitterNoise, splitter_noise
from emulator.integrators import (
    Integrator,
    Interpretation,
    SplitEquation,
    StrangSplitting,
    check_integrator,
)
from emulator.kernel import inlined, kernel
from emulator.noise import Draw, fill_two_noises, fill_two_normals
from emulator.options import documented, option, out_of_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.products.coupling import CouplingMatrix

__all__ = ["TruncatedWigner", "WaveBlock"]

# Arrays of the kernels have shape (n, 2 runs), in-phase amplitudes before quadratures.


class RateConstants(NamedTuple):
    """Scalars of `increment_waves`, all of the state's dtype."""

    time_step: float
    net_c: float
    net_s: float


class FlowConstants(NamedTuple):
    """Scalars of `lone_flow`, all of the state's dtype."""

    one: float
    gain_c: float
    gain_s: float
    depletion_c: float
    depletion_s: float


class KickConstants(NamedTuple):
    """Scalars of couplings and noise, all of the state's dtype and for one step.

    Of the noise the part `before` enters before the couplings act, and is spread by them, and the
    part `after` behind them.
    """

    coupling: float
    noise: float
    before: float
    after: float


class Kicks(NamedTuple):
    """What enters a step: arrays (n, 2 runs), but `vacuum` (n,), that of `SplitterNoise`.

    `splitters` is the noise of splitters that pulses share, of variance 1/2 or less.
    """

    product: NDArray[Any]
    splitters: NDArray[Any]
    vacuum: NDArray[Any]


@inlined
def wave_drift(amplitude: float, square: float, net_gain: float) -> float:
    r"""Return :math:`(\pm p - 1 - j - c^2 - s^2)` times an amplitude, c or s, without couplings."""
    return (net_gain - square) * amplitude


@inlined
def noise_width(c: float, s: float, vacuum: float, k: KickConstants) -> float:
    r"""Return :math:`\sqrt{c^2 + s^2 + v}\,\sqrt{dt}/A_s`, the same for both amplitudes."""
    return k.noise * math.sqrt(c * c + s * s + vacuum)


@inlined
def lone_flow(c: float, s: float, f: FlowConstants) -> tuple[Any, Any]:
    r"""Return c and s after a time :math:`\tau` of `wave_drift`, exactly.

    .. math:: \dot c = (a - c^2 - s^2)\,c,\quad \dot s = (b - c^2 - s^2)\,s
              \;\Rightarrow\; \frac{(c\,e^{a\tau},\ s\,e^{b\tau})}
              {\sqrt{1 + c^2(e^{2a\tau} - 1)/a + s^2(e^{2b\tau} - 1)/b}}
    """
    left = f.one / math.sqrt(f.one + f.depletion_c * c * c + f.depletion_s * s * s)
    return left * f.gain_c * c, left * f.gain_s * s


@kernel
def increment_waves(
    waves: NDArray[Any],
    kicks: Kicks,
    noise: NDArray[Any],
    out: NDArray[Any],
    constants: tuple[RateConstants, KickConstants],
) -> None:
    """Write the change of every amplitude in an explicit step to `out`; `noise` is of unit width.

    All arrays have shape (n, 2 runs).
    """
    rate, kick = constants
    runs = waves.shape[1] // 2
    square, width = np.empty_like(waves[0, :runs]), np.empty_like(waves[0, :runs])
    for i in range(len(waves)):
        for r in range(runs):
            c, s = waves[i, r], waves[i, runs + r]
            square[r] = c * c + s * s
            width[r] = noise_width(c, s, kicks.vacuum[i], kick)
        for side, net_gain in enumerate((rate.net_c, rate.net_s)):
            part = slice(side * runs, (side + 1) * runs)
            row, normals, change = waves[i, part], noise[i, part], out[i, part]
            for r in range(runs):
                slope = wave_drift(row[r], square[r], net_gain)
                change[r] = rate.time_step * slope + width[r] * normals[r]
        for r in range(2 * runs):
            splitters = kick.noise * kicks.splitters[i, r]
            out[i, r] += kick.coupling * kicks.product[i, r] + splitters


@kernel
def flow_waves(waves: NDArray[Any], f: FlowConstants) -> None:
    """Let every oscillator run alone; `waves` (n, 2 runs)."""
    runs = waves.shape[1] // 2
    for i in range(len(waves)):
        row = waves[i]
        c, s = row[:runs], row[runs:]
        for r in range(runs):
            c[r], s[r] = lone_flow(c[r], s[r], f)


@kernel
def draw_noise(
    waves: NDArray[Any], kicks: Kicks, noise: NDArray[Any], draw: Draw, k: KickConstants
) -> None:
    """Write the noise of a step to `noise` (n, 2 runs), and add its part `before` to `waves`."""
    runs = waves.shape[1] // 2
    for i in range(len(waves)):
        row, change, splitters = waves[i], noise[i], kicks.splitters[i]
        c, s, vacuum = row[:runs], row[runs:], kicks.vacuum[i]
        noise_c, noise_s = change[:runs], change[runs:]
        fill_two_normals(draw, i, noise_c, noise_s)
        # loops of at most four arrays each: they vectorize
        for r in range(runs):
            width = noise_width(c[r], s[r], vacuum, k)
            noise_c[r] *= width
            noise_s[r] *= width
        for r in range(2 * runs):
            change[r] += k.noise * splitters[r]
            row[r] += k.before * change[r]


@kernel
def kick_waves(
    waves: NDArray[Any],
    product: NDArray[Any],
    noise: NDArray[Any],
    k: KickConstants,
    f: FlowConstants,
) -> None:
    """Add couplings and the rest of the noise, then let every oscillator run alone.

    All arrays have shape (n, 2 runs).
    """
    runs = waves.shape[1] // 2
    for i in range(len(waves)):
        row, products, change = waves[i], product[i], noise[i]
        c, s = row[:runs], row[runs:]
        for r in range(2 * runs):
            row[r] += k.coupling * products[r] + k.after * change[r]
        for r in range(runs):
            c[r], s[r] = lone_flow(c[r], s[r], f)


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
        dtype = dynamics.dtype
        self.state = np.empty((inputs.n_spins, 2 * n_runs), dtype)
        self.c, self.s = self.state[:, :n_runs], self.state[:, n_runs:]
        # step 0 of the noise is the initial state
        fill_two_noises(Draw(inputs.key, 0, first_run), self.state)
        self.state *= dtype.type(0.5 / dynamics.saturation)
        splitters = inputs.once(lambda: dynamics.splitters(inputs.coupling))
        self._shared = SharedVacuum(splitters, n_runs)
        product = np.zeros(self.state.shape, inputs.coupling.dtype)
        self._kicks = Kicks(product, self._shared.values, splitters.vacuum)
        self._noise = np.zeros_like(self.state)
        self._inputs, self._dynamics = inputs, dynamics
        self._draw = Draw(inputs.key, 1, first_run)
        self._kick = dynamics.kick_constants(inputs.coupling.unit)
        self._flow = dynamics.flow_constants(0.0)

    def advance(self, pump: float) -> None:
        """Make one step."""
        self._dynamics.integrator.step(self, pump)
        self._draw = self._draw.after(1)

    def amplitudes(self) -> NDArray[Any]:
        """Return c."""
        return self.c

    def draw(self) -> None:
        """Draw the noise of a step, the same whatever the integrator."""
        fill_two_noises(self._draw, self._noise)
        self._shared.draw(self._draw)

    def increment(self, state: NDArray[Any], pump: float, out: NDArray[Any]) -> None:
        """Write the change of all amplitudes in a step."""
        self._inputs.coupling.multiply(state, self._kicks.product)
        constants = self._dynamics.rate_constants(pump), self._kick
        increment_waves(state, self._kicks, self._noise, out, constants)

    def flow(self, pump: float) -> None:
        """Let every oscillator run alone for half a step."""
        self._flow = self._dynamics.flow_constants(pump)
        flow_waves(self.state, self._flow)

    def kick_and_flow(self) -> None:
        """Add couplings and noise as Euler and Maruyama would, then let every one run alone."""
        self._shared.draw(self._draw)
        draw_noise(self.state, self._kicks, self._noise, self._draw, self._kick)
        self._inputs.coupling.multiply(self.state, self._kicks.product)
        kick_waves(self.state, self._kicks.product, self._noise, self._kick, self._flow)


@documented
@dataclass(frozen=True, kw_only=True)
class TruncatedWigner(Dynamics):
    r"""In-phase and quadrature amplitudes under gain, loss, saturation, coupling and noise.

    .. math:: dc_i &= \Big[(p - 1 - j - c_i^2 - s_i^2 + \epsilon)\,c_i
              + \xi\sum_j J_{ij}c_j\Big]dt
              + \tfrac{1}{A_s}\Big[\sqrt{c_i^2 + s_i^2}\;dW^c_i + dV^c_i\Big] \\
              ds_i &= \Big[(-p - 1 - j - c_i^2 - s_i^2 + \epsilon)\,s_i
              + \xi\sum_j J_{ij}s_j\Big]dt
              + \tfrac{1}{A_s}\Big[\sqrt{c_i^2 + s_i^2}\;dW^s_i + dV^s_i\Big] \\
              dV^c_i\,dV^c_j &= dV^s_i\,dV^s_j
              = \tfrac12\big[(1 + j - \epsilon)\,\delta_{ij} - \xi J_{ij}\big]\,dt

    in the sense of Itô, with :math:`\xi = g/|J|` and :math:`|J|` the norm of a weakly coupled row
    (``CouplingMatrix``), and :math:`\epsilon = 1/A_s^2` with `ordering_corrections`, else 0. In the
    sense of Stratonovich the same law has :math:`1/2A_s^2` more loss: half the derivative of the
    diffusion, :math:`\tfrac12\partial_c(c^2 + s^2)/2A_s^2 = c/2A_s^2`, moves to the drift. The
    photon operator is :math:`a = A_s(c + is)` in symmetric order, so vacuum has variance
    :math:`1/4A_s^2` in c and in s; runs start from it. Time is in lifetimes of the field, and a
    round trip lasts `time_step` of them.

    Raises
    ------
    ValueError
        A parameter out of its range, or an integrator that does not suit. With ordering
        corrections, :math:`A_s^2(1 + j) < 1` is: the diffusion would be negative. At the start
        of a run: couplings give a mode more gain :math:`\xi\lambda` than
        :math:`1 + j - \epsilon`.

    Notes
    -----
    A step of `StrangSplitting`: half a step of `lone_flow`, which is exact; an Euler-Maruyama
    kick by couplings and noise; half a step of `lone_flow`. Its strong order is 1/2, that of
    Euler-Maruyama for noise that depends on the state and does not commute. The order in dt of
    a lone oscillator's moments is formally 1, with a coefficient of order :math:`1/A_s^2`;
    without noise its step is exact, and that of coupled oscillators has an error of order
    :math:`(\xi\lambda)^2dt`, :math:`\lambda` an eigenvalue of J. Amplitudes stay finite however
    strong the couplings are.

    V is the vacuum that splitters let in, correlated as their loss is (`splitter_noise`): without
    a pump vacuum stays vacuum, and no mode has less than its uncertainty. A step of
    `StrangSplitting` has that noise not only in the limit of short steps. With :math:`\ell = 1 + j
    - \epsilon` and :math:`K = e^{-\ell dt}(I + \xi J dt)`, by which a step multiplies amplitudes,
    it needs the covariance :math:`e^{\ell dt}(I - K)(I + K)/4A_s^2`. Of a noise of covariance
    :math:`I - K` therefore three quarters enter behind the couplings and a quarter of :math:`K`
    times it before, :math:`\sqrt{(I + K)/2} = (3I + K)/4 + O(I - K)^2`: the vacuum of a mode is
    right to :math:`(I - K)^2/16`, 0.0003 for a pair with the default options. Dense couplings cost
    a second product for it, sparse ones a noise for each pair that is coupled, where the couplings
    of a row add up to less than the loss.

    Against the master equation of one and of two oscillators the corrected model holds for
    :math:`1/A_s^2 \lesssim 0.1` (``emulator.reference``).
    """

    saturation: float = shared.saturation(100.0)
    ordering_corrections: bool = option(
        default=True,
        doc="""Whether to correct for the ordering of operators.
True for the Wigner function of the master equation, truncated at second derivatives; False for
the c-number Langevin equation of Wang et al.""",
    )
    coupling_gain: float = shared.coupling_gain(0.5)
    coupling_loss: float = shared.coupling_loss()
    time_step: float = shared.time_step(0.05, low=0.005, high=1.0)
    interpretation: Interpretation = shared.interpretation()
    integrator: Integrator[SplitEquation] = option(
        StrangSplitting(), doc="Anything but `LinearlyImplicitEuler`."
    )
    precision: Precision = shared.precision()

    has_field = False  # light couples pulses only with each other
    block = WaveBlock

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.passive_loss < 0:
            raise out_of_range(self, "saturation")
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
    def passive_loss(self) -> float:
        r"""Rate :math:`1 + j - \epsilon` at which vacuum replaces a lone oscillator's light."""
        return 1 + self.coupling_loss - self.correction

    def splitters(self, coupling: CouplingMatrix) -> SplitterNoise:
        """Return the vacuum that the splitters of these couplings let in."""
        strength, loss, scale = self.coupling_gain * coupling.unit, self.passive_loss, 1.0
        if isinstance(self.integrator, StrangSplitting):
            loss = math.expm1(loss * self.time_step) / self.time_step
            scale = self._root_share**2
        return splitter_noise(coupling, strength=strength, loss=loss, dtype=self.dtype, scale=scale)

    def kick_constants(self, coupling_unit: float) -> KickConstants:
        """Return the scalars of a kick."""
        coupling = self.coupling_gain * coupling_unit * self.time_step
        noise = math.sqrt(self.time_step) / self.saturation
        after = 0.75 / self._root_share
        return self.scalars(KickConstants(coupling, noise, 1 - after, after))

    @property
    def _root_share(self) -> float:
        r"""Return :math:`(3 + e^{-\ell\,dt})/4`, the root of a lone oscillator's noise."""
        return 0.75 + 0.25 * math.exp(-self.passive_loss * self.time_step)

    def rate_constants(self, pump: float) -> RateConstants:
        """Return the scalars of the drift."""
        return self.scalars(RateConstants(self.time_step, pump - self.loss, -pump - self.loss))

    def flow_constants(self, pump: float) -> FlowConstants:
        """Return the scalars of a flow over half a step."""
        time, rates = 0.5 * self.time_step, (pump - self.loss, -pump - self.loss)
        gains = (math.exp(rate * time) for rate in rates)
        depletions = (math.expm1(2 * rate * time) / rate if rate else 2 * time for rate in rates)
        return self.scalars(FlowConstants(1.0, *gains, *depletions))
