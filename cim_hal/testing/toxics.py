"""Faults of a TCP connection, named as in Toxiproxy where it has the same.

A toxic takes a segment, which is what one read of a socket returned, and forwards it: later, cut
up, or not at all. Toxics are immutable and may be shared; their state is in the `Link`.

References
----------
Toxiproxy, https://github.com/Shopify/toxiproxy#toxics. Its ``toxicity`` has no
equivalent here; `ResetEvery` has none there.
"""

# ruff: noqa: ARG002  all toxics have the same methods

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, TypeAlias

from cim_hal.errors import ModelError

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "Bandwidth",
    "ConnectionCut",
    "Latency",
    "LimitData",
    "Link",
    "ResetEvery",
    "ResetPeer",
    "Segment",
    "Slicer",
    "SlowClose",
    "Timeout",
    "Toxic",
]


class ConnectionCut(Exception):  # noqa: N818  an event on its way to the proxy, not an error
    """A toxic ends the connection, with a reset (RST) or an orderly close."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__(reset)
        self.reset = reset


@dataclass(frozen=True)
class Segment:
    """Bytes that one read of a socket returned."""

    data: bytes
    at: float  # when they arrived, by the clock of the event loop
    number: int  # 1, 2, 3, ... over all connections of the proxy, in this direction


Forward: TypeAlias = "Callable[[Segment], Awaitable[None]]"


@dataclass(eq=False)
class Link:
    """One direction of one connection."""

    # Seeded by the seed of the proxy, the number of the connection and the direction.
    rng: np.random.Generator
    n_bytes: int = 0  # that `LimitData` has passed


@dataclass(frozen=True, kw_only=True)
class Toxic(ABC):
    """One fault of a connection, in one direction.

    `ModelError` if a number is below its least value: `least` of its metadata, or 0.
    """

    def __post_init__(self) -> None:
        for each in fields(self):
            value, least = getattr(self, each.name), each.metadata.get("least", 0)
            if not value >= least:
                hint = f"it must be {least} or more"
                raise ModelError(f"a toxic does not take {each.name} = {value!r}", hint=hint)

    @abstractmethod
    async def send(self, segment: Segment, link: Link, forward: Forward) -> None:
        """Forward a segment, changed, late or not at all; ``ConnectionCut`` ends the connection."""

    async def close(self, link: Link) -> None:  # noqa: B027  an optional method
        """Wait, if need be, before the end of the stream is passed on."""


@dataclass(frozen=True, kw_only=True)
class Latency(Toxic):
    """Each segment arrives `latency_s` later, plus or minus `jitter_s`; the order is kept."""

    latency_s: float
    jitter_s: float = 0.0

    async def send(self, segment: Segment, link: Link, forward: Forward) -> None:
        """Forward the segment when its time has come."""
        late_s = self.latency_s + self.jitter_s * link.rng.uniform(-1, 1)
        # Counted from its arrival: many segments may be under way, as on a long cable.
        await asyncio.sleep(max(segment.at + late_s - asyncio.get_running_loop().time(), 0.0))
        await forward(segment)


@dataclass(frozen=True, kw_only=True)
class Bandwidth(Toxic):
    """At most `bytes_per_s` pass."""

    bytes_per_s: float = field(metadata={"least": 1})

    async def send(self, segment: Segment, link: Link, forward: Forward) -> None:
        """Forward the segment in steps of about 10 ms."""
        step = max(int(self.bytes_per_s / 100), 1)
        for start in range(0, len(segment.data), step):
            data = segment.data[start : start + step]
            await asyncio.sleep(len(data) / self.bytes_per_s)
            await forward(replace(segment, data=data))


@dataclass(frozen=True, kw_only=True)
class Slicer(Toxic):
    """Pieces are cut into smaller ones of `average_size` bytes, with `delay_s` between them."""

    average_size: int
    size_variation: int = 0
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size_variation >= self.average_size:
            hint = "it must be less than average_size"
            raise ModelError("a toxic does not take that size_variation", hint=hint)

    async def send(self, segment: Segment, link: Link, forward: Forward) -> None:
        """Forward the slices."""
        low, high = self.average_size - self.size_variation, self.average_size + self.size_variation
        start = 0
        while start < len(segment.data):
            end = start + int(link.rng.integers(low, high, endpoint=True))
            await forward(replace(segment, data=segment.data[start:end]))
            await asyncio.sleep(self.delay_s)
            start = end


@dataclass(frozen=True, kw_only=True)
class LimitData(Toxic):
    """The connection is closed after `n_bytes` have passed."""

    n_bytes: int

    async def send(self, segment: Segment, link: Link, forward: Forward) -> None:
        """Forward what is below the limit."""
        data = segment.data[: self.n_bytes - link.n_bytes]
        link.n_bytes += len(data)
        if data:
            await forward(replace(segment, data=data))
        if link.n_bytes >= self.n_bytes:
            raise ConnectionCut(reset=False)


@dataclass(frozen=True, kw_only=True)
class ResetPeer(Toxic):
    """The connection is reset (RST) `timeout_s` after its first bytes, which are lost."""

    timeout_s: float = 0.0

    async def send(self, segment: Segment, link: Link, forward: Forward) -> None:
        """Wait, and reset."""
        await asyncio.sleep(self.timeout_s)
        raise ConnectionCut(reset=True)


@dataclass(frozen=True, kw_only=True)
class ResetEvery(Toxic):
    """Every `segments`-th segment over all connections is lost and resets its connection."""

    segments: int = field(metadata={"least": 1})

    async def send(self, segment: Segment, link: Link, forward: Forward) -> None:
        """Forward the segment, or reset."""
        if segment.number % self.segments == 0:
            raise ConnectionCut(reset=True)
        await forward(segment)


@dataclass(frozen=True, kw_only=True)
class SlowClose(Toxic):
    """The end of the stream arrives `delay_s` late."""

    delay_s: float

    async def send(self, segment: Segment, link: Link, forward: Forward) -> None:
        """Forward the segment."""
        await forward(segment)

    async def close(self, link: Link) -> None:
        """Wait."""
        await asyncio.sleep(self.delay_s)


@dataclass(frozen=True, kw_only=True)
class Timeout(Toxic):
    """A black hole: nothing passes; after `timeout_s`, if ever, the connection is closed."""

    timeout_s: float = math.inf

    async def send(self, segment: Segment, link: Link, forward: Forward) -> None:
        """Wait, and close."""
        await asyncio.sleep(self.timeout_s)
        raise ConnectionCut(reset=False)
