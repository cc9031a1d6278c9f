"""What a client does, one step after another, said without doing it.

A conversation is a generator: it yields steps, is sent what became of each, and returns its
result. It opens no socket, never sleeps and awaits nothing. `runner` does the steps in the thread
of the caller, `async_runner` in an event loop; both read the same generators.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from cim_hal.protocol.wire.packet import Packet

__all__ = [
    "Compute",
    "Exchange",
    "Exclusive",
    "Pipeline",
    "Receive",
    "Sleep",
    "Step",
    "Steps",
    "Subscribe",
]

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Exchange:
    """Send a request, once; its reply is sent back, or the error thrown."""

    packet: Packet
    timeout_s: float


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Send requests, at most `window` of them unanswered, and hand every reply to `take`.

    Replies may come in any order. An error is thrown when none came for `timeout_s`, or when
    not all came in `total_s`.
    """

    packets: Iterator[Packet]
    window: int
    timeout_s: float
    total_s: float
    take: Callable[[Packet], None]


@dataclass(frozen=True, eq=False)
class Subscribe:
    """Send a request to which events are wanted; its line is sent back, to be closed."""

    packet: Packet
    timeout_s: float


@dataclass(frozen=True, eq=False)
class Receive:
    """Wait for the next packet on a line; it is sent back, or the error thrown.

    An event that nobody has heard when the next one comes is lost; the reply is the last to come.
    """

    line: Any
    timeout_s: float


@dataclass(frozen=True)
class Sleep:
    """Let time pass."""

    seconds: float


@dataclass(frozen=True, eq=False)
class Exclusive:
    """Run steps while no other conversation of the session is in such a step.

    A `TransportTimeoutError` is thrown when its turn did not come within `timeout_s`.
    """

    steps: Steps[Any]
    timeout_s: float


@dataclass(frozen=True, eq=False)
class Compute:
    """Compute something that takes its time; `n_bytes` of data are looked at."""

    work: Callable[[], Any]
    n_bytes: int


Step: TypeAlias = Exchange | Pipeline | Subscribe | Receive | Sleep | Exclusive | Compute
Steps: TypeAlias = Generator[Step, Any, T]
