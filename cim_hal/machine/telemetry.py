"""What a machine reports of itself: telemetry, calibration, and the state of its driver."""

from __future__ import annotations

import hashlib
import json
import math
import time
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, field_serializer, model_validator

from cim_hal.errors import InterlockError, ModelError
from cim_hal.model.conversion import duration
from cim_hal.model.record import ONE_LINE, Fact, FactName, Note, Record

__all__ = [
    "Calibration",
    "DriverPhase",
    "DriverState",
    "Reading",
    "Telemetry",
]

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[Finite, Field(gt=0)]
Seconds = Annotated[Finite, Field(ge=0)]


class Reading(Record):
    """One measured value or state.

    Attributes
    ----------
    name : str
        Constant name, such as ``pump_power`` or ``cavity_lock``.
    value : float, int, bool or str
        A number, a truth value, or a state as text. A sensor that gives no number reads NaN: that
        is data, and stops nothing. JSON has it as the text ``"nan"``, ``"inf"`` or ``"-inf"``.
    unit : str
        Unit of a number; empty for pure numbers and states.
    """

    name: FactName
    value: Annotated[float, Field(allow_inf_nan=True)] | Note
    unit: Annotated[str, Field(max_length=50, pattern=ONE_LINE)] = ""

    @field_serializer("value", when_used="json")
    def _in_json(self, value: Note) -> Note:
        is_number = not isinstance(value, float) or math.isfinite(value)
        return value if is_number else str(value)


class Telemetry(Record):
    """Readings and interlocks of a machine at one time.

    Attributes
    ----------
    readings : tuple of Reading
        Names are unique.
    interlocks : dict of str to bool
        True means closed: the machine may run. Jobs are refused while any is open.
    taken_at : float
        Seconds since 1970, UTC; by default now.

    Examples
    --------
    >>> now = Telemetry(
    ...     readings=(Reading(name="pump_power", value=12.5, unit="mW"),),
    ...     interlocks={"lid": False, "laser": True},
    ... )
    >>> now["pump_power"].value, now.open_interlocks
    (12.5, ('lid',))
    """

    max_bytes: ClassVar[int | None] = 12_000

    readings: Annotated[tuple[Reading, ...], Field(max_length=128)] = ()
    interlocks: dict[FactName, bool] = Field(default={}, max_length=64)
    taken_at: Seconds = Field(default_factory=time.time)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len({reading.name for reading in self.readings}) != len(self.readings):
            raise ValueError("two readings have the same name")
        return self

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a reading nor an interlock."""
        return not (self.readings or self.interlocks)

    @property
    def open_interlocks(self) -> tuple[str, ...]:
        """Names of the open interlocks."""
        return tuple(name for name, is_closed in self.interlocks.items() if not is_closed)

    def __getitem__(self, name: str) -> Reading:
        for reading in self.readings:
            if reading.name == name:
                return reading
        raise KeyError(name)

    def check_interlocks(self) -> None:
        """Refuse to run while an interlock is open.

        Raises
        ------
        InterlockError
            The message names the open interlocks.
        """
        if self.open_interlocks:
            names = ", ".join(self.open_interlocks)
            raise InterlockError(
                f"the machine may not run: open interlocks: {names}",
                hint="close them at the machine; nothing was run",
                interlocks=names,
            )


class Calibration(Record):
    """A calibration record; results name it by its fingerprint.

    Attributes
    ----------
    valid_s : float
        Seconds for which the calibration may be used.
    threshold_w : float or None
        Pump power at the oscillation threshold, in watts.
    coupling_gain : float or None
        Injected field per unit of coupling and amplitude.
    facts : dict of str to float, int, bool, str or None
        Other measurements; a quantity with a unit says so in its name
        (``adc_full_scale_v``).
    taken_at : float
        Seconds since 1970, UTC; by default now.

    Examples
    --------
    >>> record = Calibration(valid_s=600.0, threshold_w=0.012, taken_at=0.0)
    >>> record.fingerprint[:14], record.is_stale(599.0), record.is_stale(601.0)
    ('sha256:b5b22d7', False, True)
    """

    max_bytes: ClassVar[int | None] = 30_000

    valid_s: Positive
    threshold_w: Positive | None = None
    coupling_gain: Finite | None = None
    facts: dict[FactName, Fact] = Field(default={}, max_length=256)
    taken_at: Seconds = Field(default_factory=time.time)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the fields as JSON with sorted keys and no spaces."""
        text = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def is_stale(self, age_s: float) -> bool:
        """Whether the calibration is too old at this age in seconds."""
        return duration("age_s", age_s, ModelError) > self.valid_s


class DriverPhase(StrEnum):
    """Phase of a driver."""

    READY = "ready"
    STARTING = "starting"
    BROKEN = "broken"


class DriverState(Record):
    """State of a driver.

    Attributes
    ----------
    phase : DriverPhase
        ``ready``; ``starting`` after a crash, when jobs wait; ``broken`` after several failed
        starts, or where the driver cannot tell the status of the machine, make it safe or reach
        it. Then jobs that wait go on waiting, new ones are refused, and the driver is built anew
        from time to time.
    restarts : int
        Number of restarts.
    fault : str
        Why it was last ended or broken; empty if it never was.
    retry_after_s : float
        Seconds from this report to the next attempt with a broken driver.
    """

    phase: Annotated[DriverPhase, Field(strict=False)] = DriverPhase.READY
    restarts: Annotated[int, Field(ge=0)] = 0
    fault: Annotated[str, Field(max_length=2000)] = ""
    retry_after_s: Seconds = 0.0
