"""Spans of time as people write them: 90, 90s, 10m, 2h, 1d."""

from __future__ import annotations

import math
from typing import Any

import click

__all__ = ["DURATION", "show_duration"]

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds."""
        if isinstance(value, float | int):
            return float(value)
        text = str(value).strip()
        number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
        try:
            seconds = float(number) * UNITS[unit]
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            self.fail(f"{value!r} is not a time such as 90s, 10m, 2h or 1d", param, ctx)
        return seconds


DURATION = _Duration()


def show_duration(seconds: float) -> str:
    """Return a span as a person would say it.

    Examples
    --------
    >>> show_duration(59.6), show_duration(600), show_duration(5460)
    ('1 min', '10 min', '1 h 31 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
