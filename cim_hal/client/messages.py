"""A caller's values as messages; errors name the caller's arguments."""

from __future__ import annotations

import operator
import secrets
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from cim_hal.errors import ModelError
from cim_hal.protocol.wire.base import Wire
from cim_hal.protocol.wire.messages import (
    CouplingRef,
    Sample,
    Schedule,
    TraceSpec,
)

if TYPE_CHECKING:
    from cim_hal.client.options import SampleOptions
    from cim_hal.model.schedule import PumpSchedule

__all__ = [
    "as_integer",
    "checked",
    "coupling_ref",
    "new_key",
    "sample_request",
]

Built = TypeVar("Built", bound=Wire)


def new_key() -> str:
    """Return a new idempotency key: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def coupling_ref(digest: str, *, bits: int | None, gauge_seed: int | None) -> CouplingRef:
    """Return the reference to couplings lowered in one way.

    Raises
    ------
    ModelError
        A value is no integer, or negative.
    """
    return checked(
        CouplingRef,
        digest=digest,
        bits=None if bits is None else as_integer("coupling_bits", bits),
        gauge_seed=None if gauge_seed is None else as_integer("gauge_seed", gauge_seed),
    )


def sample_request(digest: str, schedule: PumpSchedule | None, options: SampleOptions) -> Sample:
    """Return a submission; a key and a seed are drawn where the options have none.

    Raises
    ------
    ModelError
        A value is malformed for any machine.
    """
    trace, seed, settings = options.trace, options.seed, options.settings or {}
    return checked(
        Sample,
        key=new_key() if options.key is None else options.key,
        coupling=coupling_ref(digest, bits=options.coupling_bits, gauge_seed=options.gauge_seed),
        schedule=schedule and Schedule(pump=schedule.pump, round_trips=schedule.round_trips),
        n_runs=as_integer("n_runs", options.n_runs),
        seed=secrets.randbits(63) if seed is None else as_integer("seed", seed),
        settings={name: _as_number(name, value) for name, value in settings.items()},
        trace=trace and checked(TraceSpec, every=trace.every, runs=trace.runs),
        priority=as_integer("priority", options.priority),
        keep=options.keep,
    )


def as_integer(name: str, value: Any) -> int:
    """Return an integer, or raise a `ModelError` that names what is none."""
    try:
        return operator.index(value)
    except TypeError:
        raise ModelError(f"{name} = {value!r}", hint="it must be an integer") from None


def _as_number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ModelError(f"settings.{name} = {value!r}", hint="it must be a number") from None


def checked(cls: type[Built], **fields: Any) -> Built:
    """Return a message, or raise a `ModelError` that names the field that cannot be."""
    try:
        return cls(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{name} = {first['input']!r}", hint=first["msg"]) from None
