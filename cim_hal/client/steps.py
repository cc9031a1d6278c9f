"""The steps of a client: what it does next, as values, apart from how it is done.

What a client decides is written as generators. A generator yields steps, is sent the outcome of
each, and returns its result; it opens no socket, never sleeps and knows no thread. `runner` carries
the steps out.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from cim_hal.client.transport.base import ReplyStream
    from cim_hal.protocol.wire.packet import Packet

__all__ = ["Exchange", "Exclusive", "Pipeline", "Receive", "Sleep", "Step", "Steps", "Subscribe"]

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Exchange:
    """Send a request, once; its reply is sent back, or the error thrown.

    With `to_end` the reply is waited for even if the call is cancelled meanwhile.
    """

    packet: Packet
    timeout_s: float
    to_end: bool = False


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Send requests, at most `window` of them unanswered, and pass every reply to `take`.

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
    """Send a request whose events are wanted too; their stream is sent back, to be closed."""

    packet: Packet
    timeout_s: float


@dataclass(frozen=True, eq=False)
class Receive:
    """Wait for the next packet of a stream; it is sent back, or the error thrown.

    An event that was not received before the next one came is dropped; the reply comes last.
    """

    stream: ReplyStream
    timeout_s: float


@dataclass(frozen=True)
class Sleep:
    """Let time pass; with `to_end` all of it, even if the call is cancelled meanwhile."""

    seconds: float
    to_end: bool = False


@dataclass(frozen=True, eq=False)
class Exclusive:
    """Run steps while no other call of the session runs such steps; their result is sent back.

    A `TransportTimeoutError` is thrown if its turn did not come within `timeout_s`. Once begun the
    steps are not interrupted, because other calls wait for what they do.
    """

    steps: Steps[Any]
    timeout_s: float


Step: TypeAlias = Exchange | Pipeline | Subscribe | Receive | Sleep | Exclusive
Steps: TypeAlias = Generator[Step, Any, T]
