"""Options that several dynamics have, each declared once."""

from __future__ import annotations

import math
from typing import Any

from emulator.options import (
    FINITE,
    NON_NEGATIVE,
    POSITIVE,
    POSITIVE_OR_INFINITE,
    POSITIVE_SHARE,
    SHARE,
    Interval,
    option,
)


def _noted(doc: str, note: str) -> str:
    return f"{doc}\n{note}" if note else doc


def coupling_gain(default: float) -> Any:
    """Return the option g, which multiplies couplings."""
    doc = "Strength of the couplings, in natural units."
    return option(default, within=NON_NEGATIVE, low=0.05, high=5.0, log=True, symbol="g", doc=doc)


def field_weight(default: float, *, note: str) -> Any:
    r"""Return the option w of :math:`\xi_0`, see `natural_strength`."""
    doc = _noted("How much fields count in the unit of couplings.", note)
    return option(default, within=SHARE, low=0.0, high=1.0, symbol="w", doc=doc)


def field_amplitude() -> Any:
    """Return the option a, the amplitude a field is multiplied with."""
    doc = (
        "Amplitude of the spin that stands for the field.\n"
        "None for the mean magnitude of what is fed back in a run."
    )
    return option(None, within=FINITE, low=0.01, high=10.0, log=True, symbol="a", doc=doc)


def loss(default: float, *, note: str = "") -> Any:
    """Return the option L, the loss of the field."""
    doc = _noted("Loss rate of a lone oscillator.", note)
    return option(default, within=NON_NEGATIVE, low=0.1, high=10.0, log=True, symbol="L", doc=doc)


def coupling_loss() -> Any:
    """Return the option j, the loss of the splitters that couple pulses."""
    doc = "Loss rate in the delay lines, in units of the loss.\nEach splitter lets vacuum in."
    return option(0.0, within=NON_NEGATIVE, low=0.0, high=5.0, symbol="j", doc=doc)


def saturation(default: float, *, within: Interval = POSITIVE) -> Any:
    """Return the option A_s, the root of a photon number."""
    doc = "A lone oscillator at p = 2 holds about the square of it in photons."
    return option(
        default,
        within=within,
        low=10.0,
        high=1e5,
        log=True,
        is_searched=False,
        unit="root of photons",
        symbol="A_s",
        doc=doc,
    )


def detector_efficiency() -> Any:
    """Return the option of the detector's efficiency."""
    return option(
        1.0,
        within=POSITIVE_SHARE,
        low=0.01,
        high=1.0,
        is_searched=False,
        symbol=r"\eta_d",
        doc="Efficiency of the detector.",
    )


def noise(default: float) -> Any:
    """Return the option s, the width of additive noise."""
    doc = "Width of the noise, per square root of a lifetime."
    return option(default, within=NON_NEGATIVE, low=0.0, high=0.5, symbol="s", doc=doc)


def feedback_limit(*, symbol: str = "", doc: str) -> Any:
    """Return an option that clips what is fed back; infinite by default."""
    within = POSITIVE_OR_INFINITE
    return option(math.inf, within=within, low=0.01, high=10.0, log=True, symbol=symbol, doc=doc)


def target(*, symbol: str, note: str = "") -> Any:
    """Return the option of what error variables steer to."""
    doc = _noted("What error variables steer to, in squares of amplitudes.", note)
    return option(1.0, within=POSITIVE, low=0.1, high=10.0, log=True, symbol=symbol, doc=doc)


def error_rate(default: float) -> Any:
    """Return the option beta, the rate of error variables."""
    doc, beta = "How fast error variables follow.", r"\beta"
    return option(default, within=NON_NEGATIVE, low=0.01, high=3.0, log=True, symbol=beta, doc=doc)


def error_limit(least: Interval = POSITIVE) -> Any:
    """Return the option that bounds error variables."""
    doc = "Largest error variable.\nWithout one, that of an uncoupled spin overflows."
    return option(32.0, within=least, low=1.0, high=1000.0, log=True, doc=doc)


def time_step(default: float, *, low: float, high: float, note: str = "") -> Any:
    """Return the option dt, the time of a round trip."""
    doc = _noted("Time that passes in a round trip.", note)
    unit = "field lifetimes"
    return option(
        default, within=POSITIVE, low=low, high=high, log=True, unit=unit, symbol="dt", doc=doc
    )


def stability(default: float) -> Any:
    """Return the option that bounds the step by the linear limit of a loop."""
    doc = (
        "Share of the linear limit that a step may reach.\n"
        "Infinite, or as large as no model needs, to take the step as it is."
    )
    within = POSITIVE_OR_INFINITE
    return option(default, within=within, low=0.01, high=100.0, log=True, unit="1", doc=doc)


def initial_width(default: float, *, what: str = "amplitudes") -> Any:
    """Return the option of the random initial state."""
    doc = f"Width of the normal {what} that a run starts from."
    return option(default, within=NON_NEGATIVE, doc=doc)


def interpretation() -> Any:
    """Return the option of the sense of the noise."""
    doc = "Sense in which the equation is written: that of the integrator."
    return option("ito", within=("ito", "stratonovich"), doc=doc)


def precision() -> Any:
    """Return the option that every dynamics of either precision has."""
    return option("single", within=("single", "double"), doc="Of the state.")
