r"""Analog to digital and back: clip at full scale, round to integer codes.

.. math:: c = \mathrm{rint}\big(\mathrm{clip}(v\,s, \pm t)\big),
          \qquad t = 2^{b-1} - 1,\quad s = t / F

Codes are symmetric about zero, so that no spin is preferred.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from emulator.options import Option

__all__ = ["ADC_SETTINGS", "DAC_SETTINGS", "Converter", "to_code"]

# What a job may set of the two converters of a machine.
ADC_SETTINGS = {
    "full_scale": Option(
        low=0.01, high=10.0, log=True, doc="Largest amplitude the ADC tells apart."
    )
}
DAC_SETTINGS = {
    "full_scale": Option(
        low=0.01, high=10.0, log=True, doc="Largest drive of the DAC, in units of the loss."
    )
}


@njit(inline="always")
def to_code(value: float, top: float, rounds: bool) -> float:  # noqa: FBT001  a numba scalar
    """Return `value`, in codes already, clipped to ``-top .. top``, and rounded if it `rounds`."""
    clipped = min(max(value, -top), top)
    return np.rint(clipped) if rounds else clipped


@dataclass(frozen=True, kw_only=True)
class Converter:
    """An analog-to-digital or digital-to-analog converter.

    Parameters
    ----------
    full_scale : float
        Largest magnitude it passes; all beyond is clipped. May be infinite without bits.
    bits : int or None
        Resolution, sign included, 2 to 48. None for an ideal one, which only clips.

    Raises
    ------
    ValueError
        A full scale that is not positive, or bits out of range.

    Examples
    --------
    >>> Converter(full_scale=1.0, bits=8).top
    127.0
    """

    full_scale: float
    bits: int | None = None

    def __post_init__(self) -> None:
        if self.bits is not None and not 2 <= self.bits <= 48:
            raise ValueError(f"a converter has 2 to 48 bits, not {self.bits}")
        finite = self.bits is None or math.isfinite(self.full_scale)
        if not (self.full_scale > 0 and finite):
            raise ValueError(f"full_scale must be positive (finite with bits): {self.full_scale}")

    @property
    def rounds(self) -> bool:
        """Whether codes are integers."""
        return self.bits is not None

    @property
    def top(self) -> float:
        """Largest code."""
        return self.full_scale if self.bits is None else float(2 ** (self.bits - 1) - 1)

    @property
    def scale(self) -> float:
        """Codes per unit of the input."""
        return 1.0 if self.bits is None else self.top / self.full_scale
