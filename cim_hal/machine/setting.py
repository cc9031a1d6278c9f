"""Settings: numbers of a machine that a job may change."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cim_hal.errors import CapabilityError
from cim_hal.model.record import FactName

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["MAX_SETTINGS", "Setting", "check_settings"]

MAX_SETTINGS = 64

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Setting(BaseModel):
    """A number that a job may set within a range.

    Attributes
    ----------
    name : str
        Its name in a job, for instance ``coupling_gain``.
    unit : str
        Empty for a pure number.
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

    Raises
    ------
    ValidationError
        The range is empty, excludes the default, or is logarithmic and not positive.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: FactName
    unit: Annotated[str, Field(max_length=50)] = ""
    description: Annotated[str, Field(max_length=200)] = ""
    default: Finite
    low: Finite
    high: Finite
    log: bool = False
    integer: bool = False

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
        return f"{kind}{self.low:g} to {self.high:g} {self.unit}".rstrip()

    def check(self, value: float) -> None:
        """Refuse a value out of range.

        Raises
        ------
        CapabilityError
            It names the setting and its range.
        """
        is_whole = math.isfinite(value) and value == int(value)
        if not self.low <= value <= self.high or (self.integer and not is_whole):
            raise CapabilityError(f"settings.{self.name}", required=value, available=self.range)


def check_settings(known: Iterable[Setting], settings: Mapping[str, float]) -> None:
    """Refuse settings that the machine does not have, and values out of range.

    Raises
    ------
    CapabilityError
        It names the setting, and its range or the settings that exist.
    """
    by_name = {setting.name: setting for setting in known}
    for name, value in settings.items():
        if name not in by_name:
            names = ", ".join(by_name) or "none"
            raise CapabilityError("settings", required=name, available=names)
        by_name[name].check(value)
