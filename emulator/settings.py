"""Knobs of an emulated machine: the options of its dynamics that a single job may change.

A range says where a search is worth its time, not where the equations end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import reduce
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from cim_hal import Setting
from emulator.dynamics import (
    AmplitudeHeterogeneityCorrection,
    BestSeen,
    ChaoticAmplitudeControl,
    ChaoticFeedbackControl,
    Dynamics,
    MeanField,
    MeasurementFeedback,
    PositiveP,
    SeparatedFeedbackControl,
    SimulatedBifurcation,
    TruncatedWigner,
)
from emulator.dynamics.gaussian import GaussianFeedback
from emulator.dynamics.nmfa import NoisyMeanFieldAnnealing
from emulator.dynamics.simcim import SimCim

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KNOBS", "settings_of", "with_settings"]

Options = TypeVar("Options")

LIFETIMES = "field lifetimes"


@dataclass(frozen=True, kw_only=True)
class Knob:
    """An option that a job may change: a field of the dynamics, or of one of its parts."""

    path: str
    low: float
    high: float
    description: str
    unit: str = ""
    log: bool = False
    integer: bool = False


def _log(path: str, low: float, high: float, description: str, unit: str = "") -> Knob:
    return Knob(path=path, low=low, high=high, description=description, unit=unit, log=True)


def _linear(path: str, high: float, description: str, unit: str = "") -> Knob:
    return Knob(path=path, low=0.0, high=high, description=description, unit=unit)


GAIN = _log("coupling_gain", 0.05, 5.0, "Strength of the couplings, in natural units.")
LOSS = _log("loss", 0.1, 10.0, "Loss rate of a lone oscillator.")
CONVERTERS = (
    _log("adc.full_scale", 0.01, 10.0, "Largest amplitude the ADC tells apart."),
    _log("dac.full_scale", 0.01, 10.0, "Largest drive of the DAC, in units of the loss."),
)
FIELD = _log("field_amplitude", 0.01, 10.0, "Amplitude of the spin that stands for the field.")
COUNTED = _linear("field_weight", 1.0, "How much fields count in the unit of couplings.")
SPLITTERS = _linear("coupling_loss", 5.0, "Loss rate in the delay lines, in units of the loss.")
ERROR_RATE = _log("error_rate", 0.01, 3.0, "How fast error variables follow.")
ERROR_LIMIT = _log("error_limit", 1.0, 1000.0, "Largest error variable.")
TARGET = "What error variables steer to, in squares of amplitudes."


def _time_step(low: float, high: float) -> Knob:
    return _log("time_step", low, high, "Time that passes in a round trip.", LIFETIMES)


KNOBS: Mapping[type[Dynamics], tuple[Knob, ...]] = MappingProxyType(
    {
        MeasurementFeedback: (
            GAIN,
            *CONVERTERS,
            _linear("electronic_noise", 10.0, "Noise of a record; vacuum has 0.71."),
        ),
        GaussianFeedback: (
            GAIN,
            *CONVERTERS,
            FIELD,
            _log("measurement_strength", 0.05, 5.0, "Loss to the detector, in units of the own."),
            _time_step(0.005, 0.2),
        ),
        MeanField: (
            GAIN,
            _time_step(0.01, 0.5),
            _linear("noise", 0.5, "Width of the noise, per square root of a lifetime."),
            _log("feedback_limit", 0.01, 10.0, "Largest amplitude fed back."),
            _log("drive_limit", 0.01, 10.0, "Largest drive, in units of the loss."),
            FIELD,
        ),
        TruncatedWigner: (GAIN, SPLITTERS, _time_step(0.005, 1.0)),
        # its couplings are bounded by the loss, and how much that allows depends on the model
        PositiveP: (SPLITTERS, _time_step(0.005, 1.0)),
        ChaoticAmplitudeControl: (GAIN, LOSS, ERROR_RATE, ERROR_LIMIT, _time_step(0.005, 0.3)),
        ChaoticFeedbackControl: (
            GAIN,
            LOSS,
            _log("target", 0.1, 10.0, TARGET),
            ERROR_RATE,
            ERROR_LIMIT,
            _time_step(0.005, 0.3),
        ),
        SeparatedFeedbackControl: (
            GAIN,
            LOSS,
            _linear("memory", 2.0, "Strength of the push against what lasts."),
            _time_step(0.005, 0.3),
        ),
        AmplitudeHeterogeneityCorrection: (
            GAIN,
            LOSS,
            _log("base_target", 0.1, 10.0, TARGET),
            ERROR_RATE,
            ERROR_LIMIT,
            _time_step(0.005, 0.3),
        ),
        SimulatedBifurcation: (
            GAIN,
            COUNTED,
            _time_step(0.05, 2.0),
            _log("stability", 0.05, 1.0, "Share of the longest stable step that is taken."),
            _linear("heating", 0.3, "Rate at which momenta grow."),
        ),
        SimCim: (
            GAIN,
            COUNTED,
            LOSS,
            _linear("momentum", 0.99, "Share of its velocity that an amplitude keeps."),
            _linear("noise", 0.5, "Width of the noise, per square root of a lifetime."),
            _time_step(0.05, 2.0),
        ),
        NoisyMeanFieldAnnealing: (
            GAIN,
            COUNTED,
            _log("mixing", 0.01, 1.0, "Share of an amplitude that is renewed in a round trip."),
            _linear("noise", 1.0, "Width of the noise, in units of a spin's couplings."),
        ),
    }
)

EVERY = Knob(
    path="every",
    low=1,
    high=1000,
    description="Round trips between two looks at the energy.",
    log=True,
    integer=True,
)


def settings_of(dynamics: Dynamics) -> tuple[Setting, ...]:
    """Return the knobs of a machine, as they stand in `dynamics`.

    An option that is switched off (None, or without bound) is no knob of this machine, nor is
    one that its other options tie down.
    """
    if isinstance(dynamics, BestSeen):
        return (*settings_of(dynamics.dynamics), _setting(EVERY, dynamics.every))
    knobs = KNOBS.get(type(dynamics), ())
    standing = ((knob, _get(dynamics, knob.path)) for knob in knobs)
    return tuple(
        _setting(knob, value)
        for knob, value in standing
        if value is not None and math.isfinite(value) and _turns(dynamics, knob)
    )


def with_settings(dynamics: Dynamics, settings: Mapping[str, float]) -> Dynamics:
    """Return `dynamics` with the settings of a job.

    Parameters
    ----------
    settings : mapping of str to float
        Names and values that `settings_of` allows.
    """
    if isinstance(dynamics, BestSeen):
        inner = {name: value for name, value in settings.items() if name != EVERY.path}
        every = int(settings.get(EVERY.path, dynamics.every))
        return replace(dynamics, dynamics=with_settings(dynamics.dynamics, inner), every=every)
    return reduce(lambda changed, item: _with(changed, *item), settings.items(), dynamics)


def _setting(knob: Knob, value: float) -> Setting:
    return Setting(
        name=knob.path,
        unit=knob.unit,
        description=knob.description,
        default=value,
        low=min(knob.low, value),
        high=max(knob.high, value),
        log=knob.log and value > 0,
        integer=knob.integer,
    )


def _turns(dynamics: Dynamics, knob: Knob) -> bool:
    try:
        for end in (knob.low, knob.high):
            _with(dynamics, knob.path, end)
    except ValueError:
        return False
    return True


def _get(options: Any, path: str) -> float | None:
    return reduce(getattr, path.split("."), options)


def _with(options: Options, path: str, value: float) -> Options:
    """Return options with the field at a dotted path replaced."""
    name, _, rest = path.partition(".")
    part = _with(getattr(options, name), rest, value) if rest else value
    return replace(options, **{name: part})  # pyright: ignore[reportArgumentType]
