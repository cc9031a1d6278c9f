r"""Analog to digital and back: clip at full scale, round to integer codes.

.. math:: c = \mathrm{rint}\big(\mathrm{clip}(v\,s, \pm t)\big),
          \qquad t = 2^{b-1} - 1,\quad s = t / F

Codes are symmetric about zero, so that no spin is preferred. A *mid-tread* converter has a code
0 and with it a dead zone of a step; a *mid-rise* one has none, and codes that are odd multiples of
half a step:

.. math:: c = 2\,\mathrm{rint}\Big(\frac{\mathrm{clip}(v\,s, \pm t) - 1}{2}\Big) + 1,
          \qquad t = 2^b - 1,\quad s = 2^b / F

With one bit it is the sign.

References
----------
Max, IRE Trans. Inf. Theory 6, 7 (1960), doi:10.1109/TIT.1960.1057548 (the best step for a
Gaussian).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from emulator.kernel import inlined
from emulator.options import Option

__all__ = ["ADC_SETTINGS", "DAC_SETTINGS", "Coder", "Converter", "loading", "ranged", "to_code"]

_MOST_BITS = 48
# Full scales of least error for a Gaussian input, in its standard deviations: of 1, 2, ... bits.
# Beyond 12, rounding is far below any noise, and no one could tell where the optimum moves.
# fmt: off
_MID_RISE_LOADINGS = (
    1.5957691216057306, 1.9913729869468446, 2.344077069961882, 2.6816058751802827,
    3.010221959326022, 3.3300175513924515, 3.639531975478151, 3.9375856032021574,
    4.223731166299116, 4.498161414127174, 4.761435772177007, 5.014351038676941,
)
_MID_TREAD_LOADINGS = (
    1.5957691216057306, 1.2240063672038648, 1.9523090063275286, 2.4738791762232237,
    2.8987294956887633, 3.2701158123393443, 3.60746052510575, 3.9205008859155805,
    4.214675400419817, 4.493382380148433, 4.758940607481415, 5.013039407981027,
)
# fmt: on
# Records near threshold, where spins are decided, in those of vacuum: of 1 to 4 the factor with
# which 2 bits lose least on spin glasses (benchmarks/adc_study.py, other instances).
_SIGNAL = 2.0


def _settings(full_scale: str, unit: str, sigma: str) -> dict[str, Option]:
    """Return what a job may set of a converter."""
    return {
        "full_scale": Option(low=0.001, high=10.0, log=True, unit=unit, doc=full_scale),
        "bits": Option(
            low=0,
            high=16,
            integer=True,
            none=0,
            is_searched=False,
            unit="bits",
            doc="Resolution, sign included; 0 for an ideal one.",
        ),
        "mid_rise": _flag("Whether codes are odd multiples of half a step; with 1 bit always."),
        "reranged": _flag(f"Whether the full scale follows the bits, best for {sigma}."),
    }


def _flag(doc: str) -> Option:
    return Option(low=0, high=1, integer=True, is_searched=False, doc=doc)


# What a job may set of the two converters of a machine.
ADC_SETTINGS = _settings(
    "Largest amplitude the ADC tells apart.", "amplitude at p = 2", "twice the record of a vacuum"
)
DAC_SETTINGS = _settings(
    "Largest drive of the DAC, in units of the loss.",
    "loss times amplitude at p = 2",
    "a drive of records at full scale",
)


class Coder(NamedTuple):
    """Scalars of `to_code`: the largest code, whether it rounds, and where codes lie."""

    top: float
    rounds: bool
    first: float
    step: float
    inverse_step: float


@inlined
def to_code(value: float, c: Coder) -> float:
    """Return `value`, in codes already, clipped and rounded."""
    clipped = min(max(value, -c.top), c.top)
    if not c.rounds:
        return clipped
    if not c.first:  # mid-tread, where the rest changes nothing and costs a tenth of a round trip
        return np.rint(clipped)
    return np.rint((clipped - c.first) * c.inverse_step) * c.step + c.first


def loading(bits: int, *, mid_rise: bool) -> float:
    """Return the full scale, in standard deviations, of least error for a Gaussian input.

    >>> [round(loading(bits, mid_rise=True), 2) for bits in (1, 2, 3, 4, 8)]
    [1.6, 1.99, 2.34, 2.68, 3.94]
    """
    scales = _MID_RISE_LOADINGS if mid_rise else _MID_TREAD_LOADINGS
    return scales[min(bits, len(scales)) - 1]


@dataclass(frozen=True, kw_only=True)
class Converter:
    """An analog-to-digital or digital-to-analog converter.

    Parameters
    ----------
    full_scale : float
        Largest magnitude it passes; all beyond is clipped. May be infinite without bits.
    bits : int or None
        Resolution, sign included, 1 to 48. None for an ideal one, which only clips.
    mid_rise : bool
        Whether there is no code 0: codes are odd multiples of half a step. A converter of 1 bit is
        of this kind always.
    reranged : bool
        Whether the machine chooses the full scale by the bits, as `loading` says; `full_scale` then
        counts only without bits.

    Raises
    ------
    ValueError
        A full scale that is not positive, or bits out of range.

    Examples
    --------
    >>> Converter(full_scale=1.0, bits=8).top
    127.0
    >>> Converter(full_scale=1.0, bits=1).top
    1.0
    """

    full_scale: float
    bits: int | None = None
    mid_rise: bool = False
    reranged: bool = False

    def __post_init__(self) -> None:
        if self.bits is not None and not 1 <= self.bits <= _MOST_BITS:
            raise ValueError(f"a converter has 1 to {_MOST_BITS} bits, not {self.bits}")
        finite = self.bits is None or math.isfinite(self.full_scale)
        if not (self.full_scale > 0 and finite):
            raise ValueError(f"full_scale must be positive (finite with bits): {self.full_scale}")

    @property
    def rounds(self) -> bool:
        """Whether codes are integers."""
        return self.bits is not None

    @property
    def has_dead_zone(self) -> bool:
        """Whether it rounds small numbers to 0."""
        return self.rounds and not self._rises

    @property
    def top(self) -> float:
        """Largest code."""
        if self.bits is None:
            return self.full_scale
        return float(2**self.bits - 1 if self._rises else 2 ** (self.bits - 1) - 1)

    @property
    def scale(self) -> float:
        """Codes per unit of the input."""
        if self.bits is None:
            return 1.0
        return (2.0**self.bits if self._rises else self.top) / self.full_scale

    @property
    def n_codes(self) -> int:
        """How many codes it has; 0 for an ideal one."""
        return round(2 * self.top / self.coder.step) + 1 if self.rounds else 0

    @property
    def coder(self) -> Coder:
        """What `to_code` needs."""
        step = 2.0 if self._rises else 1.0
        return Coder(self.top, self.rounds, step - 1, step, 1 / step)

    def ranged_for(self, deviation: float) -> Self:
        """Return this converter; where it is reranged, for Gaussian input of this deviation."""
        if not self.reranged or self.bits is None:
            return self
        full_scale = loading(self.bits, mid_rise=self._rises) * (deviation or 1.0)
        return replace(self, full_scale=full_scale, reranged=False)

    @property
    def _rises(self) -> bool:
        return self.bits is not None and (self.mid_rise or self.bits == 1)


def ranged(
    adc: Converter, dac: Converter, *, record: float, gain: float
) -> tuple[Converter, Converter]:
    """Return both converters of a feedback loop, their full scales chosen where they are reranged.

    `record` is the standard deviation of the record of a vacuum, in units of the ADC, which is
    ranged for twice as much. The DAC is ranged for what independent records at full scale make of
    couplings of norm `gain`.
    """
    adc = adc.ranged_for(_SIGNAL * record)
    return adc, dac.ranged_for(gain * adc.full_scale)
