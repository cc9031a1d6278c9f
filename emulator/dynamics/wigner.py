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
from numba import njit

from emulator.dynamics.base import Block, Dynamics, Precision, Wiring, state_dtype
from emulator.noise import NoiseKey, fill_normal_pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "FlowConstants",
    "KickConstants",
    "TruncatedWigner",
    "WaveBlock",
    "fill_two_normals",
    "fill_vacuum",
    "flow_waves",
    "kick_waves",
    "lone_flow",
]

# A counter holds 16 bits of spin pair; here a spin takes the place of a pair.
_SPIN_BITS = 16
_SPIN_MASK = 2**_SPIN_BITS - 1


class FlowConstants(NamedTuple):
    """Scalars of `lone_flow`, all of the state's dtype."""

    one: Any
    gain_c: Any
    gain_s: Any
    depletion_c: Any
    depletion_s: Any


class KickConstants(NamedTuple):
    """Scalars of `kick_waves`, all of the state's dtype."""

    coupling: Any
    noise: Any
    vacuum: Any


@njit(inline="always")
def fill_two_normals(  # noqa: PLR0917  called from kernels
    key: NoiseKey,
    step: int,
    spin: int,
    first_run: int,
    first: NDArray[Any],
    second: NDArray[Any],
) -> None:
    """Fill two rows of noise for one spin, one value per run from `first_run` on.

    A step owns two round-trip counters, 2 `step` for the first 2^16 spins and 2 `step` + 1 for
    the next; under a counter, a spin takes the two values that a pair of spins has elsewhere.
    """
    counter = 2 * step + (spin >> _SPIN_BITS)
    fill_normal_pair(key, counter, spin & _SPIN_MASK, first_run, first, second)


@njit(cache=True, nogil=True)
def fill_vacuum(waves: NDArray[Any], key: NoiseKey, first_run: int, width: Any) -> None:
    """Fill `waves` (n, 2 runs) with normals of standard deviation `width`, those of step 0."""
    runs = waves.shape[1] // 2
    for i in range(len(waves)):
        row = waves[i]
        fill_two_normals(key, 0, i, first_run, row[:runs], row[runs:])
        for r in range(len(row)):
            row[r] *= width


@njit(inline="always")
def lone_flow(c: float, s: float, f: FlowConstants) -> tuple[Any, Any]:
    r"""Return c and s of a lone, noiseless oscillator after a time :math:`\tau`, exactly.

    .. math:: \dot c = (a - c^2 - s^2)\,c,\quad \dot s = (b - c^2 - s^2)\,s
              \;\Rightarrow\; \frac{(c\,e^{a\tau},\ s\,e^{b\tau})}
              {\sqrt{1 + c^2(e^{2a\tau} - 1)/a + s^2(e^{2b\tau} - 1)/b}}
    """
    left = f.one / math.sqrt(f.one + f.depletion_c * c * c + f.depletion_s * s * s)
    return left * f.gain_c * c, left * f.gain_s * s


@njit(cache=True, nogil=True, error_model="numpy")
def flow_waves(waves: NDArray[Any], f: FlowConstants) -> None:
    """Let every oscillator run alone; `waves` (n, 2 runs) holds c, then s."""
    runs = waves.shape[1] // 2
    for i in range(len(waves)):
        row = waves[i]
        c, s = row[:runs], row[runs:]
        for r in range(runs):
            c[r], s[r] = lone_flow(c[r], s[r], f)


