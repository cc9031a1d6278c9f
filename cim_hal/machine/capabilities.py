"""Capabilities: what a machine says it can do, and which settings a job may change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from cim_hal.errors import CapabilityError, DriverFaultError, ModelError
from cim_hal.model.conversion import real_number, require, whole_number
from cim_hal.model.record import ONE_LINE, Fact, FactName, Record
from cim_hal.model.schedule import MAX_ROUND_TRIPS, MAX_TRACE_BYTES, PumpSchedule, TraceRequest
from cim_hal.text import counted, html_table
from cim_hal.toml_files import nearest

__all__ = ["MAX_SETTINGS", "Capabilities", "DriverOption", "Setting"]

MAX_SETTINGS = 64

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=ONE_LINE)]
Unit = Annotated[str, Field(max_length=50, pattern=ONE_LINE)]
Bits = Annotated[int, Field(ge=2, le=16)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Setting(Record):
    """A number that a job may set within a range.

    Attributes
    ----------
    name : str
        Its name in a job, for instance ``coupling_gain``.
    unit : str
        ``1`` for a pure number; empty where it is not known.
    description : str
        One sentence for people.
    default : float
        Value in jobs that do not set it.
    low, high : float
        Range, both ends included.
    log : bool
        Whether the range is logarithmic; then `low` is positive.
    integer : bool
        Whether only whole numbers are accepted.
    is_chosen : bool
        Whether the default is that of a machine file, and not the driver's own.
    searched : bool
        Whether ``cim-hal tune`` tries other values; not where it says what is wrong with a machine.

    Raises
    ------
    ValidationError
        The range is empty, excludes the default, or is logarithmic and not positive.
    """

    name: FactName
    unit: Unit = ""
    description: Annotated[str, Field(max_length=200)] = ""
    default: Finite
    low: Finite
    high: Finite
    log: bool = False
    integer: bool = False
    is_chosen: bool = False
    searched: bool = True

    @model_validator(mode="after")
    def _range_is_one(self) -> Self:
        if not self.low <= self.default <= self.high:
            raise ValueError(f"{self.name}: {self.default} is not from {self.low} to {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"{self.name}: a logarithmic range must be positive")
        return self

    @property
    def range(self) -> str:
        """The range as text."""
        kind = "whole numbers " if self.integer else ""
        unit = "" if self.unit == "1" else self.unit
        return f"{kind}{self.low:g} to {self.high:g} {unit}".rstrip()

    def check(self, value: float) -> None:
        """Refuse a value out of range.

        Raises
        ------
        CapabilityError
            It names the setting and its range.
        """
        if not isinstance(value, float):
            value = real_number(f"settings.{self.name}", value, ModelError)
        is_whole = math.isfinite(value) and value == int(value)
        if not self.low <= value <= self.high or (self.integer and not is_whole):
            raise CapabilityError(f"settings.{self.name}", required=value, available=self.range)


class DriverOption(Record):
    """What a driver was built with; to change it, build the driver anew.

    Attributes
    ----------
    name : str
        Name of the parameter of the driver's factory.
    kind : {"str", "int", "float", "bool"}
        Its type.
    value : str, int, float, bool or None
        What the machine was built with.
    default : str, int, float, bool or None
        What it is built with where nothing is said.
    is_required : bool
        Whether there is no default.
    unit, description : str
        As of a `Setting`.
    low, high : float or None
        Range of a number, both ends included.
    choices : tuple of str
        The texts that are accepted, where not every text is.
    """

    name: FactName
    kind: Literal["str", "int", "float", "bool"]
    value: Fact = None
    default: Fact = None
    is_required: bool = False
    unit: Unit = ""
    description: Annotated[str, Field(max_length=200)] = ""
    low: Finite | None = None
    high: Finite | None = None
    choices: Annotated[tuple[str, ...], Field(max_length=64)] = ()

    @property
    def range(self) -> str:
        """What is right, as text: ``whole number from 1 to 65535``."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        words = {"str": "a text", "bool": "true or false", "int": "a whole number"}
        word = words.get(self.kind, "a number")
        low = "" if self.low is None else f" from {self.low:g}"
        high = "" if self.high is None else f" to {self.high:g}"
        unit = "" if self.unit == "1" else self.unit
        return f"{word}{low}{high} {unit}".rstrip()


