"""Telemetry of a machine: readings with units, and interlocks."""

from __future__ import annotations

import time
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cim_hal.errors import InterlockError
from cim_hal.model.record import FactName, Note

__all__ = ["Reading", "Telemetry"]

# Of the JSON form: on the wire telemetry shares a header with other fields.
MAX_BYTES = 12_000

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Reading(BaseModel):
    """One measured value or state.

    Attributes
    ----------
    name : str
        Constant name, such as ``pump_power`` or ``cavity_lock``.
    value : float, int, bool or str
        A number, a truth value, or a state as text.
    unit : str
        Unit of a number; empty for pure numbers and states.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: FactName
    value: Note
    unit: Annotated[str, Field(max_length=50)] = ""


class Telemetry(BaseModel):
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

    model_config = ConfigDict(frozen=True, extra="forbid")

    readings: Annotated[tuple[Reading, ...], Field(max_length=128)] = ()
    interlocks: Annotated[dict[FactName, bool], Field(max_length=64)] = {}
    taken_at: Seconds = Field(default_factory=time.time)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len({reading.name for reading in self.readings}) != len(self.readings):
            raise ValueError("two readings have the same name")
        return self

    @model_validator(mode="after")
    def _fits_a_message(self) -> Self:
        n_bytes = len(self.model_dump_json().encode())
        if n_bytes > MAX_BYTES:
            raise ValueError(f"it takes {n_bytes} bytes, {MAX_BYTES} fit: report less")
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
