"""In-phase and quadrature amplitudes of oscillators: their equation, scalar by scalar.

Arrays have shape (n, 2 runs), in-phase amplitudes before quadratures.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from emulator.dynamics.two_noises import fill_two_normals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.noise import NoiseKey

__all__ = [
    "FlowConstants",
    "KickConstants",
    "RateConstants",
    "flow_waves",
    "increment_waves",
    "kick_waves",
    "lone_flow",
    "noise_width",
    "wave_drift",
]


class RateConstants(NamedTuple):
    """Scalars of `increment_waves`, all of the state's dtype."""

    time_step: Any
    net_c: Any
    net_s: Any


class FlowConstants(NamedTuple):
    """Scalars of `lone_flow`, all of the state's dtype."""

    one: Any
    gain_c: Any
    gain_s: Any
    depletion_c: Any
    depletion_s: Any


class KickConstants(NamedTuple):
    """Scalars of couplings and noise, all of the state's dtype and for one step."""

    coupling: Any
    noise: Any
    vacuum: Any


@njit(inline="always")
def wave_drift(amplitude: float, square: float, net_gain: float) -> float:
    r"""Return :math:`(\pm p - 1 - j - c^2 - s^2)` times an amplitude, c or s, without couplings."""
    return (net_gain - square) * amplitude


@njit(inline="always")
def noise_width(c: float, s: float, k: KickConstants) -> float:
    r"""Return :math:`\sqrt{c^2 + s^2 + v}\,\sqrt{dt}/A_s`, the same for both amplitudes."""
    return k.noise * math.sqrt(c * c + s * s + k.vacuum)


@njit(inline="always")
def lone_flow(c: float, s: float, f: FlowConstants) -> tuple[Any, Any]:
    r"""Return c and s after a time :math:`\tau` of `wave_drift`, exactly.

    .. math:: \dot c = (a - c^2 - s^2)\,c,\quad \dot s = (b - c^2 - s^2)\,s
              \;\Rightarrow\; \frac{(c\,e^{a\tau},\ s\,e^{b\tau})}
              {\sqrt{1 + c^2(e^{2a\tau} - 1)/a + s^2(e^{2b\tau} - 1)/b}}
    """
    left = f.one / math.sqrt(f.one + f.depletion_c * c * c + f.depletion_s * s * s)
    return left * f.gain_c * c, left * f.gain_s * s


@njit(cache=True, nogil=True, error_model="numpy")
def increment_waves(
    waves: NDArray[Any],
    product: NDArray[Any],
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
            width[r] = noise_width(c, s, kick)
        for side, net_gain in enumerate((rate.net_c, rate.net_s)):
            part = slice(side * runs, (side + 1) * runs)
            row, kicks, change = waves[i, part], noise[i, part], out[i, part]
            for r in range(runs):
                slope = wave_drift(row[r], square[r], net_gain)
                change[r] = rate.time_step * slope + width[r] * kicks[r]
        for r in range(2 * runs):
            out[i, r] += kick.coupling * product[i, r]


@njit(cache=True, nogil=True, error_model="numpy")
def flow_waves(waves: NDArray[Any], f: FlowConstants) -> None:
    """Let every oscillator run alone; `waves` (n, 2 runs)."""
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

    `waves` and `product` have shape (n, 2 runs); `noise` (2 runs,) is scratch.
    """
    runs = waves.shape[1] // 2
    noise_c, noise_s = noise[:runs], noise[runs:]
    for i in range(len(waves)):
        fill_two_normals(key, step, i, first_run, noise_c, noise_s)
        row, products = waves[i], product[i]
        c, s = row[:runs], row[runs:]
        # three loops, of at most four arrays each: they vectorize
        for r in range(runs):
            width = noise_width(c[r], s[r], k)
            noise_c[r] *= width
            noise_s[r] *= width
        for r in range(2 * runs):
            row[r] += k.coupling * products[r] + noise[r]
        for r in range(runs):
            c[r], s[r] = lone_flow(c[r], s[r], f)
