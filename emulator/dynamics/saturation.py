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
from typing import Literal, TypeAlias

from emulator.dynamics.kernel import inlined
from emulator.elementary import tanh

__all__ = [
    "SATURATIONS",
    "Saturation",
    "cubic_drift",
    "linear_drift",
    "sine_drift",
    "tanh_drift",
]

Saturation: TypeAlias = Literal["cubic", "tanh", "sine", "clip"]

SATURATIONS: tuple[Saturation, ...] = ("cubic", "tanh", "sine", "clip")


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
