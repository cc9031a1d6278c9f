r"""How an oscillator saturates: four equations that share their threshold, p = 1.

Each is the drift of one amplitude x under a drive D, and for each a lone oscillator leaves
x = 0 at p = 1 with the growth rate :math:`p - 1`.

References
----------
Wang, Marandi, Wen, Byer, Yamamoto, Phys. Rev. A 88, 063853 (2013),
doi:10.1103/PhysRevA.88.063853 (cubic).
Böhm, Verschaffelt, Van der Sande, Nat. Commun. 10, 3538 (2019),
doi:10.1038/s41467-019-11484-3 (sine: an opto-electronic loop).
Tiunov, Ulanov, Lvovsky, Opt. Express 27, 10288 (2019), arXiv:1901.08927 (clip).
Böhm, Van Vaerenbergh, Verschaffelt, Van der Sande, Commun. Phys. 4, 149 (2021),
doi:10.1038/s42005-021-00655-8 (all four, compared).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numba import types
from numba.extending import overload

from emulator.kernel import inlined

__all__ = [
    "SATURATIONS",
    "Saturation",
    "cubic_drift",
    "linear_drift",
    "sine_drift",
    "tanh",
    "tanh_drift",
    "tanh_float32",
]

Saturation: TypeAlias = Literal["cubic", "tanh", "sine", "clip"]

SATURATIONS: tuple[Saturation, ...] = ("cubic", "tanh", "sine", "clip")


# Lambert's continued fraction tanh x = x / (1 + x^2 / (3 + x^2 / (5 + ...))), cut after 13 terms:
# its error is below 4e-8 up to x = 8.9477, where it reaches 1.
_LIMIT = np.float32(8.9477)
_SCALE = 7905853580625
_ABOVE = tuple(
    np.float32(value / _SCALE)
    for value in (1, 4095, 2552550, 523783260, 41247931725, 1159525191825, 7905853580625)
)
_BELOW = tuple(
    np.float32(value / _SCALE)
    for value in (91, 120120, 41351310, 5237832600, 252070693875, 3794809718700, 7905853580625)
)


@inlined
def _polynomial(x: Any, terms: Any) -> Any:
    value = (((terms[0] * x + terms[1]) * x + terms[2]) * x + terms[3]) * x + terms[4]
    return (value * x + terms[5]) * x + terms[6]


@inlined
def tanh_float32(value: Any) -> Any:
    """Return tanh of a float32 to a few units in the last place, odd to the last bit."""
    x = min(max(value, -_LIMIT), _LIMIT)
    square = x * x
    return x * _polynomial(square, _ABOVE) / _polynomial(square, _BELOW)


def tanh(x: float) -> float:
    """Return tanh; in kernels, one that vectorizes where x is float32."""
    return math.tanh(x)


@overload(tanh, inline="always")
def _tanh_in_kernels(x) -> Callable[..., Any]:
    if x == types.float32:
        return lambda x: tanh_float32(x)  # noqa: PLW0108  numba inlines plain functions
    return lambda x: math.tanh(x)  # noqa: PLW0108


@inlined
def cubic_drift(x: float, drive: float, net_pump: float) -> float:
    r"""Return :math:`(p - 1 - x^2)x + D`, with `net_pump` for p - 1."""
    return (net_pump - x * x) * x + drive


@inlined
def tanh_drift(x: float, drive: float, pump: float) -> float:
    r"""Return :math:`-x + \tanh(px + D)`."""
    return tanh(pump * x + drive) - x


@inlined
def sine_drift(x: float, drive: float, pump: float, half: float) -> float:
    r"""Return :math:`-x + \cos^2(px + D - \pi/4) - \tfrac12 = -x + \tfrac12\sin 2(px + D)`."""
    phase = pump * x + drive
    return half * math.sin(phase + phase) - x


@inlined
def linear_drift(x: float, drive: float, net_pump: float) -> float:
    r"""Return :math:`(p - 1)x + D`: what saturates are walls at :math:`|x| = 1`."""
    return net_pump * x + drive
