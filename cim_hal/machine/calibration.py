"""Calibrations: immutable records of what a machine measured of itself."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cim_hal.model.record import Fact, FactName

__all__ = ["Calibration"]

# Of the JSON form: on the wire a record shares a header with other fields.
MAX_BYTES = 30_000

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Calibration(BaseModel):
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

    model_config = ConfigDict(frozen=True, extra="forbid")

    valid_s: Positive
    threshold_w: Positive | None = None
    coupling_gain: Annotated[float, Field(allow_inf_nan=False)] | None = None
    facts: Annotated[dict[FactName, Fact], Field(max_length=256)] = {}
    taken_at: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(default_factory=time.time)

    @model_validator(mode="after")
    def _fits_a_message(self) -> Self:
        n_bytes = len(self.model_dump_json().encode())
        if n_bytes > MAX_BYTES:
            raise ValueError(f"it takes {n_bytes} bytes, {MAX_BYTES} fit: shorten facts")
        return self

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the fields as JSON with sorted keys and no spaces."""
        text = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def is_stale(self, age_s: float) -> bool:
        """Whether the calibration is too old at this age in seconds."""
        return age_s > self.valid_s
