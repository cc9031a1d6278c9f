"""A caller's values as messages; complaints in the caller's words."""

from __future__ import annotations

import operator
import secrets
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from cim_hal.errors import ModelError
from cim_hal.protocol.wire.base import Wire
from cim_hal.protocol.wire.messages import (
    CancelJob,
    CouplingRef,
    DropCouplings,
    ListJobs,
    Sample,
    Schedule,
    TraceSpec,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cim_hal.model.schedule import PumpSchedule
    from cim_hal.model.trace import TraceRequest

__all__ = [
    "as_integer",
    "cancel_request",
    "checked",
    "coupling_ref",
    "drop_request",
    "list_request",
    "new_key",
    "sample_request",
]

Built = TypeVar("Built", bound=Wire)


def new_key() -> str:
    """Return a new idempotency key: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def cancel_request(job_id: str) -> CancelJob:
    """Return the request to end a job.

    Raises
    ------
    ModelError
        `job_id` is no id of a job.
    """
    return checked(CancelJob, job=job_id)


def drop_request(digest: str) -> DropCouplings:
    """Return the request to let go of couplings.

    Raises
    ------
    ModelError
        `digest` is no content address.
    """
    return checked(DropCouplings, digest=digest)


def list_request(
    *, states: Iterable[str] = (), job: str | None = None, after: str | None = None
) -> ListJobs:
    """Return the request for a list of jobs.

    Raises
    ------
    ModelError
        A state or an id is none.
    """
    return checked(ListJobs, states=tuple(states), job=job, after=after)


def coupling_ref(digest: str, *, bits: int | None, gauge_seed: int | None) -> CouplingRef:
    """Return the reference to couplings fitted in one way.

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


def sample_request(
    coupling: CouplingRef,
    schedule: PumpSchedule | None,
    *,
    n_runs: int,
    seed: int | None,
    settings: Mapping[str, float],
    trace: TraceRequest | None,
    priority: int = 0,
    key: str | None = None,
    keep: bool = False,
) -> Sample:
    """Return a submission with a key and a seed, its own where they are None.

    Raises
    ------
    ModelError
        A value is malformed for any machine.
    """
    return checked(
        Sample,
        key=new_key() if key is None else key,
        coupling=coupling,
        schedule=schedule and Schedule(pump=schedule.pump, round_trips=schedule.round_trips),
        n_runs=as_integer("n_runs", n_runs),
        seed=secrets.randbits(63) if seed is None else as_integer("seed", seed),
        settings={name: _as_number(name, value) for name, value in settings.items()},
        trace=trace and checked(TraceSpec, every=trace.every, runs=trace.runs),
        priority=as_integer("priority", priority),
        keep=keep,
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
