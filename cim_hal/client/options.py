"""The options of sessions and of jobs: values that hold the defaults, and messages made of them.

Errors name the arguments of the caller.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar

from pydantic import ValidationError

from cim_hal.addresses import check_endpoint_form
from cim_hal.errors import LocalProtocolError, ModelError, TargetError
from cim_hal.machine.config import MachineConfig
from cim_hal.model.conversion import (
    duration,
    flag,
    real_number,
    require,
    whole_number,
    with_article,
)
from cim_hal.model.ising import check_model
from cim_hal.model.record import ONE_LINE
from cim_hal.model.schedule import PumpSchedule, TraceRequest
from cim_hal.protocol.wire.base import DIGEST, TOKEN, Wire
from cim_hal.protocol.wire.messages import CouplingRef, Sample, Schedule, TraceSpec
from cim_hal.toml_files import did_you_mean

if TYPE_CHECKING:
    from typing import TypeAlias

    from cim_hal.client.transport.base import Transport
    from cim_hal.machine.driver import Driver
    from cim_hal.machine.options import OptionValue
    from cim_hal.model.ising import IsingModel

    Target: TypeAlias = str | os.PathLike[str] | MachineConfig | Driver | Transport

__all__ = [
    "EPOCH_VARIABLE",
    "Attempt",
    "ConnectionKeywords",
    "ConnectionOptions",
    "Retries",
    "SampleKeywords",
    "SampleOptions",
    "check_job",
    "check_request",
    "checked",
    "coupling_ref",
    "epoch_from_environment",
    "new_key",
    "not_a_device",
    "sample_request",
]

EPOCH_VARIABLE = "CIM_HAL_EPOCH"
NO_DIGEST = f"sha256:{0:064x}"  # of a request that is checked and not sent
FORMS: Mapping[str, str] = {
    ONE_LINE: "one line without control characters",
    TOKEN: "32 hexadecimal digits in lower case",
    DIGEST: "sha256: and 64 hexadecimal digits in lower case",
}
JITTER = secrets.SystemRandom()

Built = TypeVar("Built", bound=Wire)


@dataclass(frozen=True)
class Attempt:
    """One sending of a request."""

    retry_after_s: float  # to wait for the reply before the request is sent again
    pause_s: float  # to wait after an error before the next attempt


@dataclass(frozen=True, kw_only=True)
class Retries:
    """When a request is sent again: only after an error that is `retryable`, with the same id.

    The n-th pause is drawn evenly between 0 and ``min(cap_s, base_s * factor**n)`` ("full
    jitter"), and is at least what the server asks for. No pause goes past the deadline of the
    call.

    Attributes
    ----------
    base_s, factor, cap_s : float
        Of the pauses.
    retry_after_s : float
        How long the first attempt waits for its reply; the next ones `factor` times as long, up
        to `cap_s`. A reply that was lost costs that much.
    limit : int, optional
        Most repetitions of one request; without end, up to the deadline, where it is None.

    Raises
    ------
    ModelError
        A time that is not positive, a factor below 1, or a negative limit.

    References
    ----------
    M. Brooker, "Exponential backoff and jitter", AWS Architecture Blog, 2015.
    """

    base_s: float = 0.1
    factor: float = 2.0
    cap_s: float = 5.0
    retry_after_s: float = 1.0
    limit: int | None = None

    def __post_init__(self) -> None:
        for name in ("base_s", "cap_s", "retry_after_s"):
            if real_number(name, getattr(self, name), ModelError) <= 0:
                raise ModelError(f"{name} = {getattr(self, name)!r}", hint="it must be positive")
        if real_number("factor", self.factor, ModelError) < 1:
            raise ModelError(f"factor = {self.factor!r}", hint="it must be 1 or more")
        if self.limit is not None and whole_number("limit", self.limit, ModelError) < 0:
            raise ModelError(f"limit = {self.limit!r}", hint="it must be 0 or more, or None")

    def attempts(self) -> Iterator[Attempt]:
        """Yield the attempts; the last one, if there is a last, has an endless pause."""
        pause_s, retry_after_s, n_done = self.base_s, self.retry_after_s, 0
        while True:
            is_last = self.limit is not None and n_done >= self.limit
            drawn_s = math.inf if is_last else JITTER.uniform(0.0, min(pause_s, self.cap_s))
            yield Attempt(min(retry_after_s, max(self.cap_s, self.retry_after_s)), drawn_s)
            pause_s, retry_after_s, n_done = (
                min(pause_s * self.factor, self.cap_s),
                min(retry_after_s * self.factor, max(self.cap_s, self.retry_after_s)),
                n_done + 1,
            )


class ConnectionKeywords(TypedDict, total=False):
    """Keywords of `open_device`; the defaults are those of `ConnectionOptions`."""

    timeout_s: float
    key: str | os.PathLike[str] | None
    server_key: str | os.PathLike[str] | None
    retries: Retries | None
    epoch: int | None
    options: Mapping[str, OptionValue] | None


@dataclass(frozen=True)
class ConnectionOptions:
    """A target and how to reach it. It pickles unless the target is an object of this process.

    A target that is written down becomes a `MachineConfig` with `options`: its file is read here.
    Key files are read when the connection is opened, which may be in another process.
    """

    target: Target
    timeout_s: float = 5.0
    key: str | os.PathLike[str] | None = None
    server_key: str | os.PathLike[str] | None = None
    retries: Retries = field(default_factory=Retries)
    epoch: int = 0  # of a standing lock to work under; 0 for none
    options: Mapping[str, OptionValue] | None = None

    def __post_init__(self) -> None:
        for name in ("key", "server_key"):
            path = getattr(self, name)
            if path is not None and not isinstance(path, str | os.PathLike):
                raise ModelError(
                    f"{name} is {with_article(type(path).__name__)}", hint="pass a path"
                )
        require("retries", self.retries, Retries, ModelError, hint="pass a Retries")
        whole_number("epoch", self.epoch, ModelError, 0)
        if duration("timeout_s", self.timeout_s, ModelError) == 0:
            raise ModelError(f"timeout_s = {self.timeout_s!r}", hint="it must be positive")
        if isinstance(self.target, str | os.PathLike | MachineConfig):
            object.__setattr__(self, "target", MachineConfig.of(self.target, self.options))
            object.__setattr__(self, "options", None)
            for name in ("key", "server_key"):
                chosen = getattr(self, name) or getattr(self.target, name) or None
                object.__setattr__(self, name, chosen)
        elif not (hasattr(self.target, "run") or hasattr(self.target, "exchange")):
            raise not_a_device(self.target)
        elif self.options:
            what = f"a {type(self.target).__name__} is built already, and takes no options"
            raise TargetError(what, hint="options are for a name, module:factory or machine file")
        if self.server:
            try:
                check_endpoint_form(self.server.driver)
            except ValueError as error:
                raise TargetError(str(error)) from None

    @classmethod
    def of(cls, target: Target, options: ConnectionKeywords) -> Self:
        """Return the options of a target; None stands for a default."""
        given: dict[str, Any] = {k: v for k, v in options.items() if v is not None}
        check_keywords(given, ConnectionKeywords)
        return cls(target, **given)

    @property
    def server(self) -> MachineConfig | None:
        """The target, if it is a server in another process."""
        if isinstance(self.target, MachineConfig) and self.target.is_endpoint:
            return self.target
        return None

    def __reduce__(self) -> tuple[object, ...]:
        if not isinstance(self.target, MachineConfig):
            raise LocalProtocolError(
                f"a session with a {type(self.target).__name__} of this process has no address",
                hint="serve it (cim-hal serve, spawn_server) and open its endpoint",
            )
        files = self.key, self.server_key
        return type(self), (self.target, self.timeout_s, *files, self.retries, self.epoch)


def not_a_device(target: object) -> TargetError:
    """Return the error of a target that is of no kind of target."""
    return TargetError(
        f"{with_article(type(target).__name__)} is not a device",
        hint="pass a name, an endpoint such as tcp://host:port, a Driver or a Transport",
    )


def epoch_from_environment() -> int:
    """Return the epoch of a standing lock from ``CIM_HAL_EPOCH``; 0 if there is none."""
    text = os.environ.get(EPOCH_VARIABLE) or "0"
    if not (text.isascii() and text.isdigit()):
        raise ModelError(f"{EPOCH_VARIABLE} = {text!r}", hint="cim-hal lock prints the epoch")
    return int(text)


class SampleKeywords(TypedDict, total=False):
    """Keywords of `Session.submit`; the defaults are those of `SampleOptions`."""

    n_runs: int
    seed: int | None
    coupling_bits: int | None
    gauge_seed: int | None
    lowering: str
    settings: Mapping[str, float] | None
    trace: TraceRequest | None
    priority: int
    key: str | None
    keep: bool


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Options of a job; `Session.submit` says what they mean."""

    n_runs: int = 1
    seed: int | None = None
    coupling_bits: int | None = None
    gauge_seed: int | None = None
    lowering: str = "max"
    settings: Mapping[str, float] | None = None
    trace: TraceRequest | None = None
    priority: int = 0
    key: str | None = None
    keep: bool = True

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Return the options that the keywords of a call give; a `TypeError` says which is none."""
        check_keywords(options, SampleKeywords)
        return cls(**options)


def check_keywords(given: Iterable[str], known: type[Any]) -> None:
    """Raise a `TypeError` that names the nearest of the `known` keywords, if one is not known."""
    names = known.__annotations__
    for name in given:
        if name not in names:
            raise TypeError(f"there is no argument {name!r}; {did_you_mean(name, names)}")


def new_key() -> str:
    """Return a new idempotency key: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def check_job(model: IsingModel, schedule: PumpSchedule | None, options: Mapping[str, Any]) -> None:
    """Raise a `ModelError` that says what to pass unless a job can be made of these.

    Numbers are checked as the request is made: see `sample_request`.
    """
    check_model(model)
    if schedule is not None:
        hint = "PumpSchedule.linear, constant and through make one"
        require("the schedule", schedule, PumpSchedule, ModelError, hint=hint)
    if options.get("settings") is not None:
        require("settings", options["settings"], Mapping, ModelError, hint="pass numbers by name")
    if options.get("trace") is not None:
        require("trace", options["trace"], TraceRequest, ModelError, hint="pass a TraceRequest")


def check_request(
    model: IsingModel, schedule: PumpSchedule | None, options: Mapping[str, Any]
) -> None:
    """Do as `check_job`, and check the numbers too, for who makes the request later."""
    check_job(model, schedule, options)
    sample_request(NO_DIGEST, schedule, SampleOptions.of(options))


def coupling_ref(digest: str, *, bits: int | None, gauge_seed: int | None) -> CouplingRef:
    """Return the reference to couplings lowered in one way.

    `ModelError` if a value is no integer, or negative.
    """
    return checked(
        CouplingRef,
        digest=digest,
        bits=None if bits is None else whole_number("coupling_bits", bits, ModelError),
        gauge_seed=None
        if gauge_seed is None
        else whole_number("gauge_seed", gauge_seed, ModelError),
    )


def sample_request(digest: str, schedule: PumpSchedule | None, options: SampleOptions) -> Sample:
    """Return a submission; a key and a seed are drawn where the options have none.

    `ModelError` if a value is malformed for any machine.
    """
    trace, seed, settings = options.trace, options.seed, options.settings or {}
    return checked(
        Sample,
        key=new_key() if options.key is None else options.key,
        coupling=coupling_ref(digest, bits=options.coupling_bits, gauge_seed=options.gauge_seed),
        schedule=schedule and Schedule(pump=schedule.pump, round_trips=schedule.round_trips),
        n_runs=whole_number("n_runs", options.n_runs, ModelError, 1),
        seed=secrets.randbits(63) if seed is None else whole_number("seed", seed, ModelError, 0),
        settings={name: _setting(name, value) for name, value in settings.items()},
        trace=trace and checked(TraceSpec, every=trace.every, runs=trace.runs),
        priority=whole_number("priority", options.priority, ModelError),
        keep=flag("keep", options.keep, ModelError),
    )


def _setting(name: str, value: Any) -> float:
    try:
        return real_number(f"settings.{name}", value, ModelError)
    except ModelError:
        raise ModelError(f"settings.{name} = {value!r:.100}", hint="it must be a number") from None


def checked(cls: type[Built], **fields: Any) -> Built:
    """Return a message, or raise a `ModelError` that names the field that cannot be."""
    try:
        return cls(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        said = first["msg"].replace("Input should", "it should")
        hint = FORMS.get(first.get("ctx", {}).get("pattern", ""), said)
        raise ModelError(f"{name} = {first['input']!r:.100}", hint=hint) from None
