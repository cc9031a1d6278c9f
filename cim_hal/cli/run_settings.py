"""What a command turns on a machine: a schedule and settings, from a file and from options."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from cim_hal.model.schedule import PumpSchedule

__all__ = ["RunSettings", "parse_pump", "parse_settings", "read_run_settings"]


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Pump knots, length of a run and settings; None for what the machine recommends."""

    pump: tuple[float, ...] | None = None
    round_trips: int | None = None
    settings: Mapping[str, float] = field(default_factory=dict)

    def with_options(
        self,
        *,
        pump: tuple[float, ...] | None,
        round_trips: int | None,
        settings: Mapping[str, float],
    ) -> RunSettings:
        """Return these settings, overridden by the options."""
        return replace(
            self,
            pump=self.pump if pump is None else pump,
            round_trips=self.round_trips if round_trips is None else round_trips,
            settings={**self.settings, **settings},
        )

    def schedule(self, recommended: PumpSchedule) -> PumpSchedule:
        """Return the schedule, completed from the one the machine recommends."""
        return type(recommended)(
            self.pump or recommended.pump, self.round_trips or recommended.round_trips
        )


def read_run_settings(path: Path) -> RunSettings:
    """Read a TOML file with a table ``[schedule]``, a table ``[settings]``, or both.

    The schedule may have ``pump``, a list of knots, and ``round_trips``. Settings are numbers by
    name; a name with a dot may be quoted, or not. Other tables are not looked at.

    Raises
    ------
    click.BadParameter
        The file cannot be read, or holds something else in these tables.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _wrong(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _wrong(f"{path} is not TOML: {error}") from None
    schedule = _table(path, tables, "schedule")
    unknown = set(schedule) - {"pump", "round_trips"}
    if unknown:
        raise _wrong(f"{path}: [schedule] has {min(unknown)}; it takes pump and round_trips")
    pump, round_trips = schedule.get("pump"), schedule.get("round_trips")
    if not (pump is None or (isinstance(pump, list) and pump and all(map(_is_number, pump)))):
        raise _wrong(f"{path}: schedule.pump must be a list of numbers")
    if not (round_trips is None or (type(round_trips) is int and round_trips > 0)):
        raise _wrong(f"{path}: schedule.round_trips must be a whole number, at least 1")
    return RunSettings(
        pump=None if pump is None else tuple(map(float, pump)),
        round_trips=round_trips,
        settings=dict(_flat(path, "", _table(path, tables, "settings"))),
    )


def parse_pump(_context: object, _option: object, text: str | None) -> tuple[float, ...] | None:
    """Read ``0,1.1``: pump rates at equal distances, in thresholds."""
    if text is None:
        return None
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not numbers with commas, such as 0,1.1") from None


def parse_settings(_context: object, _option: object, texts: Iterable[str]) -> dict[str, float]:
    """Read ``name=value`` pairs; of two for one name the last one counts."""
    settings = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            settings[name.strip()] = float(value)
        except ValueError:
            raise click.BadParameter(f"{text!r} is not NAME=NUMBER") from None
    return settings


def _table(path: Path, tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise _wrong(f"{path}: {name} must be a table")
    return table


def _flat(path: Path, prefix: str, table: Mapping[str, Any]) -> Iterable[tuple[str, float]]:
    """Yield the settings of a table; an unquoted ``adc.bits = 8`` is a table in a table."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(path, f"{prefix}{name}.", value)
        elif _is_number(value):
            yield f"{prefix}{name}", float(value)
        else:
            raise _wrong(f"{path}: settings.{prefix}{name} must be a number")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong(sentence: str) -> click.BadParameter:
    return click.BadParameter(sentence, param_hint="--settings")
