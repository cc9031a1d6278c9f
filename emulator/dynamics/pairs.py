r"""The two amplitudes of the positive-P representation: their equation, scalar by scalar.

Amplitudes are :math:`u, v = \alpha, \beta` over :math:`A_s\sqrt p`, and never beyond 1. Arrays are
float64 and have shape (n, 2 runs), u before v.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from numba import njit

from emulator.dynamics.two_noises import fill_two_normals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.noise import NoiseKey

__all__ = [
    "PairConstants",
    "amplified",
    "amplify_pairs",
    "increment_pairs",
    "kick_pairs",
    "pair_drift",
    "pair_width",
    "turned",
]


class PairConstants(NamedTuple):
    """Scalars of `increment_pairs`."""

    time_step: float
    pump: float
    loss: float
    coupling: float
    noise: float


@njit(inline="always")
def pair_drift(u: float, v: float, c: PairConstants) -> float:
    r"""Return :math:`p\,v\,(1 - u^2) - \ell u`, the drift of u without couplings."""
    return c.pump * v * (1.0 - u * u) - c.loss * u


@njit(inline="always")
def pair_width(u: float, c: PairConstants) -> float:
    r"""Return :math:`\sqrt{1 - u^2}\,\sqrt{dt}/A_s`."""
    return c.noise * math.sqrt(max(1.0 - u * u, 0.0))


@njit(inline="always")
def amplified(u: float, v: float, cosh: float, sinh: float) -> tuple[Any, Any]:
    r"""Return u and v after gain alone, for cosh and sinh of p times the time, exactly.

    .. math:: \dot u = p\,v\,(1 - u^2),\quad \dot v = p\,u\,(1 - v^2)
              \;\Rightarrow\; u \to \frac{m}{\sqrt{1 - u^2 + m^2}},\quad
              m = u\cosh p\tau + v\sinh p\tau
    """
    m, n = u * cosh + v * sinh, v * cosh + u * sinh
    return m / math.sqrt(1.0 - u * u + m * m), n / math.sqrt(1.0 - v * v + n * n)


@njit(inline="always")
def turned(u: float, angle: float) -> float:
    r"""Return :math:`\sin(\arcsin u + \text{angle})`, reflected where the angle passes a pole."""
    return u * math.cos(angle) + math.sqrt(1.0 - u * u) * math.sin(angle)


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def amplify_pairs(pairs: NDArray[Any], cosh: float, sinh: float) -> None:
    """Let every oscillator gain."""
    runs = pairs.shape[1] // 2
    for i in range(len(pairs)):
        u, v = pairs[i, :runs], pairs[i, runs:]
        for r in range(runs):
            u[r], v[r] = amplified(u[r], v[r], cosh, sinh)


@njit(cache=True, nogil=True)
def kick_pairs(  # noqa: PLR0917  a kernel takes arrays
    pairs: NDArray[Any],
    product: NDArray[Any],
    noise: NDArray[Any],
    key: NoiseKey,
    step: int,
    first_run: int,
    coupling: float,
    kept: float,
    width: float,
) -> None:
    """Add couplings and noise between two half steps of loss, `kept` of each.

    `noise` (2 runs,) is scratch.
    """
    runs = pairs.shape[1] // 2
    for i in range(len(pairs)):
        fill_two_normals(key, step, i, first_run, noise[:runs], noise[runs:])
        row, products = pairs[i], product[i]
        for r in range(2 * runs):
            coupled = kept * row[r] + coupling * products[r]
            # the continuous paths stay inside; a step of coupling can overshoot by O(dt^2)
            inside = min(max(coupled, -1.0), 1.0)
            row[r] = kept * turned(inside, width * noise[r])