@njit(cache=True, nogil=True, error_model="numpy")
def kick_waves(  # noqa: PLR0917  a kernel takes arrays
    waves: NDArray[Any],
    product: NDArray[Any],
    noise: NDArray[Any],
    key: NoiseKey,
    step: int,
    first_run: int,
    k: KickConstants,
    f: FlowConstants,
) -> None:
    r"""Add couplings and noise to every oscillator, then let it run alone.

    `waves` and `product` have shape (n, 2 runs), c before s; `noise` (2 runs,) is scratch.
    """
    runs = waves.shape[1] // 2
    noise_c, noise_s = noise[:runs], noise[runs:]
    for i in range(len(waves)):
        fill_two_normals(key, step, i, first_run, noise_c, noise_s)
        row, products = waves[i], product[i]
        c, s = row[:runs], row[runs:]
        # three loops, of at most four arrays each: they vectorize
        for r in range(runs):
            width = k.noise * math.sqrt(c[r] * c[r] + s[r] * s[r] + k.vacuum)
            noise_c[r] *= width
            noise_s[r] *= width
        for r in range(2 * runs):
            row[r] += k.coupling * products[r] + noise[r]
        for r in range(runs):
            c[r], s[r] = lone_flow(c[r], s[r], f)


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
    (`CouplingMatrix`), and :math:`\epsilon = 1/A_s^2` with `ordering_corrections`, else 0. The
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
    precision : {"single", "double"}
        Of the state and of the product.

    Raises
    ------
    ValueError
        A parameter out of its range. With ordering corrections, :math:`A_s^2(1 + j) < 1` is:
        the diffusion would be negative.

    Notes
    -----
    A step is a Strang splitting: half a step of `lone_flow`, which is exact; an Euler-Maruyama
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
    precision: Precision = "single"

    def __post_init__(self) -> None:
        checks = {
            "saturation": 0 < self.saturation < math.inf and self.vacuum >= 0,
            "coupling_gain": 0 <= self.coupling_gain < math.inf,
            "coupling_loss": 0 <= self.coupling_loss < math.inf,
            "time_step": 0 < self.time_step < math.inf,
            "precision": self.precision in {"single", "double"},
        }
        wrong = [name for name, is_right in checks.items() if not is_right]
        if wrong:
            raise ValueError(f"{wrong[0]} = {getattr(self, wrong[0])} is out of range")

    @property
    def correction(self) -> float:
        r"""The ordering correction :math:`\epsilon`."""
        return self.saturation**-2 if self.ordering_corrections else 0.0

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

    def start(self, wiring: Wiring, *, first_run: int, n_runs: int) -> WaveBlock:
        """Return a block of runs in vacuum."""
        return WaveBlock(self, wiring, first_run, n_runs)

    def kick_constants(self, coupling_unit: float) -> KickConstants:
        """Return the scalars of a kick."""
        scalar = state_dtype(self.precision).type
        return KickConstants(
            coupling=scalar(self.coupling_gain * coupling_unit * self.time_step),
            noise=scalar(math.sqrt(self.time_step) / self.saturation),
            vacuum=scalar(self.vacuum),
        )

    def flow_constants(self, pump: float) -> FlowConstants:
        """Return the scalars of a flow over half a step."""
        scalar, time = state_dtype(self.precision).type, 0.5 * self.time_step
        loss = 1 + self.coupling_loss - self.correction
        rates = {"c": pump - loss, "s": -pump - loss}
        scalars: dict[str, float] = {"one": 1.0}
        for name, rate in rates.items():
            scalars[f"gain_{name}"] = math.exp(rate * time)
            scalars[f"depletion_{name}"] = math.expm1(2 * rate * time) / rate if rate else 2 * time
        return FlowConstants(**{name: scalar(value) for name, value in scalars.items()})


class WaveBlock(Block):
    """A block of runs of coupled oscillators with quantum noise.

    Attributes
    ----------
    c, s : array, shape (n, runs)
        In-phase and quadrature amplitudes: views of one array, so that one product with the
        couplings serves both.
    """

    def __init__(
        self, dynamics: TruncatedWigner, wiring: Wiring, first_run: int, n_runs: int
    ) -> None:
        dtype = state_dtype(dynamics.precision)
        self._waves = np.empty((wiring.n_spins, 2 * n_runs), dtype)
        self.c, self.s = self._waves[:, :n_runs], self._waves[:, n_runs:]
        fill_vacuum(self._waves, wiring.key, first_run, dtype.type(0.5 / dynamics.saturation))
        self._product = np.zeros(self._waves.shape, wiring.coupling.dtype)
        self._scratch = np.zeros(2 * n_runs, dtype)
        self._wiring, self._dynamics, self._first_run = wiring, dynamics, first_run
        self._kick = dynamics.kick_constants(wiring.coupling.unit)
        self._step = 1  # step 0 of the noise is the initial state

    def advance(self, pump: float) -> None:
        """Make one step."""
        flow = self._dynamics.flow_constants(pump)
        flow_waves(self._waves, flow)
        self._wiring.coupling.multiply(self._waves, self._product)
        kick_waves(
            self._waves,
            self._product,
            self._scratch,
            self._wiring.key,
            self._step,
            self._first_run,
            self._kick,
            flow,
        )
        self._step += 1

    def amplitudes(self) -> NDArray[Any]:
        """Return c."""
        return self.c
