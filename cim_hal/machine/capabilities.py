"""What a machine says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cim_hal.errors import CapabilityError
from cim_hal.machine.setting import MAX_SETTINGS, Setting, check_settings
from cim_hal.model.record import Fact, FactName
from cim_hal.model.schedule import MAX_ROUND_TRIPS, PumpSchedule
from cim_hal.model.trace import MAX_TRACE_BYTES, TraceRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Capabilities"]

# As JSON: on the wire it must fit a header, together with limits and versions.
MAX_BYTES = 40_000

Name = Annotated[str, Field(min_length=1, max_length=200)]
Bits = Annotated[int, Field(ge=2, le=16)]


class Capabilities(BaseModel):
    """What a machine can do; constant while its server runs.

    Attributes
    ----------
    name : str
        Name of the machine.
    description : str
        One sentence for people.
    max_spins : int
        Spins (pulses) it holds, an auxiliary one included.
    coupling_bits : int or None
        Bits of a coupling, sign included, so that levels run from -(2^(b-1) - 1) to 2^(b-1) - 1.
        None where the machine takes real numbers.
    field_bits : int or None
        Bits of a field; meaningless without `has_field`.
    has_field : bool
        Whether it applies a field h. Without one, h is folded onto an auxiliary spin.
    max_round_trips : int
        Longest run.
    max_runs : int
        Most runs in one job.
    pump_range : tuple of float
        Lowest and highest pump rate, in thresholds.
    round_trip_s : float or None
        Seconds of one cavity round trip; None where that means nothing.
    reports_amplitudes : bool
        Whether a readout carries analog amplitudes.
    reproducible : bool
        Whether the same program and seed give the same readout.
    default_pump : tuple of float
        Knots of the pump schedule the machine recommends.
    default_round_trips : int
        Length of run the machine recommends.
    properties : dict of str to float, int, bool, str or None
        Fixed physical facts; a quantity with a unit says so in its name (``cavity_length_m``).
        None where something is absent or has no bound.
    settings : tuple of Setting
        Settings that a single job may change.
    reports_trace : bool
        Whether a job may keep amplitudes while it runs.
    needs_calibration : bool
        Whether jobs are refused without a calibration that is young enough.
    max_run_s : float or None
        Seconds after which a run has hung, whatever the program: its driver is ended where it
        lives in a process of its own. None where a run may take as long as it likes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    properties: Annotated[dict[FactName, Fact], Field(max_length=256)] = {}
    settings: Annotated[tuple[Setting, ...], Field(max_length=MAX_SETTINGS)] = ()
    reports_trace: bool = False
    needs_calibration: bool = False
    max_run_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _default_schedule_fits(self) -> Self:
        self.check_schedule(self.default_schedule)
        return self

    @model_validator(mode="after")
    def _settings_differ(self) -> Self:
        if len({setting.name for setting in self.settings}) != len(self.settings):
            raise ValueError("two settings have the same name")
        return self

    @model_validator(mode="after")
    def _fits_a_message(self) -> Self:
        n_bytes = len(self.model_dump_json().encode())
        if n_bytes > MAX_BYTES:
            raise ValueError(f"they take {n_bytes} bytes, {MAX_BYTES} fit: shorten properties")
        return self

    @property
    def default_schedule(self) -> PumpSchedule:
        """The pump schedule the machine recommends."""
        return PumpSchedule(self.default_pump, self.default_round_trips)

    @property
    def field_spins(self) -> int:
        """Spins that a model with a field needs beside its own: 1 without `has_field`, else 0."""
        return int(not self.has_field)

    def check_schedule(self, schedule: PumpSchedule) -> None:
        """Refuse a schedule the machine cannot run.

        Raises
        ------
        CapabilityError
            Too many round trips, or a pump rate out of range.
        """
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
        """Refuse a number of runs the machine does not take in one job.

        Raises
        ------
        CapabilityError
            Fewer than one run or more than `max_runs`.
        """
        if not 1 <= n_runs <= self.max_runs:
            raise CapabilityError("max_runs", required=n_runs, available=self.max_runs)

    def check_settings(self, settings: Mapping[str, float]) -> None:
        """Refuse settings the machine does not have, or whose values are out of range.

        Raises
        ------
        CapabilityError
            It names the setting, and its range or the settings that exist.
        """
        check_settings(self.settings, settings)

    def check_trace(
        self, trace: TraceRequest, *, round_trips: int, n_runs: int, n_spins: int
    ) -> None:
        """Refuse a trace where the machine keeps none, or one that is too large.

        Raises
        ------
        CapabilityError
            It says how many round trips between two frames would fit.
        """
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