class Capabilities(Record):
    """What a machine can do; it does not change while the server runs.

    Attributes
    ----------
    name : str
        Name of the machine.
    description : str
        One sentence for people.
    max_spins : int
        Largest number of spins (pulses), including an auxiliary spin.
    coupling_bits : int or None
        Bits b of a coupling, sign included: levels from -(2^(b-1) - 1) to 2^(b-1) - 1. None where
        the machine takes real numbers.
    field_bits : int or None
        Bits of a field; only used with `has_field`.
    has_field : bool
        Whether the machine applies a field h. Otherwise h is folded onto an auxiliary spin.
    max_round_trips : int
        Largest number of round trips of a run.
    max_runs : int
        Largest number of runs in one job.
    pump_range : tuple of float
        Lowest and highest pump rate, in thresholds.
    round_trip_s : float or None
        Duration of a cavity round trip in seconds; None where it has no meaning.
    reports_amplitudes : bool
        Whether readouts contain analog amplitudes.
    reproducible : bool
        Whether the same program and seed give the same readout.
    default_pump : tuple of float
        Knots of the recommended pump schedule.
    default_round_trips : int
        Recommended length of a run.
    properties : dict of str to float, int, bool, str or None
        Fixed physical properties, for instance ``cavity_length_m``. None means absent or unbounded.
    units : dict of str to str
        Units of properties by name, ``1`` for a pure number.
    settings : tuple of Setting
        Settings that a single job may change.
    reports_trace : bool
        Whether a job may record amplitudes during its runs.
    needs_calibration : bool
        Whether jobs are refused without a valid calibration.
    max_run_s : float or None
        Seconds after which a run counts as hung: the server then ends the driver, if it has a
        process of its own. None for no limit.
    options : tuple of DriverOption
        What the driver was built with. A driver need not say it: it is read from its factory.

    Raises
    ------
    DriverFaultError
        The recommended schedule is not within `max_round_trips` and `pump_range`.
    """

    max_bytes: ClassVar[int | None] = 40_000

    name: Name
    description: Annotated[str, Field(max_length=1000)] = ""
    max_spins: Annotated[int, Field(ge=1)]
    coupling_bits: Bits | None
    field_bits: Bits | None = None
    has_field: bool = False
    max_round_trips: Annotated[int, Field(ge=1, le=MAX_ROUND_TRIPS)] = 100_000
    max_runs: Annotated[int, Field(ge=1)] = 10_000
    pump_range: tuple[float, float] = (0.0, 4.0)
    round_trip_s: Annotated[float, Field(gt=0)] | None = None
    reports_amplitudes: bool = False
    reproducible: bool = False
    default_pump: Annotated[tuple[float, ...], Field(min_length=1, max_length=1024)] = (0.0, 2.0)
    default_round_trips: Annotated[int, Field(ge=1)] = 1000
    properties: dict[FactName, Fact] = Field(default={}, max_length=256)
    units: dict[FactName, Unit] = Field(default={}, max_length=256)
    settings: Annotated[tuple[Setting, ...], Field(max_length=MAX_SETTINGS)] = ()
    reports_trace: bool = False
    needs_calibration: bool = False
    max_run_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    options: Annotated[tuple[DriverOption, ...], Field(max_length=MAX_SETTINGS)] = ()

    @model_validator(mode="after")
    def _default_schedule_fits(self) -> Self:
        trips, low, high = self.default_round_trips, *self.pump_range
        if trips > self.max_round_trips:
            raise _at_odds("default_round_trips", trips, f"max_round_trips {self.max_round_trips}")
        if min(self.default_pump) < low or max(self.default_pump) > high:
            raise _at_odds("default_pump", self.default_pump, f"pump_range {self.pump_range}")
        return self

    @model_validator(mode="after")
    def _settings_differ(self) -> Self:
        if len({setting.name for setting in self.settings}) != len(self.settings):
            raise ValueError("two settings have the same name")
        return self

    def __repr__(self) -> str:
        bits = (
            "real couplings" if self.coupling_bits is None else counted(self.coupling_bits, "bit")
        )
        return f"Capabilities({self.name!r}, up to {counted(self.max_spins, 'spin')}, {bits})"

    def _repr_html_(self) -> str:
        rows = [(name, value) for name, value in self if isinstance(value, bool | int | float)]
        settings = ", ".join(setting.name for setting in self.settings) or "none"
        return html_table(repr(self), ("", ""), [*rows, ("settings", settings)])

    @property
    def default_schedule(self) -> PumpSchedule:
        """The recommended pump schedule."""
        return _schedule(self.default_pump, self.default_round_trips)

    @property
    def field_spins(self) -> int:
        """Spins that a model with a field needs beside its own: 1 without `has_field`, else 0."""
        return int(not self.has_field)

    def check_schedule(self, schedule: PumpSchedule) -> None:
        """Refuse a schedule that the machine cannot run.

        Raises
        ------
        CapabilityError
            Too many round trips, or a pump rate out of range.
        """
        require("schedule", schedule, PumpSchedule, ModelError, hint="pass a PumpSchedule")
        if schedule.round_trips > self.max_round_trips:
            raise CapabilityError(
                "max_round_trips", required=schedule.round_trips, available=self.max_round_trips
            )
        low, high = self.pump_range
        if min(schedule.pump) < low or max(schedule.pump) > high:
            raise CapabilityError(
                "pump_range",
                required=f"{min(schedule.pump)} to {max(schedule.pump)}",
                available=f"{low} to {high}",
            )

    def check_runs(self, n_runs: int) -> None:
        """Refuse a number of runs that the machine does not accept in one job.

        Raises
        ------
        CapabilityError
            Fewer than one run or more than `max_runs`.
        """
        n_runs = whole_number("n_runs", n_runs, ModelError)
        if not 1 <= n_runs <= self.max_runs:
            available = self.max_runs if n_runs > 0 else f"1 to {self.max_runs}"
            raise CapabilityError("max_runs", required=n_runs, available=available)

    def check_settings(self, settings: Mapping[str, float]) -> None:
        """Refuse settings that the machine does not have, and values out of range.

        Raises
        ------
        CapabilityError
            It names the setting, and its range, the nearest setting or all that exist.
        """
        require("settings", settings, Mapping, ModelError, hint="pass numbers by name")
        by_name = {setting.name: setting for setting in self.settings}
        for name, value in settings.items():
            if name not in by_name:
                near = nearest(name, by_name)
                names = near or ", ".join(by_name) or "none"
                hint = f"did you mean {near}?" if near else ""
                raise CapabilityError("settings", required=name, available=names, hint=hint)
            by_name[name].check(value)

    def with_defaults(self, defaults: Mapping[str, float]) -> Self:
        """Return these capabilities with other defaults of settings.

        Raises
        ------
        CapabilityError
            The machine does not have such a setting, or not such a value.
        """
        self.check_settings(defaults)
        settings = tuple(
            s.model_copy(update={"default": float(defaults[s.name]), "is_chosen": True})
            if s.name in defaults
            else s
            for s in self.settings
        )
        return self.model_copy(update={"settings": settings})

    def completed(self, settings: Mapping[str, float]) -> dict[str, float]:
        """Return the settings of a job, with the defaults of a machine file among them."""
        require("settings", settings, Mapping, ModelError, hint="pass numbers by name")
        return {s.name: s.default for s in self.settings if s.is_chosen} | dict(settings)

    def check_trace(
        self, trace: TraceRequest, *, round_trips: int, n_runs: int, n_spins: int
    ) -> None:
        """Refuse a trace that is too large, or any where the machine records none.

        Raises
        ------
        CapabilityError
            The hint says how many round trips between two frames would fit.
        """
        require("trace", trace, TraceRequest, ModelError, hint="pass a TraceRequest")
        if not self.reports_trace:
            raise CapabilityError("reports_trace", required="a trace", available="none")
        n_bytes = trace.n_bytes(round_trips, n_runs, n_spins)
        if n_bytes > MAX_TRACE_BYTES:
            n_frames = MAX_TRACE_BYTES // (4 * min(trace.runs, n_runs) * n_spins)
            every = -(-round_trips // n_frames) if n_frames else None
            raise CapabilityError(
                "trace_bytes",
                required=n_bytes,
                available=MAX_TRACE_BYTES,
                hint=f"every = {every} would fit" if every else "ask for fewer runs",
            )


def _at_odds(default: str, value: object, limit: str) -> DriverFaultError:
    return DriverFaultError(f"describe: {default} is {value}, {limit}", hint=f"set {default} too")


@lru_cache(maxsize=16)  # asked for with every job
def _schedule(pump: tuple[float, ...], round_trips: int) -> PumpSchedule:
    return PumpSchedule(pump, round_trips)
