"""The facts of an emulated machine, read from its dynamics: nested options to flat names."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emulator.dynamics.base import Dynamics

__all__ = ["properties_of"]

Fact: TypeAlias = float | int | bool | str | None

LONGEST_TEXT = 200


def properties_of(dynamics: Dynamics) -> dict[str, Fact]:
    """Return all options of `dynamics` by dotted name, and its class as ``model``.

    Without unit, as all numbers of the emulator are: rates in loss rates of the cavity's field,
    amplitudes in those of a lone oscillator at twice threshold. What has no bound is None, a
    series of values is one text with commas, and a part is its class, followed by its options.

    Examples
    --------
    >>> from emulator import MeasurementFeedback
    >>> properties_of(MeasurementFeedback())["adc.bits"]
    8
    """
    return {"model": type(dynamics).__name__, **dict(_facts("", dynamics))}


def _facts(prefix: str, options: Any) -> Iterator[tuple[str, Fact]]:
    for field in fields(options):
        name, value = f"{prefix}{field.name}", getattr(options, field.name)
        yield name, _plain(value)
        if is_dataclass(value):
            yield from _facts(f"{name}.", value)


def _plain(value: Any) -> Fact:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case None | bool() | int():
            return value
        case str():
            text = value
        case tuple():
            text = ", ".join(str(_plain(item)) for item in value)
        case _:
            text = type(value).__name__
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
